"""Nothing measured is lost: two runs at once, a kill in the middle of a write, broken files among the results."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import SoftFileLock
from test_asv import IS_CLONE, asv, call, cloned, commit

import convbench
from convbench.reporting.run.report import asv_sentence
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
    return {name: row for name, row in rows.items() if all(value == value and value is not None for value in row)}


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
    asked = json.dumps({"checkout": str(clone), "results": str(clone / "results"), "records": slim_ones, "wait_s": 60})
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


def test_a_run_waits_for_another_that_stores_says_so_and_goes_on_without_asv_s_files(clone: Path) -> None:
    said: list[str] = []
    with SoftFileLock(clone / "results" / ".asv.held"):
        records = of_another(clone, "numpy-loop")
        written = write_asv_results(records, clone / "results", clone, wait_s=3, say=said.append)
    assert written.values == 0 and written.refusal is not None
    assert f"Process {os.getpid()} on " in written.refusal and "still did after 3 s" in written.refusal
    assert len(said) == 1 and "waiting for it, 3 s at most" in said[0]
    assert write_asv_results(records, clone / "results", clone).values == 24


def test_a_run_stores_where_the_file_system_has_no_flock(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, fcntl\ndef flock(*_):\n    raise OSError(errno.ENOSYS, '')\nfcntl.flock = flock\n"
    )
    (clone / "results" / ".asv.lock").touch()  # as earlier versions left it
    words = ("run", "--suite", "smoke", "--quick", "--backend", "numpy-loop")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(clone)])}
    done = subprocess.run(
        [sys.executable, "-m", "convbench", *words], cwd=clone, capture_output=True, text=True, timeout=240,
        env=os.environ | environment | {"CONVBENCH_MACHINE": "here", "HOME": str(clone.parent)},
    )  # fmt: skip
    assert done.returncode == 0 and "24 values stored in asv's files" in done.stderr, done.stderr


def test_results_of_another_cpu_under_one_name_are_another_machine_of_asv_s(clone: Path) -> None:
    before = stored(clone)
    other = {"cpu": "Imagined 9000", "num_cpu": 64, "vector_isa": "AVX-512"}
    moved = [r | {"machine": r["machine"] | other} for r in of_another(clone, "numpy-loop")]
    written = write_asv_results(moved, clone / "results", clone)
    assert written.values == 24 and written.machine is not None
    assert "as machine here-Imagined-9000-64-CPUs-AVX-512, because here was " in written.machine
    assert stored(clone) == before, "the series of the first hardware is left alone"
    folder = clone / "results" / "here-Imagined-9000-64-CPUs-AVX-512"
    assert len(list(folder.glob("*-convbench-*.json"))) == 1
    again = write_asv_results(of_another(clone, "numpy-loop"), clone / "results", clone)
    assert again.machine is None and stored(clone).keys() == {"numpy-gemm", "numpy-loop"}
    asv(clone, "publish", "--no-pull")


def test_what_has_no_place_among_asv_s_benchmarks_is_said(clone: Path) -> None:
    records = [record | {"suite": "mine"} for record in of_another(clone, "numpy-loop")[:2]]
    records += [record | {"backend": "my-conv"} for record in of_another(clone, "numpy-loop")[:1]]
    written = write_asv_results(records, clone / "results", clone)
    assert (written.values, written.refusal) == (0, None)
    assert written.left_out == "asv's benchmarks of this checkout have no suite 'mine', and no backend 'my-conv'"
    assert asv_sentence(written).endswith(f": {written.left_out}.") and asv_sentence(written).startswith("0 values")


def test_a_configured_results_folder_is_where_everything_is_kept(clone: Path, tmp_path: Path) -> None:
    """A user's own repository, with benchmarks of its own and comments in its configuration."""
    mine = tmp_path / "mine"
    (mine / "perf").mkdir(parents=True)
    (mine / "perf" / "benchmarks.py").write_text("def time_nothing():\n    pass\n")
    (mine / "asv.conf.json").write_text(
        '{\n  // as `asv quickstart` writes it\n  "version": 1, "project": "mine", "repo": ".", "branches": ["main"],\n'
        '  "environment_type": "existing", "benchmark_dir": "perf",\n'
        '  "results_dir": "perf/kept", "html_dir": "perf/html"\n}'
    )
    for words in (["init", "-q", "-b", "main"], ["add", "."]):
        call(mine, "git", *words)
    commit(mine, "first")
    words = ["run", "--suite", "smoke", "--quick", "--backend", "numpy-gemm"]
    environment = os.environ | {"PYTHONPATH": str(clone), "CONVBENCH_MACHINE": "here"}
    done = subprocess.run(
        [sys.executable, "-m", "convbench", *words], cwd=mine, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert not (mine / "results").exists()
    assert len(list((mine / "perf" / "kept" / "here").glob("*.jsonl"))) == 1
    assert "0 values stored in asv's files" in done.stderr and "have no suite 'smoke'" in done.stderr, done.stderr
