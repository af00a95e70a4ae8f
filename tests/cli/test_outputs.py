"""An output that lacks characters, is full, closed or no longer read changes no answer and is no bug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENCODINGS = ("ascii", "latin-1", "cp437", "cp932", "cp1252:strict", "utf-8")


def program(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "convbench", *map(str, words)]


def record(case: str, wall_s: float, count: int = 9) -> dict[str, object]:
    sample = {"round": list(range(count)), "wall_s": [wall_s * (1 + 0.001 * i) for i in range(count)]}
    fields = {"suite": "größen", "case": case, "backend": "b", "threads": 1, "status": "ok", "reason": None}
    return fields | {"median_s": wall_s, "samples": sample}


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two journals with names that few encodings have; one case is five times slower in the second."""
    folder = tmp_path_factory.mktemp("outputs")
    paths = folder / "before.jsonl", folder / "after.jsonl"
    for path, scale in zip(paths, (1, 5), strict=True):
        rows = record("漢字 “é”", 1e-3 * scale), record("few – …", 1e-3, count=3), record("\udcff", 1e-3)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return paths


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", [[], ["--markdown"], ["--json"]])
def test_an_output_with_few_characters_shows_the_same_answer(
    encoding: str, form: list[str], journals: tuple[Path, Path]
) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(program("compare", *journals, *form), capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (1, b"")
    text = done.stdout.decode(encoding.partition(":")[0])
    assert "slower" in text and "Traceback" not in text
    if form == ["--json"]:
        assert {json.loads(line)["case"] for line in text.splitlines()} == {"漢字 “é”", "few – …", "\udcff"}
    if encoding == "ascii" and not form:
        assert "\\u6f22\\u5b57" in text and '"' in text and "..." in text and "few - ..." in text


def test_a_run_keeps_its_table_where_the_locale_is_c(tmp_path: Path) -> None:
    words = program("run", "--suite", "smoke", "--backend", "numpy-*", "--quick", "--details", "--results", tmp_path)
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(words, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"numpy-gemm" in done.stdout and (done.stdout + done.stderr).isascii()


@pytest.mark.parametrize(
    "command", ["--help", "run --help", "suites", "suites --json", "backends", "show n1c1h5w5_o1k3"]
)
def test_on_a_full_disk_a_command_says_that_its_output_is_lost(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program(*command.split()), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 74
    assert done.stderr == "convbench: standard output cannot be written: No space left on device.\n"


def test_on_a_full_disk_the_records_of_a_run_are_kept(tmp_path: Path) -> None:
    words = program("run", "--suite", "smoke", "--backend", "numpy-gemm", "--quick", "--results", tmp_path)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 74 and "standard output cannot be written" in done.stderr
    (journal,) = tmp_path.rglob("*.jsonl")
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 6


@pytest.mark.parametrize("form", [[], ["--markdown"], ["--json"]])
def test_a_reader_that_has_gone_does_not_change_the_answer(form: list[str], journals: tuple[Path, Path]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(program("compare", *journals, *form), stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_run_whose_rows_have_no_reader_ends_as_other_programs_do(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = program("run", "--suite", "smoke", "--backend", "numpy-gemm", "--quick", "--json", "--results", tmp_path)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 141 and "Traceback" not in done.stderr
    (journal,) = tmp_path.rglob("*.jsonl")
    assert journal.read_text(encoding="utf-8").count("\n") >= 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_what_the_caller_closed_is_the_null_device(closed: str, journals: tuple[Path, Path]) -> None:
    command = f'"$@" {closed}'
    words = ["sh", "-c", command, "sh", *program("compare", *journals)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_file_that_is_opened_gets_no_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Otherwise a library's `printf` would write into the journal."""
    words = program("run", "--suite", "smoke", "--backend", "numpy-gemm", "--quick", "--results", tmp_path)
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *words], capture_output=True, text=True)
    assert done.returncode == 0
    (journal,) = tmp_path.rglob("*.jsonl")
    assert all(json.loads(line)["status"] == "ok" for line in journal.read_text(encoding="utf-8").splitlines())


def test_a_bug_has_a_code_that_no_answer_has(tmp_path: Path) -> None:
    broken = (
        "import convbench.runner.locate as locate\n"
        "def records_named(*_): raise TypeError('\\x1b[31mred')\n"
        "locate.records_named = records_named\n"
        "from convbench.cli.main import main\n"
        f"main(['compare', {str(tmp_path)!r}, {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True)
    assert done.returncode == 70
    assert done.stderr.startswith("convbench: TypeError: \\x1b[31mred\nThis is a bug in convbench")
