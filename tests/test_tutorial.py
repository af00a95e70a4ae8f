"""The tutorial, word for word: its blocks run in order in one folder, and their output is as the page has it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import DOCS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # some 40 s on a quiet machine

PAGE = DOCS / "tutorial.md"
_BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"((?:.*\\\n)*.*)\n((?s:.*))")  # its lines go on after a backslash; what follows is its output


@dataclass(frozen=True)
class Step:
    """A command or a program of the page, or a file that it has its reader save."""

    text: str
    is_python: bool
    expected: str = ""
    """What it prints, as the page has it; `...` stands for anything, and an empty text for whatever it prints."""
    exit_code: int = 0
    needs: str | None = None
    """The module without which the page's reader does not run it."""

    @property
    def file(self) -> str | None:
        match = re.match(r"# ([\w.]+\.py)\n", self.text)
        return match[1] if match and self.is_python else None


def steps_of(page: str) -> Iterator[Step]:
    blocks = list(_BLOCK.finditer(page))
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        mark = block["mark"] or ""
        exit_code = int(match[1]) if (match := re.fullmatch(r"exits with (\d+)", mark)) else 0
        needs = match[1] if (match := re.fullmatch(r"needs (\w+)", mark)) else None
        if block["kind"] == "console":
            for command in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
                text, output = _COMMAND.fullmatch(command).groups()
                yield Step(text, False, output, exit_code, needs)
        elif block["kind"] == "python":
            output = after["body"] if after is not None and after["kind"] == "text" else ""
            yield Step(block["body"], True, output, exit_code, needs)


STEPS = list(steps_of(PAGE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


def run(step: Step, folder: Path) -> None:
    """Do what the page says, and compare what it says will follow."""
    if step.file is not None:
        (folder / step.file).write_text(step.text, encoding="utf-8")
        return
    home, path = str(folder / "home"), os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_CACHE_HOME": home, "PATH": path}
    command = [sys.executable, "-c", step.text] if step.is_python else ["sh", "-c", step.text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    shown = f"{step.text}\n--- exits with {done.returncode}, and prints\n{done.stdout}\n{done.stderr}"
    assert done.returncode == step.exit_code, shown
    if step.expected:
        assert is_alike(step.expected, done.stdout), shown


def is_alike(expected: str, printed: str) -> bool:
    """Whether the lines that are not empty are the same but for spaces; `...` is any lines, within a line any text."""
    lines = [
        "(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n" for line in _lines(expected)
    ]
    return re.fullmatch("".join(lines), "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_each_block_does_what_the_page_says(folder: Path) -> None:
    assert len(STEPS) > 12 and {"my_conv.py", "model.py"} <= {step.file for step in STEPS}
    for step in STEPS:
        if step.needs is None:
            run(step, folder)
    assert (folder / "picture" / "sheet.png").is_file() and (folder / "report.html").is_file()


@pytest.mark.parametrize("step", [step for step in STEPS if step.needs], ids=lambda step: step.needs)
def test_a_block_that_needs_an_engine(step: Step, folder: Path) -> None:
    if importlib.util.find_spec(str(step.needs)) is None:
        pytest.skip(f"needs an engine: pip install 'convbench[{step.needs}]'")
    if not (folder / "model.onnx").exists():  # as where this test is run by itself, or elsewhere
        for other in STEPS:
            if other.file == "model.py" or (other.is_python and "model.onnx" in other.text):
                run(other, folder)
    run(step, folder)


def test_output_that_differs_is_noticed(tmp_path: Path) -> None:
    page = "<!-- exits with 3 -->\n```console\n$ echo 'one two'; exit 3\none ...\n```\n"
    good, bad = steps_of(page + "```python\nprint(1)\n```\n```text\n2\n```\n")
    assert (good.text, good.exit_code, bad.expected) == ("echo 'one two'; exit 3", 3, "2\n")
    run(good, tmp_path)
    with pytest.raises(AssertionError, match=r"print\(1\)"):
        run(bad, tmp_path)
    with pytest.raises(AssertionError, match="exits with 3"):
        run(Step(good.text, False), tmp_path)


@pytest.mark.parametrize(
    ("expected", "printed", "alike"),
    [
        ("a  b", "\na b  \n", True),
        ("a\n...\nb", "a\n\nb", True),
        ("a\n...\nb", "a\nx\ny\nb", True),
        ("a ... 2", "a 1 1 2", True),
        ("a ... 2", "a 1\n2", False),
        ("a", "a\nb", False),
        ("...\nb", "b\nc", False),
        ("a.b", "axb", False),
    ],
)
def test_dots_stand_for_anything_and_nothing_else_does(expected: str, printed: str, alike: bool) -> None:
    assert is_alike(expected, printed) == alike
