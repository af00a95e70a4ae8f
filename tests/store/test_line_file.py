"""Every file of lines through a write that was cut at any byte: what is appended next begins on a line of its own."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from convbench.measurement.settings import Settings
from convbench.store.corpus import add_to_corpus, read_corpus
from convbench.store.journal import Journal, read_records
from convbench.store.line_file import JournalWarning
from convbench.store.process_pairs import NAME, keep_pairs, kept_pairs, pair_here
from convbench.store.verification_log import VerificationLog, newest_log
from convbench.verification.question import Question

pytestmark = pytest.mark.filterwarnings("ignore::convbench.store.line_file.JournalWarning")

REQUEST = {"seed": 3, "known": ["é🙂"]}


class Kind(NamedTuple):
    """A file of lines: what is written to it one after the other, and what its own reader finds."""

    name: str
    append: Callable[[Path, int], None]
    read: Callable[[Path], list[Any]]


def _append_record(path: Path, number: int) -> None:
    with Journal(path) as journal:
        journal.append({"backend": "é🙂", "case": f"c{number}", "status": "ok", "time": "t"})


def _append_event(path: Path, number: int) -> None:
    with VerificationLog(path) as log:
        if number == 0:
            log.append({"asked": REQUEST}, durable=True)
        else:
            log.append({"backend": "b", "event": "answered", "question": f"é {number}"}, durable=number % 2 == 0)


def _append_question(path: Path, number: int) -> None:
    add_to_corpus(path, [(Question.parse(f"n1c1h{number + 1}w9_o1k1 wide"), "é\n🙂")])


def _events(path: Path) -> list[Any]:
    found = newest_log(path.parent, REQUEST)
    return [] if found is None else [0, *(int(event["question"].split()[1]) for event in found[1])]


KINDS = [
    Kind("j.jsonl", _append_record, lambda path: [int(record["case"][1:]) for record in read_records(path)]),
    Kind("v.verification", _append_event, _events),
    Kind(
        "corpus.txt",
        lambda path, number: (
            add_to_corpus(path, [(Question.parse(f"n1c1h{number + 1}w9_o1k1 wide"), "é\n🙂")]) and None
        ),
        lambda path: [question.problem.height - 1 for question in read_corpus(path)],
    ),
    Kind(
        NAME,
        lambda path, number: keep_pairs(path.parent, [pair_here(Settings(), number, 0.1)]),
        lambda path: [pair.operand_bytes for pair in kept_pairs(path.parent, Settings())],
    ),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_line_cut_at_any_byte_costs_nothing_but_itself(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "whole" / kind.name
    path.parent.mkdir()
    kind.append(path, 0)
    kind.append(path, 1)
    start = len(path.read_bytes())
    kind.append(path, 2)
    whole = path.read_bytes()
    assert kind.read(path) == [0, 1, 2]
    for cut in range(start, len(whole) + 1):
        path = tmp_path / str(cut) / kind.name
        path.parent.mkdir()
        path.write_bytes(whole[:cut])
        before = [number for number in kind.read(path) if number < 2]
        assert before == [0, 1]
        kind.append(path, 3)  # what a run does that goes on
        kind.append(path, 4)
        found = kind.read(path)
        assert [number for number in found if number != 2] == [0, 1, 3, 4], (cut, path.read_bytes())
        if cut >= len(whole) - 1:
            assert found == [0, 1, 2, 3, 4], "a line that lacks only its end is whole"
        assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.name)
def test_a_torn_line_is_kept_beside_the_file_and_said(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    kind.append(path, 0)
    for torn in (b'{"backend": "x', b"\xff\x00"):
        with path.open("ab") as file:
            file.write(torn)
        with pytest.warns(JournalWarning, match=f"unfinished line of {len(torn)} bytes"):
            kind.append(path, 1)
    assert path.with_suffix(".torn").read_bytes() == b'{"backend": "x\n\xff\x00\n'


def test_the_first_line_of_a_log_that_was_torn_leaves_nothing_to_resume(tmp_path: Path) -> None:
    path = tmp_path / "v.verification"
    path.write_text(json.dumps({"asked": REQUEST})[:-3])
    _append_event(path, 1)
    assert newest_log(tmp_path, REQUEST) is None


def test_a_last_line_by_hand_without_its_end_stays_in_the_corpus(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("n1c1h1w1_o1k1 wide")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        add_to_corpus(path, [(Question.parse("n1c1h2w2_o1k1"), "new")])
    assert [str(question) for question in read_corpus(path)] == ["n1c1h1w1_o1k1 wide", "n1c1h2w2_o1k1"]
