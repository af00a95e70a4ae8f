"""What more threads gave: speed-ups over the fewest, and how much of them was to be had."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from convbench.analysis.scaling import other_dtypes, scalings, wider_isas
from convbench.reporting.run.report import dtype_report, own_error_sentence, scaling_report, variants
from convbench.stats.estimates import estimate_median
from convbench.stats.process_variation import EXPECTED


def record(backend: str, case: str, threads: int, median_s: float | None, **more: Any) -> dict[str, Any]:
    status = "ok" if median_s else "crashed"
    known = {"suite": "s", "backend": backend, "case": case, "threads": threads, "median_s": median_s}
    return {"status": status, "dtype": "float32", "problem": {"batch": 1}, **known, **more}


RECORDS = [
    *(record("a", "x", 1, 8.0), record("a", "x", 2, 4.0), record("a", "x", 4, 4.0)),
    *(record("a", "y", 1, 9.0), record("a", "y", 2, 9.0), record("a", "y", 4, None)),
    *(record("b", "x", 1, 1.0), record("b", "x", 2, None)),
]


def test_a_speed_up_is_the_geometric_mean_over_the_cases_that_both_ran() -> None:
    two, four = scalings(RECORDS)
    assert (two.backend, two.threads, two.cases) == ("a", 2, 2)
    assert two.speedup.value == pytest.approx(2**0.5)
    assert two.efficiency == pytest.approx(2**0.5 / 2)
    assert (four.threads, four.cases, four.speedup.value, four.efficiency) == (4, 1, 2.0, 0.5)


def test_the_fewest_threads_need_not_be_one() -> None:
    (found,) = scalings([record("a", "x", 2, 8.0), record("a", "x", 6, 4.0)])
    assert (found.fewest, found.speedup.value) == (2, 2.0)
    assert found.efficiency == pytest.approx(2 / 3)


def test_the_interval_of_a_speed_up_covers_the_true_one() -> None:
    rng = np.random.default_rng(4)

    def timed(case: str, threads: int, true_s: float, level: float) -> dict[str, Any]:
        walls = estimate_median((true_s * np.exp(level + rng.normal(0, 0.02, 20))).tolist())
        ends = {"low_s": walls.low, "high_s": walls.high, "interval": walls.interval}
        return record("a", case, threads, walls.median, **ends)

    covered, trials = 0, 400
    for _ in range(trials):
        one, two = rng.normal(0, EXPECTED / math.sqrt(2), 2)  # of each process
        records = [timed(case, 1, 2.0, one) for case in "xyz"] + [timed(case, 2, 1.25, two) for case in "xyz"]
        (found,) = scalings(records)
        assert found.speedup.covers
        covered += found.speedup.low <= 1.6 <= found.speedup.high
    assert covered / trials >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)


def test_a_time_of_few_samples_gives_a_range() -> None:
    (found,) = scalings([record("a", "x", 1, 8.0, interval="range"), record("a", "x", 2, 4.0, low_s=3.9, high_s=4.2)])
    assert not found.speedup.covers
    assert found.speedup.low < 8.0 / 4.2 < 2.0 < found.speedup.high


def test_the_report_has_a_column_for_each_number_of_threads_and_is_none_without_several() -> None:
    report = scaling_report(RECORDS)
    assert report is not None and scaling_report(RECORDS[:1]) is None
    console = Console(width=100, file=io.StringIO())
    console.print(report)
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "Speed-up over 1 thread" in text and "2 threads 95 % % of ideal" in text
    assert "a 1.41x [1.39, 1.44] 71 2.00x [1.96, 2.04] 50" in text


def test_variants_are_told_apart_on_the_axes_that_were_asked_for_alone() -> None:
    assert [(name, len(found)) for name, found in variants(RECORDS, ())] == [("", 8)]
    assert [name for name, _ in variants(RECORDS, ("threads",))] == ["1 thread", "2 threads", "4 threads"]
    other = record("a", "x", 1, 1.0, dtype="bfloat16", problem={"batch": 8})
    assert [name for name, _ in variants([RECORDS[0], other], ("dtype", "batch"))] == [
        *("float32, batch 1", "bfloat16, batch 8")
    ]


def test_the_run_s_own_error_counts_each_case_once() -> None:
    ratio = {"backend": "a", "value": 1.01, "low": 1.0, "high": 1.02, "covers": True}
    seen = [record("a", "x", 1, 1.0, self_ratio=ratio), record("b", "x", 1, 1.0, self_ratio=ratio)]
    assert own_error_sentence(RECORDS) is None
    one = own_error_sentence(seen)
    assert one == "This run's own error, by timing a against itself in another process: 1.0 %."
    more = own_error_sentence([*seen, record("a", "y", 1, 1.0, self_ratio={**ratio, "value": 1 / 1.03})])
    assert more is not None and "2.0 % (median of 2 cases), 3.0 % at worst" in more


def held(backend: str, isa: str | None, median_s: float, threads: int = 1) -> dict[str, Any]:
    return record(backend, "x", threads, median_s, settings={"isa": isa})


def test_wider_instruction_sets_are_compared_with_the_narrowest_and_threads_within_one_set() -> None:
    records = [held("a", None, 1.0), held("a", "avx2", 8.0), held("a", "bf16", 2.0), held("b", None, 1.0)]
    found = [(wider.backend, wider.narrowest, wider.isa, wider.speedup.value) for wider in wider_isas(records)]
    assert found == [("a", "avx2", "bf16", pytest.approx(4.0)), ("a", "avx2", "native", pytest.approx(8.0))]
    assert scalings(records) == []
    several = [*records, held("a", "avx2", 4.0, threads=2), held("a", None, 1.0, threads=2)]
    more = {scaling.isa: scaling.speedup.value for scaling in scalings(several)}
    assert more == {"": pytest.approx(1.0), "avx2": pytest.approx(2.0)}
    assert wider_isas([held("a", "avx2", 1.0), held("b", None, 1.0)]) == []


def numbers(backend: str, height: int, dtype: str, median_s: float, **more: Any) -> dict[str, Any]:
    problem = {"height": height, "dtype": dtype} | ({"quantization": "u8z:s8:u8z"} if dtype == "int8" else {})
    return record(backend, f"{height} {dtype}", 1, median_s, dtype=dtype, problem=problem, **more)


def test_narrower_numbers_are_compared_with_the_widest_case_by_case_and_as_a_whole() -> None:
    records = [
        *(numbers("a", 7, "int8", 1.0, count=3), numbers("a", 7, "float32", 4.0, count=3)),
        *(numbers("a", 9, "float32", 9.0), numbers("a", 9, "int8", 9.0), numbers("a", 9, "bfloat16", 3.0)),
        *(numbers("b", 7, "int8", 1.0), numbers("c", 7, "bfloat16", 2.0), numbers("c", 9, "int8", 2.0)),
    ]
    found = {
        (o.backend, o.widest, o.dtype): (o.cases, o.speedup.value, o.widest_s, o.dtype_s) for o in other_dtypes(records)
    }
    assert found == {
        ("a", "float32", "bfloat16"): (1, pytest.approx(3.0), 9.0, 3.0),
        ("a", "float32", "int8"): (2, pytest.approx(2.0), 21.0, 12.0),
    }
    console = Console(file=io.StringIO(), width=120)
    console.print(dtype_report(records))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Speed-up by narrower numbers" in text and "12,000" in text.replace("12000", "12,000")
    assert "for all 2 cases: 21,000 ms in float32 (a), 12,000 ms in int8 (a)." in text
    assert dtype_report(records[5:6]) is None
