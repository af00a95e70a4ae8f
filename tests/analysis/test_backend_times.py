"""One rule for "level": tables of runs and choices say the same of the same records."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.analysis.backend_times import CLEAR_WITHOUT_INTERVAL, is_level, ratio_of_times, time_by
from convbench.analysis.choice import decide
from convbench.analysis.ranking import rank
from convbench.problem import ConvProblem
from convbench.stats.estimates import estimate_over_processes
from convbench.stats.ratio import Ratio
from convbench.store.schema import Record
from convbench.suite import Case

CASE = Case("c", ConvProblem(batch=1, in_channels=3, height=5, width=5, out_channels=2, kernel_size=3))


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Of up to 5 backends that were sampled in some of the same rounds, or in other sessions or processes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    noise = draw(st.sampled_from([0.0, 0.001, 0.05, 0.5]))
    drawn = []
    for name in "abcde"[: draw(st.integers(1, 5))]:
        scale = draw(st.sampled_from([1.0, 1.001, 1.05, 1.3, 1.7, 2.5]))
        first, count = draw(st.integers(0, 4)), draw(st.integers(1, 12))
        processes = [[p] * count for p in range(draw(st.sampled_from([1, 1, 1, 2, 3])))]
        walls = [(scale * np.exp(noise * rng.normal(size=count))).tolist() for _ in processes]
        estimate = estimate_over_processes(walls)
        samples: dict[str, Any] = {"round": [*range(first, first + count)] * len(walls), "wall_s": [*chain(*walls)]}
        record: Any = {
            "case": "c",
            "backend": name,
            "status": draw(st.sampled_from(["ok", "ok", "ok", "wrong"])),
            "session": draw(st.sampled_from(["s-1", "s-1", "s-1", "s-1-2", "t-1"])),
            "stopped": draw(st.sampled_from(["rounds", "beaten"])),
            "median_s": estimate.median,
            "low_s": estimate.low,
            "high_s": estimate.high,
            "interval": estimate.interval,
            "dtype": "float32",
            "declared": {"algorithm": "direct"},
            "samples": samples | ({"process": [*chain(*processes)]} if len(processes) > 1 else {}),
        }
        drawn.append(record)
    return drawn


@given(records())
def test_a_table_and_a_choice_agree_on_who_is_fastest_and_who_is_level(found: list[Record]) -> None:
    (ranking,) = rank(found)[0].cases
    choice = decide(CASE, found, tie=0.0)
    assert [place.record["backend"] for place in ranking.places] == [time.backend for time in choice.ranked]
    level = {place.record["backend"] for place in ranking.places if place.level}
    assert level == {time.backend for time in choice.ranked[:1]} | set(choice.level)
    assert all(0 < place.share <= 1 for place in ranking.places)
    shares = [place.share for place in ranking.places]
    assert shares == sorted(shares, reverse=True)


@given(records(), st.floats(0, 0.5))
def test_a_tie_only_adds_to_what_is_level(found: list[Record], tie: float) -> None:
    assert set(decide(CASE, found, 0.0).level) <= set(decide(CASE, found, tie).level)


@pytest.mark.parametrize(
    ("interval", "known", "included"),
    [
        ("median, 95 %", True, True),
        ("median, 95 %", False, False),
        ("range", True, False),
        ("process medians, Student's t, 95 %", False, True),
    ],
)
def test_a_ratio_of_two_intervals_includes_between_process_variation_once(
    interval: str, known: bool, included: bool
) -> None:
    timed: Any = {"case": "c", "status": "ok", "median_s": 1.0, "low_s": 0.99, "high_s": 1.01, "interval": interval}
    timed["process_variation"] = {"scale": 0.01, "pairs": 20} if known else None
    one, other = (time_by({**timed, "backend": name, "session": "s-1"}) for name in "ab")
    assert one is not None and other is not None
    between = ratio_of_times(one, other)
    assert (between.high == pytest.approx(1.01 / 0.99)) is included
    assert between.high >= 1.01 / 0.99 * (1 - 1e-12)


@pytest.mark.parametrize(
    ("between", "beaten", "level"),
    [
        (Ratio(1.1, 0.99, 1.2), False, True),
        (Ratio(1.1, 1.01, 1.2), False, False),
        (Ratio(2.0, CLEAR_WITHOUT_INTERVAL - 0.1, 3.0, covers=False), False, True),
        (Ratio(2.0, CLEAR_WITHOUT_INTERVAL + 0.1, 3.0, covers=False), False, False),
        (Ratio(2.0, CLEAR_WITHOUT_INTERVAL - 0.1, 3.0, covers=False), True, False),
        (Ratio(1.01, 1.005, 1.015), False, False),
    ],
)
def test_what_is_level(between: Ratio, beaten: bool, level: bool) -> None:
    assert is_level(between, beaten=beaten) is level
    assert is_level(Ratio(1.01, 1.005, 1.015), tie=0.02)
