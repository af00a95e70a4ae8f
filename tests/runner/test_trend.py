"""From journals to steps: which records make a series, what is told of many runs or a few releases, and the command."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.analysis.series import series_of
from convbench.analysis.trend import Evidence, trend
from convbench.reporting.history.trend import sparkline
from convbench.reporting.markdown import escaped
from convbench.reporting.terminal_text import printable

Record = dict[str, Any]
FIRST_NIGHT = datetime(2026, 9, 1, 3, 0, tzinfo=UTC)


def record(median_s: float, night: int = 0, rng: np.random.Generator | None = None, **changes: Any) -> Record:
    """The record of a run `night` nights after the first, at a commit of its own."""
    when = FIRST_NIGHT + timedelta(days=night)
    spread = np.random.default_rng(night) if rng is None else rng
    walls = (median_s * np.exp(spread.normal(0, 0.005, 20))).tolist()
    return {
        "format": 1,
        "run": f"run-{night}",
        "session": f"session-{night}",
        "time": when.isoformat(timespec="seconds"),
        "suite": "sizes",
        "case": "n1c32h56w56_o32k3_p1",
        "case_id": "n1c32h56w56_o32k3_p1",
        "backend": "torch",
        "status": "ok",
        "reason": None,
        "median_s": median_s,
        "low_s": min(walls),
        "high_s": max(walls),
        "threads": 1,
        "dtype": "float32",
        "settings": {"allocator": "steady"},
        "samples": {"round": list(range(20)), "wall_s": walls},
        "machine": {"machine": "bench-1"},
        "commit": f"{night:02x}c0ffee" * 5,
        "dirty": False,
        **changes,
    }


def nights(levels: Sequence[float], seed: int = 0, noise: float = 0.02, **changes: Any) -> list[Record]:
    """A run a night, at these levels in milliseconds, with noise."""
    medians = 1e-3 * np.array(levels) * np.exp(np.random.default_rng(seed).normal(0, noise, len(levels)))
    return [record(float(median), night, **changes) for night, median in enumerate(medians)]


def stepped(before: int, after: int, factor: float) -> list[float]:
    return [1.0] * before + [factor] * after


VERSIONS = (("1.9.2", "2025-11-03"), ("1.10.0", "2026-01-20"), ("1.11.0", "2026-04-02"), ("1.11.1", "2026-05-11"))


def releases(levels: Sequence[float], runs: int = 1, together: bool = True, **changes: Any) -> list[Record]:
    """Runs of each release of a library, in one session unless they are not `together`."""
    made = []
    for run in range(runs):
        for number, (level, (version, date)) in enumerate(zip(levels, VERSIONS, strict=False)):
            session = f"session-{run}" if together else f"session-{run}-{version}"
            made.append(
                record(
                    1e-3 * level,
                    run,
                    np.random.default_rng([run, number]),
                    backend=f"lib@{version}",
                    session=session,
                    release={"library": "lib", "version": version, "date": date},
                    **changes,
                )
            )
    return made


# --- records to series ------------------------------------------------------------------------------------------------


def test_points_are_ordered_by_time_and_labelled_by_commit() -> None:
    made = nights([1.0, 2.0, 3.0])
    made[1]["dirty"] = True
    (series,), left_out = series_of([made[2], made[0], made[1]])
    assert [point.label for point in series.points] == ["00c0ffee", "01c0ffee+", "02c0ffee"]
    assert [point.date for point in series.points] == ["2026-09-01", "2026-09-02", "2026-09-03"]
    assert [point.median_s for point in series.points] == [r["median_s"] for r in made]
    assert not left_out


def test_several_runs_at_a_commit_are_several_points_and_one_told_twice_is_one() -> None:
    first, second = record(1e-3, 0, commit="a" * 40), record(2e-3, 1, commit="a" * 40)
    (series,), left_out = series_of([first, second, first])
    assert [point.label for point in series.points] == ["aaaaaaaa"] * 2
    assert left_out == {"there twice": 1}


def test_without_a_commit_a_point_is_labelled_by_its_time() -> None:
    (series,), _ = series_of([record(1e-3, commit=None, time="2026-09-01T23:30:00-02:00")])
    assert [(point.label, point.date) for point in series.points] == [("2026-09-02 01:30", "2026-09-02")]


def test_releases_are_ordered_by_date_then_version_and_make_one_series() -> None:
    made = releases([1.0, 1.0, 1.0, 1.0])
    for r in made:
        r["release"]["date"] = "2026-01-01"
    made[0]["release"]["date"] = "2026-02-01"
    (series,), _ = series_of(made)
    assert [point.label for point in series.points] == ["lib 1.10.0", "lib 1.11.0", "lib 1.11.1", "lib 1.9.2"]
    assert (series.key.backend, series.key.library) == ("lib", "lib")


@pytest.mark.parametrize(
    "versions", [("1.9", "1.10"), ("2.0rc1", "2.0"), ("2.0.dev3", "2.0rc1"), ("1.2", "1.2.1"), ("", "0.1")]
)
def test_of_versions_of_one_day_the_older_comes_first(versions: tuple[str, str]) -> None:
    made = [
        record(1e-3, night, release={"library": "lib", "version": version, "date": "2026-01-01"})
        for night, version in enumerate(reversed(versions))
    ]
    (series,), _ = series_of(made)
    assert [point.label for point in series.points] == [f"lib {version}" for version in versions]


def test_what_differs_in_what_was_measured_is_another_series() -> None:
    others: list[Record] = [
        {"machine": {"machine": "bench-2"}},
        {"suite": "resnet50"},
        {"case": "other"},
        {"backend": "jax"},
        {"threads": 2},
        {"dtype": "float16"},
        {"settings": {"allocator": "system"}},
        {"settings": {"allocator": "steady", "cache": "cold"}},
        {"release": {"library": "torch", "version": "2.9", "date": "2025-10-01"}},
    ]
    found, _ = series_of([record(1e-3), *(record(1e-3, **other) for other in others)])
    assert len(found) == 1 + len(others)
    assert all(len(series.points) == 1 for series in found)


def test_what_is_left_out_is_counted_by_why() -> None:
    broken = [
        record(1e-3, status="wrong"),
        record(1e-3, status="unavailable") | {"median_s": None},
        record(1e-3, status="melted"),
        *(record(1e-3) | {"median_s": nothing} for nothing in (None, 0, "1", math.inf)),
        record(1e-3, time=None),
        record(1e-3, time="yesterday"),
    ]
    found, left_out = series_of(broken)
    assert found == []
    assert left_out == {
        "wrong": 1,
        "unavailable": 1,
        "of a status that is not known": 1,
        "without a median": 4,
        "without a time": 2,
    }


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers() | st.text())
FIELDS = ["time", "suite", "median_s", "low_s", "threads", "dtype", "commit", "dirty", "run", "session", "release"]


@given(st.lists(st.dictionaries(st.sampled_from([*FIELDS, "case_id"]), JUNK), max_size=15), JUNK, JUNK)
def test_whatever_a_record_holds_it_is_a_point_or_counted(changes: list[Record], walls: Any, nested: Any) -> None:
    made = [record(1e-3) | one for one in changes]
    for r in made:
        r["samples"], r["machine"], r["settings"] = {"wall_s": walls}, {"machine": nested}, {"allocator": nested}
        if "release" in r:
            r["release"] = {"library": r["release"], "version": nested, "date": walls}
    found = trend(made)
    points = sum(len(series.points) for series in (*found.long, *found.short, *found.untold))
    assert points + sum(found.left_out.values()) == len(made)


# --- steps ------------------------------------------------------------------------------------------------------------


def test_a_step_of_many_runs_is_told_with_its_commits_and_figures() -> None:
    (step,) = trend(nights(stepped(20, 15, 1.2))).steps
    assert (step.last_before.label, step.first_after.label) == ("13c0ffee", "14c0ffee")
    assert step.first_after.date == "2026-09-21"
    assert step.slower and step.points_since == 15
    assert (step.runs, step.evidence) == ((20, 15), Evidence.RUNS)
    assert step.ratio.value == pytest.approx(1.2, rel=0.03)
    assert step.after_s / step.before_s == pytest.approx(1.2, rel=0.04)
    assert step.ratio.low < 1.2 < step.ratio.high * 1.01


def test_gaps_and_records_that_are_not_ok_change_nothing() -> None:
    made = nights(stepped(20, 15, 1.2))
    for r in made[5:9]:
        r |= {"status": "timeout", "median_s": None}
    found = trend(made[:12] + made[13:])
    assert [step.first_after.label for step in found.steps] == ["14c0ffee"]
    assert found.left_out == {"timeout": 4}


def test_the_threshold_leaves_out_smaller_steps() -> None:
    made = nights(stepped(30, 30, 1.05), noise=0.005)
    assert len(trend(made, 0.03).steps) == 1
    assert trend(made, 0.08).steps == ()


def test_eleven_runs_say_nothing_and_twelve_do() -> None:
    made = nights(stepped(6, 6, 1.5), noise=0.005)
    assert [step.index for step in trend(made).steps] == [6]
    found = trend(made[1:])
    assert (found.steps, found.long, len(found.untold)) == ((), (), 1)


def test_only_a_newest_step_to_slower_among_the_last_points_is_an_alarm() -> None:
    def alarms(levels: Sequence[float], last: int = 10, since: str = "") -> int:
        return len(trend(nights(levels), 0.03).alarms(last, since))

    assert alarms(stepped(30, 8, 1.2)) == 1
    assert alarms(stepped(30, 8, 1.2), last=8) == 1
    assert alarms(stepped(30, 8, 1.2), last=7) == 0
    assert alarms(stepped(30, 8, 1.2), last=0) == 0
    assert alarms(stepped(30, 8, 1.2), since="2026-10-01") == 1
    assert alarms(stepped(30, 8, 1.2), since="2026-10-02") == 0
    assert alarms(stepped(30, 8, 0.8)) == 0, "faster"
    assert alarms(stepped(12, 28, 1.2)) == 0, "long ago"
    assert alarms([*stepped(20, 8, 1.3), *[1.0] * 8]) == 0, "mended"


def test_a_step_between_two_releases_measured_side_by_side_is_told() -> None:
    found = trend(releases([1.0, 1.0, 1.3, 1.3]), 0.03)
    (step,) = found.steps
    assert (step.last_before.label, step.first_after.label) == ("lib 1.10.0", "lib 1.11.0")
    assert (step.first_after.date, step.evidence, step.points_since) == ("2026-04-02", Evidence.SIDE_BY_SIDE, 2)
    assert step.ratio.low < 1.3 < step.ratio.high
    assert found.alarms(10) == (step,)
    assert found.alarms(1) == ()


def test_releases_measured_apart_are_told_and_are_no_alarm() -> None:
    found = trend(releases([1.0, 1.0, 1.3, 1.3], together=False), 0.03)
    assert [(step.index, step.evidence) for step in found.steps] == [(2, Evidence.APART)]
    assert found.alarms(10) == ()


def test_of_releases_only_runs_of_one_session_are_set_against_each_other() -> None:
    made = releases([1.0, 1.0])
    made.append(record(5e-3, 9, backend="lib@1.9.2", release=made[0]["release"]))
    assert trend(made).steps == ()


def test_runs_of_a_release_have_to_agree() -> None:
    made = [*releases([1.0, 1.3]), *releases([1.0, 0.7])]
    for r in made[2:]:
        r["session"], r["time"] = "session-x", "2026-09-02T00:00:00+00:00"
    made[2:] = [r | {"run": "again"} for r in made[2:]]
    assert trend(made).steps == ()
    assert [step.index for step in trend(releases([1.0, 1.3, 1.3], runs=3)).steps] == [3]


@pytest.mark.parametrize("walls", [[], [1e-3] * 5, None, [math.nan] * 9])
def test_releases_without_enough_samples_are_not_compared(walls: Any) -> None:
    found = trend(releases([1.0, 2.0], samples={"wall_s": walls}))
    assert (found.steps, found.short, len(found.untold)) == ((), (), 1)


def test_releases_alike_are_no_steps_over_many_series() -> None:
    made = [
        r
        for case in range(50)
        for number, r in enumerate(releases([1.0] * 4))
        for r in [r | record(1e-3, rng=np.random.default_rng([case, number])) | {"case": str(case)}]
    ]
    for number, r in enumerate(made):
        version, date = VERSIONS[number % 4]
        r |= {"backend": f"lib@{version}", "release": {"library": "lib", "version": version, "date": date}}
    found = trend(made)
    assert len(found.short) == 50
    assert len(found.steps) <= 2


# --- for a terminal ---------------------------------------------------------------------------------------------------


def test_a_sparkline_shows_the_step_and_a_slow_run_does_not_set_its_scale() -> None:
    assert sparkline([1.0] * 4 + [2.0] * 4) == "▁▁▁▁████"
    assert sparkline([1, 1, 1, 90, 1, 1, 2, 2, 2]) == "▁▁▁█▁▁███"
    assert sparkline([3.0] * 5) == "▄▄▄▄▄"
    assert sparkline([]) == ""


@given(st.lists(st.floats(1e-9, 1e9), max_size=200), st.integers(1, 40))
def test_a_sparkline_is_of_blocks_and_no_longer_than_asked(values: list[float], most: int) -> None:
    line = sparkline(values, most)
    assert len(line) == min(most, len(values))
    assert set(line) <= set("▁▂▃▄▅▆▇█")


@given(st.text())
def test_what_is_printed_holds_nothing_that_moves_a_cursor(text: str) -> None:
    assert printable(text).isprintable()
    assert escaped(text).isprintable()


# --- the command ------------------------------------------------------------------------------------------------------


def journal(path: Path, records: Iterable[Record]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convbench", "trend", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two machines: on one a series is slower since 6 runs, another faster and another as it was."""
    folder = tmp_path_factory.mktemp("results")
    slower = nights(stepped(30, 6, 1.3), seed=1, backend="torch-packed")
    flat = nights([1.0] * 36, seed=2, backend="jax")
    journal(folder / "bench-1" / "a.jsonl", [*slower[:20], *flat[:20]])
    journal(folder / "bench-1" / "b.jsonl", [*slower[20:], *flat[20:], record(1.0, status="crashed")])
    faster = nights(stepped(20, 16, 0.7), seed=3, machine={"machine": "bench-2"})
    journal(folder / "bench-2" / "c.jsonl", faster)
    return folder


