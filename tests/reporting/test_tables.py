"""Tables and sentences in narrow terminals: what matters least goes first, and no number or word is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from convbench.reporting.console import FittingConsole, Sentence
from convbench.reporting.tables import fitting, plain_table
from convbench.reporting.terminal_text import wrapped

WORDS = st.text("abcdefgh0123456789.", min_size=1, max_size=12)
SENTENCES = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


def printed(shown: object, width: int) -> list[str]:
    console = FittingConsole(file=StringIO(), width=width, wraps_sentences=True)
    console.print(shown, crop=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, SENTENCES), min_size=1, max_size=4), st.integers(20, 120))
def test_a_table_loses_columns_and_names_them_and_breaks_no_cell(
    rows: list[tuple[str, str, str, str]], width: int
) -> None:
    headers = ("NAME", "FIRST", "SECOND", "WHY")
    lines = printed(plain_table(headers, rows, right=(1,), wraps=(3,), drops=(2, 3, 1)), width)
    missing = [header for header in headers if header not in lines[0]]
    dropped = ([], ["SECOND"], ["SECOND", "WHY"], ["FIRST", "SECOND", "WHY"])
    in_the_room_of_wider_ones = (["WHY"], ["FIRST"], ["FIRST", "WHY"], ["FIRST", "SECOND"])
    assert missing in (*dropped, *in_the_room_of_wider_ones)
    note = " ".join(" ".join(lines).split()).partition("No room here for: ")[2]
    assert note == (f"{', '.join(missing)}." if missing else "")
    body = [line.split() for line in lines]
    for row in rows:
        for header, cell in zip(headers[:3], row[:3], strict=True):
            assert header in missing or any(cell in words for words in body)
        assert "WHY" in missing or all(any(word in words for words in body) for word in row[3].split())
    if missing != ["FIRST", "SECOND", "WHY"]:
        assert max(map(len, lines)) <= width


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=8).flatmap(
        lambda widths: st.tuples(st.just(widths), st.lists(st.sampled_from(range(len(widths))), unique=True))
    ),
    st.integers(1, 120),
)
def test_no_column_is_left_out_for_which_there_is_room(drawn: tuple[list[int], list[int]], room: int) -> None:
    widths, drops = drawn

    def needed(columns: list[int]) -> int:
        return sum(widths[column] for column in columns) + 3 * (len(columns) - 1)

    shown = fitting(widths, room, drops)
    left_out = [column for column in drops if column not in shown]
    assert sorted([*shown, *left_out]) == list(range(len(widths)))
    assert needed(shown) <= room or left_out == sorted(left_out, key=drops.index) == drops
    assert all(needed([*shown, column]) > room for column in left_out)


@given(SENTENCES, st.integers(5, 60))
def test_a_sentence_is_wrapped_between_words_and_a_long_word_stays_whole(text: str, width: int) -> None:
    lines = printed(Sentence(text), width)
    assert " ".join(lines) == text and lines == wrapped(text, width).split("\n")
    assert all(len(line) <= width or " " not in line for line in lines)


def test_columns_hold_for_a_pipe_too_and_errors_are_wrapped() -> None:
    def convbench(*words: str, columns: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "convbench", *words]
        environment = os.environ | {"COLUMNS": columns}
        return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)

    narrow = convbench("suites", columns="60").stdout.splitlines()
    assert max(map(len, narrow)) <= 60 and any("resnet50" in line for line in narrow)
    refused = convbench("show", "n1c8h14w14_o8k3_p1_s0", columns="60")
    assert refused.returncode == 2
    assert max(map(len, refused.stderr.splitlines())) <= 60 < len(" ".join(refused.stderr.split()))
    wide = convbench("show", "n1c8h14w14_o8k3_p1_s0", columns="").stderr
    assert " ".join(wide.split()) == " ".join(refused.stderr.split()) and len(wide.splitlines()) == 1
