"""asv's files, written by `convbench run` and read by the real asv, in a clone of this repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import CHECKOUT as ROOT

import convbench

IS_CLONE = (ROOT / ".git").exists()
pytestmark = pytest.mark.skipif(not IS_CLONE, reason="needs git history to clone; an unpacked archive has none")

BACKENDS = ("--backend", "numpy-gemm", "--backend", "numpy-loop")


def call(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= variables | {"CONVBENCH_MACHINE": "here", "HOME": str(folder.parent), "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=env, timeout=240)


def run_suite(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return call(clone, sys.executable, "-m", "convbench", "run", "--suite", "smoke", "--quick", *BACKENDS, *words)


def asv(clone: Path, *words: str, **variables: str) -> str:
    done = call(clone, sys.executable, "-m", "asv", *words, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(clone: Path, message: str) -> None:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    done = call(clone, "git", *author, "commit", "-q", "--allow-empty", "-m", message)
    assert done.returncode == 0, done.stderr


def cloned(folder: Path) -> Path:
    """A clone on a branch main, of the files as they are here, committed or not."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    call(folder, "git", "checkout", "-q", "-B", "main")
    listed = call(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    call(folder, "git", "add", "-A")
    commit(folder, "as it is")
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with two commits measured."""
    folder = cloned(tmp_path_factory.mktemp("asv") / "clone")
    for number in range(2):
        commit(folder, f"measured {number}")
        done = run_suite(folder)
        assert done.returncode == 0, done.stderr
        assert "48 values stored in asv's files under commit" in done.stderr + done.stdout
    return folder


def test_asv_shows_the_medians_of_the_journal(clone: Path) -> None:
    shown = asv(clone, "show", "HEAD", "-b", "Smoke.track_time")
    newest = convbench.load(sorted((clone / "results" / "here").glob("*.jsonl"))[-1])
    medians = newest.set_index(["backend", "case"])["median_s"]
    scale = {"ns": 1e-9, "μs": 1e-6, "ms": 1e-3, "s": 1.0}
    rows = re.findall(r"^\s*(numpy-\S+)\s+(\S+)\s+([\d.]+)(?:±\S*?)?(ns|μs|ms|s)\s*$", shown, re.MULTILINE)
    assert len(rows) == 12
    for backend, case, value, unit in rows:
        assert float(value) * scale[unit] == pytest.approx(medians[backend, case], rel=0.01)


def test_asv_and_convbench_compare_the_two_commits_alike(clone: Path) -> None:
    compared = asv(clone, "compare", "HEAD~1", "HEAD")
    row = r"([\d.]+)\s*\|\s*track\.Smoke\.track_time\('(numpy-\S+)', '(\S+)'\)"
    by_asv = {(backend, case): float(ratio) for ratio, backend, case in re.findall(row, compared)}
    done = call(clone, sys.executable, "-m", "convbench", "compare", "HEAD~1", "HEAD", "--json")
    assert done.returncode in (0, 1), done.stderr
    by_convbench = {(row["backend"], row["case"]): row["ratio"] for row in map(json.loads, done.stdout.splitlines())}
    assert len(by_asv) == 12
    # asv prints two digits after the point, of medians that it took of the same samples.
    assert by_asv == pytest.approx({pair: by_convbench[pair] for pair in by_asv}, abs=0.0051)


def test_asv_publishes_both_points(clone: Path) -> None:
    asv(clone, "publish", "--no-pull")
    html = clone / ".asv" / "html"
    graphs = [p for p in html.rglob("track.Smoke.track_time.json") if "summary" not in p.parts]
    assert graphs
    points = json.loads(graphs[0].read_text())
    assert len(points) == 2
    assert all(any(value for value in values if value) for _, values in points)


def test_two_runs_of_one_commit_are_merged_and_nothing_is_lost(clone: Path) -> None:
    (stored,) = (clone / "results" / "here").glob(f"{_head(clone)[:8]}-*.json")
    before = _values(stored)
    words = ["run", "--suite", "smoke", "--quick", "--backend", "scipy-direct"]
    done = call(clone, sys.executable, "-m", "convbench", *words)
    assert done.returncode == 0, done.stderr
    after = _values(stored)
    gained = [i for i, (old, new) in enumerate(zip(before, after, strict=True)) if repr(old) != repr(new)]
    assert len(gained) == 6
    assert all(before[i] != before[i] and after[i] == after[i] for i in gained)  # n/a before, a number now


def test_what_was_not_asked_is_not_available_to_asv_and_no_failure(clone: Path) -> None:
    commit(clone, "one pair")
    words = ["run", "--suite", "smoke", "--quick", "--backend", "numpy-gemm", "--case", "*k5*"]
    done = call(clone, sys.executable, "-m", "convbench", *words)
    shown = asv(clone, "show", "HEAD", "-b", "Smoke.track_time")
    compared = asv(clone, "compare", "HEAD~1", "HEAD")
    (path,) = (clone / "results" / "here").glob(f"{_head(clone)[:8]}-*.json")
    values = _values(path)
    call(clone, "git", "reset", "-q", "--hard", "HEAD~1")  # the clone is shared with the other tests
    assert done.returncode == 0, done.stderr
    assert "failed" not in shown and "failed" not in compared
    assert "n/a" in shown
    assert sum(value == value for value in values if value is not None) == 1 and None not in values


def test_what_was_measured_at_another_commit_is_not_stored_under_this_one(clone: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "convbench", "run", "--suite", "smoke", "--quick", "--results", str(tmp_path)]
    call(clone, *words, "--backend", "numpy-loop", "--no-asv")
    commit(clone, "another")
    resumed = call(clone, *words, "--backend", "numpy-loop", "--backend", "numpy-gemm", "--resume")
    call(clone, "git", "reset", "-q", "--hard", "HEAD~1")  # the clone is shared with the other tests
    assert resumed.returncode == 0, resumed.stderr
    assert "6 new records" in resumed.stdout
    assert "24 values stored" in resumed.stdout + resumed.stderr  # of one backend: 6 cases, 4 metrics


def test_what_was_measured_with_other_settings_is_a_series_of_its_own(clone: Path, tmp_path: Path) -> None:
    done = run_suite(clone, "--cache", "cold", "--results", str(tmp_path))
    assert "values stored in asv's files under commit" in done.stderr + done.stdout
    [stored] = (tmp_path / "here").glob("*CONVBENCH_CACHEcold*.json")
    assert json.loads(stored.read_text(encoding="utf-8"))["env_vars"] == {"CONVBENCH_CACHE": "cold"}


def test_no_asv_leaves_asv_s_files_alone(clone: Path, tmp_path: Path) -> None:
    done = run_suite(clone, "--no-asv", "--results", str(tmp_path))
    assert done.returncode == 0
    assert "asv's files" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.json"))
    assert len(list(tmp_path.rglob("*.jsonl"))) == 1


def test_a_dirty_checkout_is_measured_and_not_stored_unless_asked(clone: Path, tmp_path: Path) -> None:
    changed = clone / "README.md"
    before = changed.read_text()
    try:
        changed.write_text(before + "\nchanged\n")
        refused = run_suite(clone, "--results", str(tmp_path / "a"))
        allowed = run_suite(clone, "--results", str(tmp_path / "b"), "--allow-dirty")
    finally:
        changed.write_text(before)
    assert refused.returncode == allowed.returncode == 0
    assert "uncommitted changes (--allow-dirty" in refused.stdout + refused.stderr
    assert not list((tmp_path / "a").rglob("benchmarks.json"))
    assert list((tmp_path / "b").rglob("benchmarks.json"))


def test_outside_a_checkout_the_journal_is_kept_and_it_says_why_asv_has_nothing(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    words = ["run", "--suite", "smoke", "--quick", "--case", "*k5*", *BACKENDS, "--results", str(tmp_path / "r")]
    env = os.environ | {"PYTHONPATH": str(clone)}
    done = subprocess.run(
        [sys.executable, "-m", "convbench", *words], cwd=tmp_path / "elsewhere", capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    assert "no checkout with an asv.conf.json" in done.stdout + done.stderr
    assert len(list((tmp_path / "r").rglob("*.jsonl"))) == 1


def test_asv_run_measures_by_the_same_engine_under_the_same_names(clone: Path) -> None:
    words = ["run", "--set-commit-hash", "HEAD", "-b", r"Tutorial.track_time\('numpy-gemm'"]
    call(clone, sys.executable, "-m", "asv", "machine", "--yes", "--machine", "here")
    printed = asv(clone, *words, "--machine", "here", CONVBENCH_BACKENDS="numpy-gemm")
    assert "track.Tutorial.track_time" in printed and "failed" not in printed
    (stored,) = (clone / "results" / "here").glob(f"{_head(clone)[:8]}-*.json")
    names = json.loads(stored.read_text())["results"]
    assert {"track.Smoke.track_time", "track.Tutorial.track_time"} <= set(names)


def _head(clone: Path) -> str:
    return call(clone, "git", "rev-parse", "HEAD").stdout.strip()


def _values(stored: Path) -> list[float | None]:
    return list(json.loads(stored.read_text())["results"]["track.Smoke.track_time"][0])