def test_a_series_that_is_slower_now_leaves_with_1_and_stands_first(results: Path) -> None:
    done = command("--results", results)
    assert done.returncode == 1, done.stderr
    lines, told = done.stdout.splitlines(), " ".join(done.stdout.split())
    steps = [line.split()[:2] for line in lines if line.startswith(("  slower", "  faster"))]
    assert steps == [["slower", "now"], ["faster", "2026-09-21"]]
    assert "1dc0ffee → 1ec0ffee" in done.stdout
    assert "3 series of 108 points: 1 step to slower, 1 to faster" in told
    assert "1 series is slower now" in told
    assert "1 crashed" in told


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--last", "5"), 0),
        (("--threshold", "0.5"), 0),
        (("--since", "2026-11-01"), 0),
        (("--since", "2026-09-25"), 1),
        (("--backend", "jax"), 0),
        (("--backend", "torch-*", "--case", "n1c32*", "--suite", "sizes"), 1),
        (("--suite", "other"), 3),
        (("--min-segment", "19"), 3),
        (("--since", "yesterday"), 2),
        (("--last", "-1"), 2),
    ],
)
def test_the_exit_code_is_for_what_was_asked(results: Path, words: tuple[str, ...], code: int) -> None:
    done = command("--results", results, *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_machine_a_folder_or_a_journal_may_be_named(results: Path) -> None:
    assert command("--results", results, "bench-2").returncode == 0
    assert command(results / "bench-1").returncode == 1
    assert command(results / "bench-1" / "a.jsonl", results / "bench-1" / "b.jsonl").returncode == 1
    done = command("--results", results, "bench-3")
    assert done.returncode == 2
    assert "bench-3" in done.stderr and "machine" in done.stderr


def test_series_too_short_leave_with_3_and_say_what_is_needed(tmp_path: Path) -> None:
    done = command(journal(tmp_path / "few.jsonl", nights([1.0] * 5)))
    assert (done.returncode, done.stdout) == (3, "")
    assert "12 runs" in done.stderr and "the longest has 5" in done.stderr


def test_json_is_a_line_for_each_step_and_nothing_else(results: Path) -> None:
    done = command("--results", results, "--json")
    assert done.returncode == 1
    slower, faster = (json.loads(line) for line in done.stdout.splitlines())
    assert (slower["backend"], slower["direction"], slower["alarm"]) == ("torch-packed", "slower", True)
    assert (slower["from"], slower["to"], slower["date"]) == ("1dc0ffee", "1ec0ffee", "2026-10-01")
    assert (slower["runs_before"], slower["runs_after"], slower["points"]) == (30, 6, 36)
    assert slower["low"] <= slower["ratio"] <= slower["high"] and slower["q_value"] <= 0.05
    assert (faster["machine"], faster["alarm"]) == ("bench-2", False)
    assert faster["ratio"] == pytest.approx(0.7, rel=0.03)


def test_releases_are_told_by_library_and_version(tmp_path: Path) -> None:
    done = command(journal(tmp_path / "releases.jsonl", releases([1.0, 1.0, 1.3, 1.3])), "--last", "1")
    assert done.returncode == 0, done.stderr
    assert "lib 1.10.0 → 1.11.0" in done.stdout
    assert "1+1 samples" in done.stdout and "between-process variation" in done.stdout
    assert command(tmp_path / "releases.jsonl").returncode == 1


EVIL = "a|b`<script>alert(1)</script>[red]x[/red]\x1b[31m\x07\n![](x)"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = nights(stepped(20, 8, 1.3), backend=EVIL, case=EVIL, suite=EVIL, machine={"machine": EVIL}, dtype=EVIL)
    for r in made:
        r["commit"] = "\x1b]0;|" + r["commit"]
    return journal(tmp_path_factory.mktemp("hostile") / "evil.jsonl", made)


def test_in_a_terminal_nothing_from_a_journal_is_markup_or_an_escape_code(hostile: Path) -> None:
    done = command(hostile)
    assert done.returncode == 1, done.stderr
    assert not set(done.stdout) & {"\x1b", "\x07"}
    assert "[red]x[/red]\\x1b[31m" in done.stdout


def test_in_markdown_nothing_from_a_journal_is_markup(hostile: Path) -> None:
    done = command(hostile, "--markdown")
    assert done.returncode == 1, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert "<script>" not in done.stdout and r"\<script\>" in done.stdout
    assert not set(done.stdout) & {"\x1b", "\x07"}
    unescaped: Callable[[str], int] = lambda row: sum(row[i] == "|" and row[i - 1] != "\\" for i in range(len(row)))  # noqa: E731
    assert len({unescaped(row) for row in rows}) == 1, "as many cells in every row"


def test_half_a_surrogate_in_a_journal_can_be_shown(tmp_path: Path) -> None:
    made = "".join(json.dumps(r) + "\n" for r in nights(stepped(20, 8, 1.3), case="x\ud800"))
    path = tmp_path / "half.jsonl"
    path.write_text(made)
    for words in ((), ("--json",)):
        done = command(path, *words)
        assert done.returncode == 1, done.stderr
        assert "ud800" in done.stdout


def test_a_series_ends_where_another_machine_takes_over_the_name(tmp_path: Path) -> None:
    first, then = ({"machine": "ci", "cpu": cpu, "num_cpu": 2, "vector_isa": "AVX2"} for cpu in ("Old CPU", "New CPU"))
    made = nights(stepped(20, 20, 1.5))
    for night, one in enumerate(made):
        one["machine"] = first if night < 20 else then
    done = command(journal(tmp_path / "pool.jsonl", made))
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, "the machine is slower and the library is not"
    assert "0 steps to slower" in said
    assert "ci was Old CPU, 2 CPUs, AVX2; then New CPU, 2 CPUs, AVX2: its series are cut there." in said
    alone = nights(stepped(20, 20, 1.5))
    for one in alone:
        one["machine"] = first
    assert command(journal(tmp_path / "one.jsonl", alone), "--last", "30").returncode == 1


def test_a_share_of_steps_may_be_percent_and_zero_and_no_bare_number(tmp_path: Path) -> None:
    path = journal(tmp_path / "nights.jsonl", nights(stepped(20, 8, 1.3)))
    assert [command(path, "--threshold", text).returncode for text in ("0", "5%", "0.05", "200%", "3")] == [
        1,
        1,
        1,
        0,
        2,
    ]


def test_machines_of_one_kind_make_one_series_when_asked(tmp_path: Path) -> None:
    kind = {"cpu": "CPU", "num_cpu": 2, "vector_isa": "AVX2"}
    made = [
        one | {"machine": {"machine": f"runner-{night}", **kind}}
        for night, one in enumerate(nights(stepped(8, 8, 1.5)))
    ]
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in made))
    command = [sys.executable, "-m", "convbench", "trend", str(path), "--json"]
    alone = subprocess.run(command, capture_output=True, text=True, check=False)
    assert alone.returncode == 3 and "16 series the longest has 1" in alone.stderr
    done = subprocess.run([*command, "--by", "kind"], capture_output=True, text=True, check=False)
    [step] = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, step["machine"]) == (1, "CPU, 2 CPUs, AVX2") and step["ratio"] == pytest.approx(1.5, 0.05)
