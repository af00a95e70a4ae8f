"""Ctrl-C is 130 and silent, whenever it comes: real signals to real processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

OURS = re.compile(r'File ".*convbench/(?!__init__|__main__)\w+')
BETWEEN = [step * 0.02 for step in range(24)]
"""Seconds from a process's start to the interrupt; which line it meets there differs from machine to machine."""

SWALLOWS = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(10**7):
        pass
except BaseException:
    {answer}
"""


def heeds_interrupts() -> None:
    """A shell's background jobs ignore Ctrl-C, and what they start does so, too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "convbench", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_interrupts,
    )


def is_before_our_first_line(process: subprocess.Popen[str], said: str) -> bool:
    """Whether Python itself answered, which was still starting."""
    is_killed = process.returncode == -signal.SIGINT and not said
    return is_killed or ("KeyboardInterrupt" in said and not OURS.search(said))


def interrupted(delay_s: float, *words: str | Path) -> tuple[subprocess.Popen[str], str]:
    """A process that was interrupted that long after its start, and its standard error."""
    process = start(*words)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    return process, process.communicate(timeout=120)[1]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ctrl-c") / "one.jsonl"
    sample = {"round": list(range(9)), "wall_s": [1e-3] * 9}
    fields = {"suite": "s", "case": "a", "backend": "b", "threads": 1, "status": "ok", "reason": None}
    path.write_text(json.dumps(fields | {"median_s": 1e-3, "samples": sample}) + "\n", encoding="utf-8")
    return path


def test_a_command_that_only_reads_ends_silently_whenever_it_is_interrupted(journal: Path) -> None:
    seen = []
    for delay_s in BETWEEN:
        process, said = interrupted(delay_s, "compare", journal, journal)
        if not is_before_our_first_line(process, said):
            seen.append(process.returncode)
            assert process.returncode in (0, 130), (delay_s, process.returncode, said)
            assert said == "" or process.returncode == 0, (delay_s, said)
    assert 130 in seen or 0 in seen


@pytest.mark.parametrize("command", ["choose", "run"])
def test_a_command_that_measures_ends_without_a_traceback(command: str, tmp_path: Path) -> None:
    words = (command, "--problem", "n1c1h5w5_o1k3", "--backend", "numpy-gemm", "--results", tmp_path)
    for delay_s in BETWEEN[1::3]:
        process, said = interrupted(delay_s, *words)
        if not is_before_our_first_line(process, said):
            assert process.returncode in (0, 3, 130), (delay_s, process.returncode, said)
            assert "Traceback" not in said and "bug in convbench" not in said, (delay_s, said)


@pytest.mark.parametrize("answer", ["pass", "raise ImportError('initialization failed')", "raise SystemExit(3)"])
def test_what_a_library_makes_of_an_interrupt_while_it_is_imported_does_not_matter(answer: str, tmp_path: Path) -> None:
    plugin = tmp_path / "library.py"
    plugin.write_text(SWALLOWS.format(answer=answer), encoding="utf-8")
    process = start("backends", "--plugin", plugin)
    out, said = process.communicate(timeout=120)
    assert (process.returncode, out, said) == (130, "", "")


def test_a_program_that_is_to_ignore_interrupts_ignores_them(journal: Path) -> None:
    program = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"os.execv(sys.executable, [sys.executable, '-m', 'convbench', 'compare', *[{str(journal)!r}] * 2])"
    )
    words = [sys.executable, "-c", program]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(20):
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0 or is_before_our_first_line(process, said)


def test_an_interrupt_in_the_middle_of_a_command_prints_not_even_an_empty_line() -> None:
    program = (
        "import os, signal, sys\n"
        "import convbench.api.compare as api\n"
        "def compare(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    for _ in range(10**8):\n        pass\n"
        "api.compare = compare\n"
        "sys.argv = ['convbench', 'compare', 'a', 'b']\n"
        "from convbench.__main__ import run\n"
        "run()\n"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=heeds_interrupts, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
