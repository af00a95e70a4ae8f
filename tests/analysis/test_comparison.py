"""What may be said of two sets of records: verdicts on simulated samples, and the command's exit codes."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import CHECKOUT

from convbench.analysis.comparison import ChangeVerdict, compare
from convbench.analysis.paired_ratio import ratio
from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ratio import Ratio

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
    assert [found[case].verdict for case in "ab"] == [ChangeVerdict.SLOWER, ChangeVerdict.FASTER]
    assert found["a"].ratio.value == pytest.approx(1.1, rel=0.03)
    assert found["a"].ratio.low < 1.1 < found["a"].ratio.high * 1.02
    assert found["a"].regressed(0.05) and not found["a"].regressed(0.2)
    assert found["c"].verdict in (ChangeVerdict.SAME, ChangeVerdict.UNCLEAR)


def test_of_many_pairs_that_did_not_change_hardly_one_is_called_changed() -> None:
    cases = [str(number) for number in range(300)]
    base, new = ([record(noisy(), case) for case in cases] for _ in range(2))
    changes = compare(base, new, 0.1).changes
    assert not any(change.changed for change in changes)
    assert sum(change.verdict is ChangeVerdict.SAME for change in changes) >= 270


def test_the_worst_comes_first_and_the_mean_is_geometric() -> None:
    base = [record([1.0] * 10, "a"), record([1.0] * 10, "b"), record([1.0] * 10, "c")]
    new = [record([0.5] * 10, "a"), record([2.0] * 10, "b"), record([1.0] * 10, "c")]
    comparison = compare(base, new, 0.05)
    assert [change.case for change in comparison.changes] == ["b", "c", "a"]
    assert comparison.geometric_mean == pytest.approx(1.0)


def test_too_few_samples_are_never_a_verdict() -> None:
    (change,) = compare([record([1.0] * 5)], [record([9.0] * 5)], 0.05).changes
    assert change.verdict is ChangeVerdict.UNCLEAR
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


# --- side by side -----------------------------------------------------------------------------------------------------


def drifting(rounds: int = 20) -> list[float]:
    """What a machine does to all that is measured on it: it slows down to half its speed and comes back."""
    return (1 + np.sin(np.linspace(0, math.pi, rounds))).tolist()


def test_what_was_measured_in_the_same_rounds_is_compared_round_by_round() -> None:
    walls = [1e-3 * drift * noise for drift, noise in zip(drifting(), noisy(1e3), strict=True)]
    slower = [1.05 * wall * noise for wall, noise in zip(walls, noisy(1e3), strict=True)]
    (paired,) = compare([record(walls, session="s")], [record(slower, session="s")], 0.02).changes
    (apart,) = compare([record(walls, session="s")], [record(slower, session="t")], 0.02).changes
    assert (paired.verdict, paired.paired) == (ChangeVerdict.SLOWER, True)
    assert paired.ratio.low < 1.05 < paired.ratio.high
    assert (apart.verdict, apart.paired) == (ChangeVerdict.UNCLEAR, False), "the drift hides it from who does not pair"
    assert paired.ratio == ratio(record(slower, session="s"), record(walls, session="s"))


def test_rounds_are_matched_by_their_numbers_and_not_by_their_place() -> None:
    base = record([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], session="s")
    new = record([4.0, 6.0, 8.0, 10.0, 12.0, 14.0], session="s")
    new["samples"]["round"] = [1, 2, 3, 4, 5, 6]
    (change,) = compare([base], [new], 0.05).changes
    assert change.ratio == Ratio(2.0, 2.0, 2.0).widened(half_width_of_process_variation([]))
    new["samples"]["round"] = [11, 12, 13, 14, 15, 16]
    assert not compare([base], [new], 0.05).changes[0].paired
    new["samples"]["round"] = [[1], {}, None, "x", 5, 6]
    assert not compare([base], [new], 0.05).changes[0].paired


def test_a_record_and_itself_are_the_same() -> None:
    one = record(noisy(), session="s")
    (change,) = compare([one], [one], 0.05).changes
    assert (change.verdict, change.ratio.value, change.q_value) == (ChangeVerdict.SAME, 1.0, 1.0)


# --- machines, allocators, dtypes -------------------------------------------------------------------------------------


def on(machine: str, scale: float = 1.0, **changes: Any) -> dict[str, Any]:
    return record(noisy(scale), machine={"machine": machine}, **changes)


def test_two_machines_are_compared_and_two_of_them_on_a_side_each_with_itself() -> None:
    (change,) = compare([on("fast")], [on("slow", 3.0)], 0.05).changes
    assert change.ratio.value == pytest.approx(3.0, rel=0.1)
    base, new = [on("fast"), on("slow", 3.0)], [on("slow", 3.0), on("fast")]
    found = compare(base, new, 0.05)
    assert found.told_apart_by == ("machine",)
    assert {change.base["machine"]["machine"] for change in found.changes} == {"fast", "slow"}
    assert all(change.ratio.value == pytest.approx(1.0, rel=0.1) for change in found.changes)


def test_allocators_and_dtypes_of_one_side_are_not_mixed() -> None:
    kinds = [{"settings": {"allocator": "steady"}}, {"settings": {"allocator": "system"}}, {"dtype": "bfloat16"}]
    sides = [[record(noisy(1 + i), **kind) for i, kind in enumerate(kinds)] for _ in range(2)]
    found = compare(sides[0], sides[1][::-1], 0.05)
    assert found.told_apart_by == ("allocator", "dtype")
    assert len(found.changes) == 3
    assert all(change.ratio.value == pytest.approx(1.0, rel=0.1) for change in found.changes)


@pytest.mark.parametrize(
    "walls", [None, "fast", [], [5e-324] * 9, [1e300] * 9, [0.0] * 9, [-1.0] * 9, ["x"] * 9, [None] * 9, [[1]] * 9]
)
def test_samples_that_are_no_times_are_not_compared_and_stop_nothing(walls: Any) -> None:
    odd = record(noisy(), "odd") | {"samples": {"wall_s": walls, "round": list(range(9))}}
    found = compare([record(noisy()), odd], [record(noisy()), record(noisy(), "odd")], 0.05)
    assert [change.case for change in found.changes] == ["a"]
    assert (found.only_base, found.only_new) == (0, 0)


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
    assert "1 pair: 1 " in done.stdout and "Geometric mean new/base" in done.stdout


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
        cwd=CHECKOUT,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["case"] for line in done.stdout.splitlines()] == ["a"]


def test_backends_of_two_environments_are_compared_by_what_they_share(tmp_path: Path) -> None:
    names = {"torch@base": 1.0, "torch@head": 1.2, "jax@base": 1.0, "jax@head": 1.0, "torch": 5.0}
    run = journal(tmp_path / "run.jsonl", *(record(noisy(s), backend=b, session="s") for b, s in names.items()))
    done = command(run, run, "--backend", "*@base", "--against", "*@head", "--json")
    rows = {row["backend"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert {name: row["verdict"] for name, row in rows.items()}["torch"] == "slower"
    assert set(rows) == {"torch", "jax"} and all(row["paired"] for row in rows.values())
    assert "Measured side by side" in command(run, run, "--backend", "torch@base", "--against", "torch@head").stdout
    for wrong in (("*@base", "torch@head"), ("*@*", "*@*"), ("torch@base", "*")):
        done = command(run, run, "--backend", wrong[0], "--against", wrong[1])
        assert done.returncode == 2
        assert "two patterns with one * each" in done.stderr


def test_machines_are_named_by_their_folders_and_nothing_comparable_is_3_and_says_why(tmp_path: Path) -> None:
    for machine, scale in (("fast", 1.0), ("slow", 2.0)):
        (tmp_path / machine).mkdir()
        journal(tmp_path / machine / "20240101T000000Z-a.jsonl", on(machine, scale, commit="c" * 40))
    done = command("--results", tmp_path, "fast", "slow", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ratio"] == pytest.approx(2.0, rel=0.1)
    third = journal(tmp_path / "third.jsonl", on("third"))
    done = command("--results", tmp_path, tmp_path, third)  # which has all three machines in it
    assert done.returncode == 0
    other = journal(tmp_path.parent / f"{tmp_path.name}.jsonl", on("fourth"))
    done = command("--results", tmp_path, tmp_path, other)
    assert done.returncode == 3
    assert "more than one machine" in done.stderr


def test_tags_and_branches_name_commits(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        return subprocess.run(
            ["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    git("init", "-q", "-b", "main")
    commits = []
    for number, scale in enumerate((1.0, 1.3)):
        git("commit", "-q", "--allow-empty", "-m", f"commit {number}")
        git("tag", f"light-{number}")
        git("tag", "-a", f"v{number}", "-m", "annotated")
        commits.append(git("rev-parse", "HEAD"))
        (tmp_path / "results" / "m").mkdir(parents=True, exist_ok=True)
        journal(tmp_path / "results" / "m" / f"{number}.jsonl", record(noisy(scale), commit=commits[-1]))
    for base, new in (("v0", "v1"), ("light-0", "main"), (commits[0][:9], "HEAD"), ("HEAD~1", "light-1")):
        done = subprocess.run(
            [sys.executable, "-m", "convbench", "compare", base, new, "--results", "results", "--json"],
            capture_output=True, text=True, cwd=tmp_path, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert json.loads(done.stdout)["ratio"] == pytest.approx(1.3, rel=0.05)
    git("commit", "-q", "--allow-empty", "-m", "not measured")
    git("tag", "v2")
    done = subprocess.run(
        [sys.executable, "-m", "convbench", "compare", "v1", "v2", "--results", "results"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no record in results was measured at it" in done.stderr


def test_of_many_pairs_a_person_sees_those_that_changed_most_and_a_program_all(tmp_path: Path) -> None:
    base = journal(tmp_path / "base.jsonl", *(record(noisy(), f"c{i}") for i in range(150)))
    scales = {3: 2.0, 77: 0.3, 149: 1.5}
    new = journal(tmp_path / "new.jsonl", *(record(noisy(scales.get(i, 1.0)), f"c{i}") for i in range(150)))
    shown = command(base, new)
    rows = [
        line.split() for line in shown.stdout.splitlines() if line.startswith(("slower", "faster", "same", "unclear"))
    ]
    assert len(rows) == 100
    assert [row[2] for row in (rows[0], rows[1], rows[-1])] == ["c3", "c149", "c77"]
    assert re.search(r"^150 pairs: \d+ slower, \d+ faster", shown.stdout, re.MULTILINE)
    assert "100 are shown, those that changed most; --json has all" in " ".join(shown.stdout.split())
    assert len(command(base, new, "--json").stdout.splitlines()) == 150
    assert sum(line.startswith("| ") for line in command(base, new, "--markdown").stdout.splitlines()) == 102


def test_what_is_broken_is_in_the_json_too(tmp_path: Path) -> None:
    base = journal(tmp_path / "base.jsonl", record(noisy()), record(noisy(), "b"))
    new = journal(tmp_path / "new.jsonl", record(noisy()), record([], "b", status="wrong", reason="off by one"))
    done = command(base, new, "--json")
    assert done.returncode == 1
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[-1] | {"reason": ""} == {
        "suite": "sizes", "case": "b", "backend": "torch", "verdict": "broken", "status": "wrong", "reason": "",
    }  # fmt: skip
    assert told[-1]["reason"] == "off by one"


def test_a_name_from_a_journal_moves_no_cursor(tmp_path: Path) -> None:
    evil = record(noisy(), "\x1b[2Jx", backend="[bold]b")
    path = journal(tmp_path / "evil.jsonl", evil, record([], "z", status="crashed", reason="\x1b]0;title\x07"))
    shown = command(path, path)
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout and "\\x1b[2Jx" in shown.stdout and "[bold]b" in shown.stdout


HERE = {"machine": "here", "cpu": "AMD EPYC", "num_cpu": 2, "vector_isa": "AVX-512"}


@pytest.mark.parametrize("other", [{"cpu": "Intel Xeon"}, {"num_cpu": 64}, {"vector_isa": "AVX2"}])
def test_another_machine_under_one_name_is_compared_only_when_asked(other: dict[str, Any], tmp_path: Path) -> None:
    base = journal(tmp_path / "base.jsonl", *(record(noisy(), case, machine=HERE) for case in "abc"))
    new = journal(tmp_path / "new.jsonl", *(record(noisy(1.7), case, machine=HERE | other) for case in "abc"))
    refused = command(base, new)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "3 pairs were measured on different hardware and not compared" in refused.stderr
    assert "the base on here (AMD EPYC, 2 CPUs, AVX-512), the new on here (" in refused.stderr
    assert str(next(iter(other.values()))) in refused.stderr and "--across-machines" in refused.stderr
    asked = command(base, new, "--across-machines")
    assert asked.returncode == 1 and "Measured on different hardware" in " ".join(asked.stdout.split())


def test_what_is_of_one_machine_is_compared_and_the_rest_is_said(tmp_path: Path) -> None:
    other = HERE | {"cpu": "Intel Xeon"}
    base = journal(tmp_path / "base.jsonl", *(record(noisy(), case, machine=HERE) for case in "ab"))
    after = record(noisy(), "a", machine=HERE), record(noisy(1.7), "b", machine=other)
    done = command(base, journal(tmp_path / "new.jsonl", *after))
    said = " ".join(done.stdout.split())
    assert done.returncode == 0 and "slower 1.7" not in said
    assert "1 pair was measured on different hardware and not compared" in said


@pytest.mark.parametrize("known", [{}, {"machine": "here"}, {"machine": "here", "cpu": "AMD EPYC"}])
def test_what_a_record_does_not_say_of_its_machine_tells_nothing_apart(known: dict[str, Any]) -> None:
    base, new = [record(noisy(), machine=known)], [record(noisy(), machine=HERE)]
    comparison = compare(base, new, 0.05)
    assert len(comparison.changes) == 1 and not comparison.not_compared and not comparison.machines


def test_machines_of_other_names_and_the_same_hardware_are_compared(tmp_path: Path) -> None:
    """As containers in a pool have a new name each time."""
    base = [record(noisy(), machine=HERE)]
    comparison = compare(base, [record(noisy(), machine=HERE | {"machine": "there"})], 0.05)
    assert len(comparison.changes) == 1 and not comparison.machines


@pytest.mark.parametrize("text", ["5", "1", "1.0", "100"])
def test_a_bare_number_from_1_on_is_no_share(text: str, tmp_path: Path) -> None:
    path = journal(tmp_path / "a.jsonl", record(noisy()))
    done = command(path, path, "--threshold", text)
    assert done.returncode == 2 and f"type {text}% or {float(text) / 100:g}" in done.stderr
    for meant in (f"{text}%", f"{float(text) / 200:g}"):
        assert command(path, path, "--threshold", meant).returncode == 0
