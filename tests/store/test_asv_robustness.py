"""Nothing measured is lost: two runs at once, a kill in the middle of a write, broken files among the results."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_asv import IS_CLONE, asv, call, cloned, commit

import convbench
from convbench.store.asv.files import slim
from convbench.store.asv.results import write_asv_results
from convbench.store.journal import read_records
from convbench.store.schema import Record

TRUNCATED, FOREIGN = '{"machine": "he', '["of", "somebody", "else"]'
pytestmark = pytest.mark.skipif(not IS_CLONE, reason="needs git history to clone; an unpacked archive has none")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which one backend was measured."""
    folder = cloned(tmp_path_factory.mktemp("robust") / "clone")
    commit(folder, "measured")
    done = run(folder, "numpy-gemm")
    assert done.returncode == 0 and "24 values stored" in done.stderr, done.stderr
    return folder


@pytest.fixture
def clone(measured: Path, tmp_path: Path) -> Iterator[Path]:
    """The same, whose results are put back after the test."""
    shutil.copytree(measured / "results", tmp_path / "results")
    yield measured
    shutil.rmtree(measured / "results")
    shutil.copytree(tmp_path / "results", measured / "results")


def run(clone: Path, backend: str) -> subprocess.CompletedProcess[str]:
    words = ("run", "--suite", "smoke", "--quick", "--backend", backend)
    return call(clone, sys.executable, "-m", "convbench", *words)


def of_another(clone: Path, backend: str) -> list[Record]:
    """The records of the run, as if they were of another backend."""
    return [record | {"backend": backend} for record in read_records(journals(clone)[0])]


def stored(clone: Path) -> dict[str, list[float]]:
    """asv's times by backend, of the commit at hand."""
    head = call(clone, "git", "rev-parse", "HEAD").stdout.strip()
    (path,) = (clone / "results" / "here").glob(f"{head[:8]}-*.json")
    results = json.loads(path.read_text())["results"]["track.Smoke.track_time"]
    values, backends = results[0], [name.strip("'") for name in results[1][0]]
    cases = len(values) // len(backends)
    rows = {name: values[i * cases : (i + 1) * cases] for i, name in enumerate(backends)}
    return {name: row for name, row in rows.items() if None not in row}


def journals(clone: Path) -> list[Path]:
    return sorted((clone / "results" / "here").glob("*.jsonl"))


def test_two_runs_at_once_lose_nothing(clone: Path) -> None:
    before = stored(clone)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda backend: run(clone, backend), ("numpy-loop", "scipy-direct")))
    for one in done:
        assert one.returncode == 0, one.stderr
        assert "24 values stored in asv's files" in one.stderr
    assert stored(clone).keys() == {"numpy-gemm", "numpy-loop", "scipy-direct"}
    assert stored(clone)["numpy-gemm"] == before["numpy-gemm"]
    assert sorted({r["backend"] for r in read_records(path)}.pop() for path in journals(clone)) == [
        "numpy-gemm", "numpy-loop", "scipy-direct",
    ]  # fmt: skip
    assert [len(list(read_records(path))) for path in journals(clone)] == [6, 6, 6]
    asv(clone, "publish", "--no-pull")


def test_a_kill_in_the_middle_of_a_write_loses_nothing_and_stops_nobody(clone: Path) -> None:
    before = stored(clone)
    slim_ones = list(map(slim, of_another(clone, "numpy-loop")))
    asked = json.dumps({"checkout": str(clone), "results": str(clone / "results"), "records": slim_ones})
    words = [sys.executable, "-m", "convbench.store.asv.results"]
    start = time.monotonic()
    assert subprocess.run(words, input=asked, cwd=clone, capture_output=True, text=True).returncode == 0
    took_s = time.monotonic() - start
    rng = random.Random(0)
    for _ in range(8):
        process = subprocess.Popen(words, stdin=subprocess.PIPE, cwd=clone, stdout=-3, stderr=-3, text=True)
        assert process.stdin is not None
        process.stdin.write(asked)
        process.stdin.close()
        time.sleep(took_s * rng.uniform(0.5, 1.0))
        process.kill()
        process.wait()
        assert stored(clone)["numpy-gemm"] == before["numpy-gemm"]
    half = clone / "results" / ".asv-of-a-killed-one" / "here" / "half.json"
    half.parent.mkdir(parents=True)
    half.write_text(TRUNCATED)
    written = write_asv_results(of_another(clone, "scipy-direct"), clone / "results", clone)
    assert (written.refusal, written.values) == (None, 24)
    assert stored(clone).keys() == {"numpy-gemm", "numpy-loop", "scipy-direct"}
    assert not half.exists()
    asv(clone, "publish", "--no-pull")


@pytest.mark.parametrize("content", [TRUNCATED, FOREIGN], ids=["truncated", "foreign"])
@pytest.mark.parametrize("which", ["benchmarks.json", "here/machine.json", "here/{head}-*.json", "here/other.json"])
def test_a_broken_file_among_asv_s_is_named_and_stays(clone: Path, which: str, content: str) -> None:
    head = call(clone, "git", "rev-parse", "HEAD").stdout.strip()
    results = clone / "results"
    (path,) = list(results.glob(which.format(head=head[:8]))) or [results / which]
    path.write_text(content)
    written = write_asv_results(of_another(clone, "numpy-loop"), results, clone)
    if which in ("benchmarks.json", "here/other.json"):  # written anew, and none that is written
        assert (written.refusal, written.values) == (None, 24)
    else:
        assert written.refusal is not None and f"{path}" in written.refusal
        assert "Error:" not in written.refusal and ".asv-" not in written.refusal and not written.refusal.endswith(".")
        assert path.read_text() == content, "nobody's file is overwritten"


def test_with_broken_files_a_run_keeps_its_journal_and_the_other_commands_do_not_mind(clone: Path) -> None:
    results = clone / "results"
    for path in (*results.glob("here/*.json"), results / "here" / "more.json", results / "more.json"):
        path.write_text(TRUNCATED)
    done = run(clone, "numpy-loop")
    assert done.returncode == 0
    assert "Not stored in asv's files: asv could not store them: " in done.stderr
    assert "Traceback" not in done.stderr and "This is a bug" not in done.stderr
    base, new = journals(clone)
    assert len(list(read_records(new))) == 6
    assert sorted(convbench.load(results)["backend"].unique()) == ["numpy-gemm", "numpy-loop"]
    compared = ("compare", str(base), str(new), "--backend", "numpy-gemm", "--against", "numpy-loop")
    for words, codes in ((compared, (0, 1)), (("trend",), (0, 3))):
        done = call(clone, sys.executable, "-m", "convbench", *words)
        assert done.returncode in codes, done.stderr
        assert "Traceback" not in done.stderr and "This is a bug" not in done.stderr
