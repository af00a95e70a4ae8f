"""The plateau of visits after a switch: what is discarded, and what is known not to have been steady."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.stats.plateau import FEWEST_READINGS, Plateau, midmean, plateau

AFTER_A_SWITCH = {  # as multiples of the steady time, like three layers on one server CPU
    "nothing": [],
    "the first call": [1.2],
    "small operands": [1.27, 1.07, 1.03],
    "14 MB gathered": [2.0, 1.63, 1.38, 1.21, 1.13, 1.08, 1.04, 1.04],
}


def visits(transient: Sequence[float], readings: int, count: int, seed: int, noise: float = 0.01) -> list[list[float]]:
    """Visits whose readings decay as `transient` says, with lognormal noise and a stall in 2 % of the readings."""
    rng = np.random.default_rng(seed)
    shape = np.ones(readings)
    shape[: len(transient)] = transient[:readings]
    made = shape * np.exp(rng.normal(0, noise, (count, readings))) * np.exp(rng.normal(0, 0.01, (count, 1)))
    stalled = rng.random((count, readings)) < 0.02
    return np.where(stalled, made * rng.uniform(1.5, 5, made.shape), made).tolist()


@pytest.mark.parametrize("transient", AFTER_A_SWITCH.values(), ids=AFTER_A_SWITCH)
def test_what_remains_has_the_steady_time(transient: list[float]) -> None:
    errors = []
    for seed in range(100):
        made = visits(transient, 32, 8, seed)
        found = plateau(made)
        errors.append(np.median([midmean(visit[found.discarded :]) for visit in made]) - 1)
    assert abs(np.mean(errors)) < 2e-3
    assert np.quantile(np.abs(errors), 0.9) < 0.015


@pytest.mark.parametrize("transient", [AFTER_A_SWITCH["small operands"], AFTER_A_SWITCH["14 MB gathered"]])
def test_readings_that_are_clearly_slower_are_discarded(transient: list[float]) -> None:
    clearly = sum(value > 1.05 for value in transient)
    found = [plateau(visits(transient, 32, 8, seed)) for seed in range(50)]
    assert all(one.discarded >= clearly for one in found)
    assert np.mean([one.reached for one in found]) > 0.9


@pytest.mark.parametrize("decay", [10, 20, 60])
def test_a_visit_that_ends_before_it_is_steady_says_so(decay: int) -> None:
    transient = [1 + np.exp(-i / decay) for i in range(24)]
    assert np.mean([plateau(visits(transient, 24, 5, seed)).reached for seed in range(50)]) < 0.1


@given(st.lists(st.floats(1e-6, 1e3), max_size=FEWEST_READINGS - 1))
def test_of_too_few_readings_nothing_is_known(readings: list[float]) -> None:
    assert plateau([readings]) == plateau([]) == Plateau(0, False)


@given(
    st.integers(FEWEST_READINGS, 40).flatmap(
        lambda n: st.lists(st.lists(st.floats(1e-6, 1e3), min_size=n, max_size=n + 3), min_size=1, max_size=5)
    ),
    st.floats(0.1, 10),
)
def test_at_most_half_is_discarded_whatever_the_unit(made: list[list[float]], unit: float) -> None:
    found = plateau(made)
    assert 0 <= found.discarded <= min(map(len, made)) // 2
    assert found.reached == (found.discarded < min(map(len, made)) // 2)
    constant = plateau([[unit] * len(visit) for visit in made])
    assert constant == Plateau(0, True)


@given(st.lists(st.floats(0.1, 10), min_size=1), st.randoms(use_true_random=False))
def test_the_midmean_lies_within_and_knows_no_order(values: list[float], rng: object) -> None:
    shuffled = sorted(values, key=lambda _: rng.random())  # type: ignore[attr-defined]
    assert min(values) * (1 - 1e-12) <= midmean(values) <= max(values) * (1 + 1e-12)
    assert midmean(shuffled) == pytest.approx(midmean(values))


def test_a_stall_does_not_move_the_midmean() -> None:
    assert midmean([1.0] * 7 + [1000.0]) == 1.0
    with pytest.raises(ValueError, match="no values"):
        midmean([])
