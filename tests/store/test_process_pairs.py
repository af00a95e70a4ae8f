"""What runs saw of between-process variation: kept for the next run, per machine, whatever lies in the file."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.measurement.settings import Settings
from convbench.stats.estimates import student_quantile
from convbench.stats.process_variation import ProcessVariation, processes_needed, variation_at
from convbench.stats.session_drift import EXPECTED
from convbench.store.journal import journals, read_records
from convbench.store.process_pairs import NAME, keep_pairs, kept_pairs, pair_here
from convbench.store.session_times import kept_times


def test_pairs_are_kept_by_cpu_threads_and_allocator(tmp_path: Path) -> None:
    one, two = Settings(), Settings(threads=2)
    keep_pairs(tmp_path, [pair_here(one, 1000, 0.01), pair_here(two, 1000, 0.5)])
    keep_pairs(tmp_path, [pair_here(one, 8000, -0.02), pair_here(Settings(allocator="system"), 8000, 0.3)])
    assert [(pair.operand_bytes, pair.log_ratio) for pair in kept_pairs(tmp_path, one)] == [(1000, 0.01), (8000, -0.02)]
    assert [pair.log_ratio for pair in kept_pairs(tmp_path, two)] == [0.5]


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[1]", b'{"cpu": 3}', b"\xff\xfe", b'{"log_ratio": 1e400}', b'"' * 5000, b"null"]
)
def test_a_line_that_is_no_pair_is_passed_over(line: bytes, tmp_path: Path) -> None:
    keep_pairs(tmp_path, [pair_here(Settings(), 1, 0.1)])
    with (tmp_path / NAME).open("ab") as file:
        file.write(line + b"\n")
    keep_pairs(tmp_path, [pair_here(Settings(), 1, 0.2)])
    assert [pair.log_ratio for pair in kept_pairs(tmp_path, Settings())] == [0.1, 0.2]


def test_without_a_file_or_a_folder_nothing_is_known_and_nothing_fails(tmp_path: Path) -> None:
    assert kept_pairs(tmp_path / "none", Settings()) == []
    keep_pairs(tmp_path / "none", [pair_here(Settings(), 1, 0.1)])


@given(st.lists(st.tuples(st.sampled_from([1e3, 1e5, 1e7]), st.floats(-0.3, 0.3)), max_size=40))
def test_each_size_goes_by_its_own_pairs_and_then_by_the_others(pairs: list[tuple[float, float]]) -> None:
    for size in (1e3, 1e5, 1e7):
        near = [log for other, log in pairs if other == size]
        variation = variation_at(size, pairs)
        assert len(near) <= variation.pairs <= len(near) + 4
        if len(near) == len(pairs):
            assert variation == ProcessVariation().learned_from(near)
    far_apart = [(1e3, 0.2), (1e3, -0.25)] * 10 + [(1e7, 0.001), (1e7, -0.002)] * 10
    assert variation_at(1e3, far_apart).scale > 8 * variation_at(1e7, far_apart).scale


def test_more_processes_are_taken_only_where_it_is_known_that_one_is_not_enough() -> None:
    assert processes_needed([], 0.01) == processes_needed([0.3] * 3, 0.01) == 1
    assert processes_needed([], 0.003) == 5 and processes_needed([], 0.003, most=10) == 7
    assert processes_needed([0.001, -0.002, 0.001] * 5, 0.01) == 1
    assert processes_needed([0.05, -0.06, 0.04] * 5, 0.01) == 5
    assert processes_needed([0.05, -0.06, 0.04] * 5, 0.2) == 1


@given(st.floats(0.002, 0.1), st.floats(0.001, 0.1))
def test_so_many_processes_are_taken_that_the_interval_over_them_is_as_narrow_as_asked(
    scale: float, precision: float
) -> None:
    pairs = [scale, -scale] * 30
    needed, of_one = processes_needed(pairs, precision, most=10), ProcessVariation().learned_from(pairs).scale / 2**0.5

    def half_width(processes: int) -> float:
        return student_quantile(processes - 1) * of_one / processes**0.5

    if needed > 1:
        assert needed == 10 or half_width(needed) <= precision
        assert needed == 3 or half_width(needed - 1) > precision


def test_a_run_keeps_what_its_own_pair_showed_and_the_next_one_uses_it(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "convbench", "run", "--problem", "n1c8h14w14_o8k3_p1", *words]
        command += ["--backend", "numpy-gemm", "--budget", "3", "--results", str(tmp_path), "--no-asv"]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    run()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (kept,) = kept_pairs(folder, Settings())
    (record,) = read_records(journals(folder)[0])
    assert kept.log_ratio == pytest.approx(math.log(record["self_ratio"]["value"]))  # type: ignore[index]
    assert record["process_variation"]["pairs"] == 1  # type: ignore[index]
    (times,) = kept_times(folder, Settings())
    assert list(times.seconds.values()) == [record["median_s"]]
    assert record["session_drift"] == {"scale": EXPECTED, "pairs": 0}
    keep_pairs(folder, [pair_here(Settings(), kept.operand_bytes, log) for log in [0.05, -0.06] * 6])
    told = run()
    assert "is measured in 5 processes" in told.stderr
    newest = list(read_records(journals(folder)[-1]))
    assert len(kept_times(folder, Settings())) == 2
    assert newest[0]["processes"] == 5 and json.dumps(newest[0]["settings"])
    assert "processes" not in run("--processes", "1").stderr.split("\n")[0]
    assert next(iter(read_records(journals(folder)[-1])))["session_drift"]["pairs"] == 1  # type: ignore[index]
