"""What a file, a backend or another machine says reaches no terminal raw, and no output that cannot take it."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress import Progress, TextColumn
from rich.text import Text

from convbench.reporting.console import FittingConsole, Sentence, html_of, spaced, text_of
from convbench.reporting.tables import plain_table
from convbench.reporting.terminal_text import fitted, json_line, printable, write_equivalents

HOSTILE = "a\x1b]0;owned\x07b\x9b31m\u202egnp.exe\u2066\nc\rd\u2028e\ud800"
"""A title, a colour in one byte, letters from right to left, lines, a return and half a surrogate."""
ENCODINGS = ("ascii", "latin-1", "cp437", "cp932", "cp1252", "utf-8")
ANY = st.text(st.characters(exclude_categories=()), max_size=40) | st.just(HOSTILE)

PLUGIN = f"""
from convbench import Arithmetic, Backend, Supports


class Hostile(Backend):
    name = "hostile"
    summary = {HOSTILE!r}
    supports = Supports()
    arithmetic = Arithmetic("direct")

    def prepare(self, problem, x, w, b):
        raise RuntimeError({HOSTILE!r})


BACKENDS = (Hostile(),)
"""
NAME = HOSTILE.replace("\ud800", "")
SUITE = f"""
name = "hostile"
summary = {json.dumps(NAME)}
case = [{{in_channels = 1, height = 5, width = 5, out_channels = 1, kernel_size = 3, name = {json.dumps(NAME)}}}]
"""


def shown(renderable: RenderableType, encoding: str = "utf-8") -> str:
    """What a console writes to a file of that encoding."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="convbench.equivalent")
    FittingConsole(file=file, width=60).print(renderable)
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def bar(text: str) -> RenderableType:
    progress = Progress(TextColumn("{task.description}", markup=False))
    progress.add_task(text)
    return progress


PLACES: dict[str, Callable[[str], RenderableType]] = {
    "text": Text,
    "string": lambda text: text,
    "line": Sentence,
    "styled": lambda text: Text("x", style="bold").append(text, style="red"),
    "table": lambda text: plain_table((text, "b"), [(text, Text(text))], right=(1,)),
    "group": lambda text: spaced(Text(text), Group(text, Padding(Text(text), 1))),
    "bar": bar,
}


@pytest.mark.parametrize("place", PLACES)
@given(text=ANY, encoding=st.sampled_from(ENCODINGS))
def test_whatever_is_printed_is_lines_of_characters_that_can_be_seen(place: str, text: str, encoding: str) -> None:
    written = shown(PLACES[place](text), encoding)
    assert all(line.isprintable() for line in written.split("\n")), repr(written)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "bar"])
@given(text=st.text(st.characters(codec="ascii", categories=("L", "N", "P")), max_size=20))
def test_what_can_be_seen_is_printed_as_it_is(place: str, text: str) -> None:
    assert text in shown(PLACES[place](text))


def test_a_name_is_one_line_in_a_table_and_in_a_sentence_that_is_not_wrapped() -> None:
    table = shown(plain_table(("name",), [("one\ntwo",)])).splitlines()
    assert len(table) == 3 and "one\\ntwo" in table[-1]
    assert shown(Sentence("one\ntwo")).splitlines() == ["one\\ntwo"]
    assert shown(Text("one\ntwo")).splitlines() == ["one", "two"]


def test_columns_are_as_wide_as_what_is_shown() -> None:
    rows = [("\x1b[31mred", "1"), ("plain", "2"), ("Größe … é", "3")]
    for encoding in ENCODINGS:
        lines = shown(plain_table(("name", "n"), rows), encoding).splitlines()
        assert len({line.rstrip()[-1:] and len(line.rstrip()) for line in lines[2:]}) == 1, lines


def test_styles_stay_on_the_characters_that_they_were_on() -> None:
    text = Text("\x1b", style="dim").append("ab", style="bold").append("\u202ec", style="red")
    console = FittingConsole(file=io.StringIO())
    copy = console.fitted(text)
    assert copy.plain == "\\x1bab\\u202ec"
    assert [copy.plain[span.start : span.end] for span in copy.spans] == ["ab", "\\u202ec"]


