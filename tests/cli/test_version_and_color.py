"""`--version` says what a bug report needs, and imports nothing heavy; `--color` decides over escape codes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from places import CHECKOUT

from convbench.installation import VERSION

JOURNAL = CHECKOUT / "tests/store/stored_by_aefc737/results/bench-2/20261130T084207Z-tiny.jsonl"
HEAVY = {"numpy", "scipy", "torch", "jax", "numba", "pandas", "onnx", "tensorflow"}


def convbench(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    without = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=without | variables)


def test_the_version_comes_first_and_then_what_the_report_of_a_bug_needs() -> None:
    done = convbench("-X", "importtime", "-m", "convbench", "--version")
    assert done.returncode == 0, done.stderr
    first, *facts = done.stdout.splitlines()
    assert first == f"convbench, version {VERSION}"
    by_name = dict(re.split(r"  +", line, maxsplit=1) for line in facts)
    assert {"Python", "OS", "CPU", "memory", "libraries"} <= by_name.keys()
    assert f"numpy {version('numpy')}" in by_name["libraries"].split(", ")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "convbench" in imported and not imported & HEAVY


def test_the_commit_is_that_of_the_checkout() -> None:
    head = subprocess.run(["git", "-C", CHECKOUT, "rev-parse", "HEAD"], capture_output=True, text=True)
    commit = head.stdout.strip() if head.returncode == 0 else "unknown"
    assert f"commit     {commit}" in convbench("-m", "convbench", "--version").stdout


SHOW = ("show", JOURNAL)


@pytest.mark.parametrize(
    ("words", "variables", "is_colored"),
    [
        (SHOW, {}, False),
        (("--color", "always", *SHOW), {}, True),
        ((*SHOW, "--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "always", *SHOW, "--color", "never"), {}, False),
        (SHOW, {"FORCE_COLOR": "1"}, True),
        (SHOW, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (SHOW, {"FORCE_COLOR": "", "NO_COLOR": ""}, False),
    ],
)
def test_a_pipe_has_colors_only_where_they_are_asked_for(
    words: tuple[str | Path, ...], variables: dict[str, str], is_colored: bool
) -> None:
    done = convbench("-m", "convbench", *words, **variables)
    assert done.returncode == 0, done.stderr
    assert ("\x1b[" in done.stdout) == is_colored
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert "fixture-sleeper" in plain and "\x1b" not in plain, "colours are all that there is"


@pytest.mark.parametrize(("words", "is_colored"), [((), True), (("--color", "never"), False)])
def test_a_terminal_has_colors_unless_they_are_refused(words: tuple[str, ...], is_colored: bool) -> None:
    ours, theirs = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "convbench", *words, *map(str, SHOW)], stdout=theirs, env=variables | {"TERM": "xterm"}
    ) as running:
        os.close(theirs)
        printed = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # on Linux the end of a terminal is an error
                break
            if not part:
                break
            printed += part
    os.close(ours)
    assert running.returncode == 0 and b"fixture-sleeper" in printed
    assert (b"\x1b[" in printed) == is_colored


def test_a_color_that_is_none_is_a_usage_error() -> None:
    done = convbench("-m", "convbench", "--color", "sometimes", "suites")
    assert done.returncode == 2 and "'auto', 'always', 'never'" in done.stderr
