"""What may be said of two sets of records: verdicts on simulated samples, and the command's exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convbench.analysis.comparison import Verdict, compare

RNG = np.random.default_rng(7)


def record(samples: Sequence[float], case: str = "a", backend: str = "torch", **changes: Any) -> dict[str, Any]:
    found = {
        "suite": "sizes",
        "case": case,
        "backend": backend,
        "threads": 1,
        "status": "ok",
        "reason": None,
        "median_s": float(np.median(samples)) if len(samples) else None,
        "samples": {"round": list(range(len(samples))), "wall_s": list(samples)},
    }
    return found | changes


def noisy(scale: float = 1.0, n: int = 20) -> list[float]:
    return (1e-3 * scale * np.exp(RNG.normal(0, 0.02, n))).tolist()


def test_a_real_slowdown_is_slower_and_a_real_speedup_faster() -> None:
    base = [record(noisy(), case) for case in "abc"]
    new = [record(noisy(1.1), "a"), record(noisy(0.9), "b"), record(noisy(), "c")]
    found = {change.case: change for change in compare(base, new, 0.05).changes}
    assert [found[case].verdict for case in "ab"] == [Verdict.SLOWER, Verdict.FASTER]
    assert found["a"].ratio.value == pytest.approx(1.1, rel=0.03)
    assert found["a"].ratio.low < 1.1 < found["a"].ratio.high * 1.02
    assert found["a"].regressed(0.05) and not found["a"].regressed(0.2)
    assert found["c"].verdict in (Verdict.SAME, Verdict.UNCLEAR)


def test_of_many_pairs_that_did_not_change_hardly_one_is_called_changed() -> None:
    cases = [str(number) for number in range(300)]
    base, new = ([record(noisy(), case) for case in cases] for _ in range(2))
    changes = compare(base, new, 0.05).changes
    assert sum(change.verdict in (Verdict.SLOWER, Verdict.FASTER) for change in changes) <= 3
    assert sum(change.verdict is Verdict.SAME for change in changes) >= 270


def test_the_worst_comes_first_and_the_mean_is_geometric() -> None:
    base = [record([1.0] * 10, "a"), record([1.0] * 10, "b"), record([1.0] * 10, "c")]
    new = [record([0.5] * 10, "a"), record([2.0] * 10, "b"), record([1.0] * 10, "c")]
    comparison = compare(base, new, 0.05)
    assert [change.case for change in comparison.changes] == ["b", "c", "a"]
    assert comparison.geometric_mean == pytest.approx(1.0)


def test_too_few_samples_are_never_a_verdict() -> None:
    (change,) = compare([record([1.0] * 5)], [record([9.0] * 5)], 0.05).changes
    assert change.verdict is Verdict.UNCLEAR
    assert not change.ratio.covers


def test_what_was_right_and_is_broken_now_is_told() -> None:
    broken = record([], status="wrong", reason="bound check")
    comparison = compare([record(noisy())], [broken], 0.05)
    assert comparison.broken == (broken,)
    assert comparison.changes == () and comparison.geometric_mean is None


def test_other_threads_backends_and_cases_are_not_compared() -> None:
    base = [record(noisy(), threads=1), record(noisy(), backend="jax")]
    new = [record(noisy(), threads=2), record(noisy(), case="b")]
    comparison = compare(base, new, 0.05)
    assert comparison.changes == ()
    assert (comparison.only_base, comparison.only_new) == (2, 2)


def test_the_last_record_of_a_pair_counts() -> None:
    (change,) = compare([record([1.0] * 9), record([2.0] * 9)], [record([2.0] * 9)], 0.05).changes
    assert change.ratio.value == 1.0


# --- the command ------------------------------------------------------------------------------------------------------


def journal(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convbench", "compare", *map(str, words)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(("scale", "words", "code"), [(1.0, (), 0), (1.2, (), 1), (1.2, ("--threshold", "0.5"), 0)])
def test_the_exit_code_is_1_on_a_regression_beyond_the_threshold(
    tmp_path: Path, scale: float, words: tuple[str, ...], code: int
) -> None:
    base = journal(tmp_path / "base.jsonl", record(noisy()))
    new = journal(tmp_path / "new.jsonl", record(noisy(scale)))
    done = command(base, new, *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert "1 pairs" in done.stdout and "Geometric mean new/base" in done.stdout


def test_something_broken_is_exit_code_1_and_nothing_comparable_is_3(tmp_path: Path) -> None:
    base = journal(tmp_path / "base.jsonl", record(noisy()))
    broken = journal(tmp_path / "broken.jsonl", record([], status="crashed", reason="killed by SIGSEGV"))
    other = journal(tmp_path / "other.jsonl", record(noisy(), case="b"))
    assert command(base, broken).returncode == 1
    done = command(base, other)
    assert done.returncode == 3
    assert "nothing to compare" in done.stderr


@pytest.mark.parametrize("name", ["nowhere.jsonl", "no-such-commit", "--output=x", "-x"])
def test_what_names_no_records_is_exit_code_2_and_says_what_would(tmp_path: Path, name: str) -> None:
    base = journal(tmp_path / "base.jsonl", record(noisy()))
    done = command("--results", tmp_path, base, "--", name)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert name in done.stderr and "journal" in done.stderr


def test_two_backends_of_one_run_are_compared(tmp_path: Path) -> None:
    run = journal(tmp_path / "run.jsonl", record(noisy(), backend="jax"), record(noisy(0.5), backend="torch"))
    done = command(run, run, "--backend", "jax", "--against", "torch", "--json")
    assert done.returncode == 0
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert row["ratio"] == pytest.approx(0.5, rel=0.05)
    assert row["verdict"] == "faster"
    assert row["low"] <= row["ratio"] <= row["high"]


def test_markdown_is_a_table_in_which_nothing_from_a_journal_is_markup(tmp_path: Path) -> None:
    evil = "a|b`<script>alert(1)</script>"
    base = journal(tmp_path / "base.jsonl", record(noisy(), case=evil))
    new = journal(tmp_path / "new.jsonl", record(noisy(), case=evil))
    done = command(base, new, "--markdown")
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert "<script>" not in done.stdout and r"a\|b\`\<script\>" in done.stdout


def test_a_commit_names_the_records_measured_at_it(tmp_path: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    if head.returncode != 0:
        pytest.skip("needs git history; an unpacked archive has none")
    (tmp_path / "here").mkdir()
    journal(tmp_path / "here" / "a.jsonl", record(noisy(), commit=head.stdout.strip()), record(noisy(), case="b"))
    done = subprocess.run(
        [sys.executable, "-m", "convbench", "compare", "HEAD", "here", "--results", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["case"] for line in done.stdout.splitlines()] == ["a"]