def test_a_plain_equivalent_stands_for_what_an_encoding_lacks() -> None:
    text = "(1.02 … 1.13) 4 × 5 µs – ± → ≥ ▁▄█ “a” é 漢"
    in_ascii = '(1.02...1.13) 4 x 5 us - +- -> >= _-# "a" \\xe9 \\u6f22'
    assert "".join(fitted(text, "ascii")) == in_ascii
    assert "".join(fitted(text, "latin-1")) == in_ascii.replace("us", "µs").replace(" x ", " × ").replace(
        "+-", "±"
    ).replace("\\xe9", "é")
    assert "".join(fitted(text, "utf-8")) == text


@given(ANY, st.sampled_from(ENCODINGS))
def test_json_keeps_the_value_and_shows_nothing_raw(text: str, encoding: str) -> None:
    line = json_line({text: [text]}, encoding)
    assert line.isprintable() and line.encode(encoding)
    assert json.loads(line) == {text: [text]}


def test_a_result_prints_in_a_notebook_and_a_terminal_without_escape_codes() -> None:
    for text in (text_of(Text(HOSTILE)), html_of(Text(HOSTILE))):
        assert all(line.isprintable() for line in text.split("\n"))
        assert "owned" in text


@given(ANY)
def test_printable_twice_is_printable_once(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "hostile.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "hostile.toml").write_text(SUITE, encoding="utf-8")
    return folder


def words(folder: Path, *more: str) -> list[str]:
    options = ("--suite", folder / "hostile.toml", "--plugin", folder / "hostile.py", "--results", folder / "results")
    chosen = ("--backend", "hostile", "--backend", "numpy-gemm", "--quick", "--no-asv", *more)
    return [sys.executable, "-m", "convbench", "run", *map(str, options), *chosen]


def on_a_terminal(command: list[str]) -> tuple[int, str]:
    """The exit code, and all that the command wrote to a terminal that it had for itself."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    while select.select([ours], [], [], 120)[0]:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        written += chunk
    os.close(ours)
    return process.wait(120), written.decode("utf-8", "replace")


def test_on_a_terminal_a_run_shows_names_and_exceptions_with_nothing_raw(folder: Path) -> None:
    code, written = on_a_terminal(words(folder))
    assert code == 1, written
    assert "\\x1b]0;owned" in written
    assert not any(raw in written for raw in ("\x1b]0;owned", "\x07", "\x9b31m", "\u202e", "\u2066"))


def test_json_on_a_terminal_shows_nothing_raw_and_the_journal_keeps_the_value(folder: Path) -> None:
    code, written = on_a_terminal(words(folder, "--json"))
    assert code == 1, written
    rows = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    assert {row["case"] for row in rows} == {NAME}
    assert not any(raw in written for raw in ("\x1b]0;owned", "\x07", "\x9b", "\u202e", "\u2066"))
    stored = [json.loads(line) for path in (folder / "results").rglob("*.jsonl") for line in path.open()]
    assert {row["case"] for row in stored} == {NAME}


@pytest.mark.parametrize("command", [("backends",), ("verify", "--suite", "SUITE"), ("choose", "--suite", "SUITE")])
def test_other_commands_show_nothing_raw_either(folder: Path, command: tuple[str, ...]) -> None:
    given = [word.replace("SUITE", str(folder / "hostile.toml")) for word in command]
    options = ["--plugin", str(folder / "hostile.py")]
    options += [] if command == ("backends",) else ["--results", str(folder / "results"), "--backend", "hostile"]
    done: Any = subprocess.run([sys.executable, "-m", "convbench", *given, *options], capture_output=True)
    written = (done.stdout + done.stderr).decode("utf-8")
    assert "owned" in written and "bug in convbench" not in written
    assert all(line.isprintable() for line in written.split("\n"))


def test_a_stream_that_is_read_as_well_can_be_read_whatever_a_library_wrote_to_it() -> None:
    """As pytest and notebooks do with what they capture."""
    stream = io.TextIOWrapper(io.BytesIO(b"printed by Python\n\xc0 printed past Python"), encoding="utf-8")
    write_equivalents(stream)
    assert stream.read() == "printed by Python\n\N{REPLACEMENT CHARACTER} printed past Python"
