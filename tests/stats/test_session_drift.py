"""What sessions differ by is learned, whatever else the times contain, and one bad session is no rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.stats.session_drift import EXPECTED, SessionDrift, Timed, deviations, drift_at

SIZE = 1e6


def times(
    sessions: int,
    seed: int,
    drift: float,
    *,
    cases: int = 10,
    backends: int = 4,
    processes: float = 0.0,
    bad: float = 0.0,
    visits: int = 1,
) -> list[Timed]:
    """Times of backends on cases whose moments drift by `drift`, as the scale of the logarithm of the ratio of two. The
    first session is slower by the factor exp(`bad`)."""
    rng = np.random.default_rng(seed)
    rows = []
    for session in range(sessions):
        lucks = processes / math.sqrt(2) * rng.standard_t(4, (cases, backends))
        for case in range(cases):
            for visit in range(visits):
                moved = drift / math.sqrt(2) * rng.standard_t(4) + bad * (session == 0)
                rows += [
                    Timed((f"b{b}",), f"c{case}", SIZE, f"s{session}", visit, math.exp(moved + lucks[case, b]))
                    for b in range(backends)
                ]
    return rows


def learned(rows: list[Timed], process_scale: float = 0.0) -> SessionDrift:
    return drift_at(SIZE, *deviations(rows), process_scale)


def test_before_anything_is_seen_the_expectation_holds_and_is_corrected_by_data() -> None:
    assert learned([]) == learned(times(1, 0, 0.05)) == SessionDrift(EXPECTED, 0)
    assert learned(times(8, 0, 0.002)).scale < 0.45 * EXPECTED
    assert learned(times(5, 0, 0.05)).scale > 4 * EXPECTED


@pytest.mark.parametrize("drift", [0.003, 0.03])
@pytest.mark.parametrize("sessions", [10, 20])
def test_the_scale_of_the_drift_is_learned(sessions: int, drift: float) -> None:
    scales = [learned(times(sessions, seed, drift)).scale for seed in range(30)]
    assert drift / 1.6 < np.median(scales) < 1.6 * drift


def test_what_processes_differ_by_is_not_counted_twice() -> None:
    rows = times(6, 1, 0.005, processes=0.02)
    assert learned(rows).scale > 0.015
    assert learned(rows, 0.02).scale < 0.012


def test_one_bad_session_is_no_rule() -> None:
    usual = learned(times(8, 2, 0.005)).scale
    assert learned(times(8, 2, 0.005, bad=0.3)).scale < 3 * usual
    assert learned(times(20, 2, 0.005, bad=0.3)).scale < 1.5 * usual


def test_many_backends_and_cases_of_a_session_count_as_one_pair_and_its_later_visits_by_moment() -> None:
    assert learned(times(2, 3, 0.01, cases=1, backends=1)).pairs == pytest.approx(1)
    assert learned(times(2, 3, 0.01, cases=9, backends=8)).pairs == pytest.approx(2)
    assert learned(times(1, 3, 0.01, cases=9, backends=8, visits=2)).pairs == pytest.approx(9)


def test_visits_within_a_run_are_an_expectation_that_sessions_correct() -> None:
    quiet = times(1, 4, 0.001, visits=2)
    assert learned(quiet).scale < 0.5 * EXPECTED and learned(quiet).pairs == pytest.approx(10)
    moved = [timed._replace(session=timed.session + " later") for timed in times(9, 5, 0.05)]
    assert learned([*quiet, *moved]).scale > 0.02


def test_large_operands_may_drift_where_small_ones_do_not() -> None:
    large = [timed._replace(size=1e8, case=timed.case + " large") for timed in times(40, 6, 0.05)]
    rows = [*times(40, 7, 0.002), *large]
    moves = deviations(rows)
    assert drift_at(1e8, *moves).scale > 6 * drift_at(SIZE, *moves).scale


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(1e-6, 1e3)), max_size=20))
def test_any_times_give_a_positive_finite_scale(rows: list[tuple[str, str, float]]) -> None:
    timed = [Timed((b,), "case", SIZE, session, 0, seconds) for b, session, seconds in rows]
    drift = learned(timed)
    assert 0 < drift.scale < math.inf and drift.pairs >= 0
    assert drift.half_width_of_ratio > drift.half_width_of_time > 0
