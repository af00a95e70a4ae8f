"""Readings of records: a journal from elsewhere may hold anything, and what is no number is absent."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.problem import ConvProblem
from convbench.stats.estimates import Estimate
from convbench.stats.process_variation import ProcessVariation
from convbench.stats.session_drift import SessionDrift
from convbench.store.readings import (
    column,
    interval_within_session,
    median_s,
    number,
    paired_log_ratios,
    paired_walls,
    problem_of,
    ragged_walls,
    self_log_ratios,
    table,
    time_of,
    walls,
    walls_by_process,
)

times = st.floats(1e-9, 1e3)
HOSTILE_ROWS = [None, "abc", {}, 3, [1.0, "x"], [1.0, None], [[1.0]], [0.0, 1.0], [-1.0], [math.nan, 1.0],
                [1.0, math.nan], [math.inf], [10**400], [{}], [5e-324], [1e300, 1.0], ["1.5"], [True]]  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def record(**fields: Any) -> Any:
    return {"case": "c", "backend": "b", "status": "ok", **fields}


@given(
    st.floats(1e-6, 1.0),
    st.floats(0.0, 0.5),
    st.floats(0.001, 0.2),
    st.floats(0.001, 0.2),
    st.sampled_from([1, 3]),
)
def test_the_interval_within_a_session_is_that_without_the_other_session(
    middle: float, half_width: float, drift: float, process: float, processes: int
) -> None:
    estimate = Estimate(middle, middle * math.exp(-half_width), middle * math.exp(half_width), True, processes)
    own = estimate.widened(ProcessVariation(process, 9).half_width_of_time if processes == 1 else 0.0)
    widths = SessionDrift(drift, 9).half_width_of_ratio, ProcessVariation(process, 9).half_width_of_time
    whole = own.widened(math.hypot(*widths) if processes == 1 else widths[0])
    stated = record(
        median_s=middle,
        low_s=whole.low,
        high_s=whole.high,
        interval=estimate.interval,
        process_variation={"scale": process, "pairs": 9},
        session_drift={"scale": drift, "pairs": 9},
    )
    assert interval_within_session(stated) == pytest.approx((own.low, own.high), rel=1e-6)


@given(st.dictionaries(st.sampled_from(["median_s", "low_s", "high_s", "session_drift", "interval"]), anything))
def test_an_interval_of_anything_is_an_interval_or_none(fields: dict[str, Any]) -> None:
    within = interval_within_session(record(**fields))
    assert within is None or 0 < within[0] <= within[1] < math.inf


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "1.0", True, math.nan, math.inf, 1e300, -(10**400), [1.0], {}])
def test_what_is_no_finite_number_is_absent(value: Any) -> None:
    assert number(record(median_s=value), "median_s") is None
    assert median_s(record(median_s=value)) is None
    assert self_log_ratios([record(self_ratio={"value": value}), record(self_ratio=value)]) == []


def test_the_time_is_that_of_a_right_answer() -> None:
    assert median_s(record(median_s=2)) == 2.0
    assert median_s(record(median_s=2.0) | {"status": "wrong"}) is None
    assert median_s(record(median_s=0.0)) is None and median_s(record()) is None


def test_when_a_record_was_taken_is_in_utc() -> None:
    when = datetime(2026, 11, 3, 14, 5, tzinfo=UTC)
    assert time_of(record(time="2026-11-03T15:05:00+01:00")) == when
    assert time_of(record(time="2026-11-03T14:05:00")) == when
    assert time_of(record(time="soon")) is None and time_of(record(time=3)) is None and time_of(record()) is None


def test_the_problem_is_none_if_it_is_missing_or_impossible() -> None:
    problem = ConvProblem(batch=1, in_channels=3, height=5, width=5, out_channels=2, kernel_size=3)
    assert problem_of(record(problem=problem.as_dict())) == problem
    for other in ({}, {"batch": 1}, problem.as_dict() | {"kernel_size": 9}, problem.as_dict() | {"height": "x"}, None):
        assert problem_of(record(problem=other)) is None


def test_a_backends_own_ratio_counts_once_for_each_session_and_case() -> None:
    ratios = [record(session=session, self_ratio={"value": 2.0}) for session in "aab"]
    assert self_log_ratios([*ratios, record(session="a")]) == [math.log(2.0)] * 2


@given(anything, anything, anything, anything)
def test_no_record_is_too_odd_to_be_read(samples: Any, walls_: Any, rounds: Any, processes: Any) -> None:
    odd = record(samples=samples, problem=samples, self_ratio=walls_, time=rounds, median_s=processes)
    nested = record(samples={"wall_s": walls_, "round": rounds, "process": processes}, session=rounds)
    for r in (odd, nested):
        assert all(map(math.isfinite, [*walls(r), *column(r, "wall_s"), *self_log_ratios([r])]))
        for by_round in walls_by_process(r).values():
            assert all(1e-18 <= wall_s <= 1e18 for wall_s in by_round.values())
        assert all(np.isfinite(logs).all() for logs in paired_log_ratios(r, r))
        assert [row.tolist() for row in ragged_walls([r, r])] == [walls(r)] * 2
        table(r, "problem"), time_of(r), problem_of(r), median_s(r)


# --- samples ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(HOSTILE_ROWS) | st.lists(times, min_size=1, max_size=3), max_size=8))
def test_what_is_no_row_of_times_is_empty_and_costs_no_other_row(rows: list[Any]) -> None:
    records = [record(samples={"wall_s": row}) for row in rows]
    expected = [[] if any(row is bad for bad in HOSTILE_ROWS) else row for row in rows]
    assert [row.tolist() for row in ragged_walls(records)] == expected
    assert [walls(r) for r in records] == expected
    assert not ragged_walls([r | {"status": "wrong"} for r in records]).sizes.any()


def sampled(rounds: list[int], walls_: list[float], session: str | None = "s", process: list[int] | None = None) -> Any:
    samples = {"round": rounds, "wall_s": walls_} | ({"process": process} if process else {})
    return record(samples=samples, session=session)


def test_records_are_paired_by_the_rounds_that_both_were_sampled_in() -> None:
    one, other = sampled([0, 1, 2, 4], [1.0, 2.0, 3.0, 4.0]), sampled([4, 2, 5], [2.0, 1.0, 9.0])
    ((slower, faster),) = paired_walls(one, other)
    assert (slower.tolist(), faster.tolist()) == ([3.0, 4.0], [1.0, 2.0])
    (logs,) = paired_log_ratios(one, other)
    assert np.exp(logs).tolist() == pytest.approx([3.0, 2.0])
    assert paired_walls(one, sampled([7], [1.0])) == []


def test_a_process_is_paired_with_its_like_and_one_that_only_one_side_has_is_left_out() -> None:
    one = sampled([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0], process=[0, 1, 0, 1])
    other = sampled([0, 1, 0], [1.0, 1.0, 7.0], process=[0, 0, 2])
    assert [slower.tolist() for slower, _ in paired_walls(one, other)] == [[1.0, 3.0]]
    assert [slower.tolist() for slower, _ in paired_walls(one, one)] == [[1.0, 3.0], [2.0, 4.0]]
    single = sampled([0, 1], [5.0, 6.0])
    assert [slower.tolist() for slower, _ in paired_walls(single, other)] == [[5.0, 6.0]]


def test_rounds_of_two_sessions_have_only_their_numbers_in_common() -> None:
    assert paired_walls(sampled([0], [1.0], "s"), sampled([0], [1.0], "t")) == []
    assert len(paired_walls(sampled([0], [1.0], None), sampled([0], [1.0], None))) == 1
