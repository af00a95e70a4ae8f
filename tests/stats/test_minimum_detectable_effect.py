"""The smallest difference that can be told apart: what is stated of it holds in simulated runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.stats.minimum_detectable_effect import Spread, detected_beyond, spread_of, spread_of_few_rounds

SIMULATED = 400
SCALE = 0.01
Noise = NDArray[np.float64]


def drawn(rng: np.random.Generator, kind: str, size: tuple[int, ...]) -> Noise:
    """Logarithms of rounds' ratios around zero, of about 1 %: normal, heavy-tailed, or with stalls on either side."""
    if kind == "heavy":
        return SCALE * rng.laplace(size=size)
    normal = SCALE * rng.normal(size=size)
    if kind == "stalls":
        normal += np.where(rng.random(size) < 0.1, rng.choice([-1.0, 1.0], size), 0.0)
    return normal


def simulate(kind: str, between: float, pairs: int, seen: int, rounds: int, processes: int) -> tuple[float, float]:
    """How often a run tells the smallest difference, as doctor stated it just before, and one that is not there."""
    rng = np.random.default_rng([pairs, rounds, processes, round(100 * between)])
    told = false = 0
    for _ in range(SIMULATED):
        spread = spread_of((drawn(rng, kind, (pairs, seen)) + SCALE * between * rng.normal(size=(pairs, 1))).tolist())
        run = drawn(rng, kind, (processes, rounds // processes)) + SCALE * between * rng.normal(size=(processes, 1))
        answer = float(np.median(run, axis=1).mean())
        stated = spread.minimum_detectable_effect(rounds, processes)
        assert stated is not None
        told += spread.is_detected(answer + math.log1p(stated), rounds, processes)
        false += spread.is_detected(answer, rounds, processes)
    return told / SIMULATED, false / SIMULATED


@pytest.mark.parametrize("kind", ["normal", "heavy", "stalls"])
@pytest.mark.parametrize("between", [0.0, 0.1, 0.5, 3.0])
@pytest.mark.parametrize(
    ("pairs", "seen", "rounds", "processes"),
    [
        pytest.param(6, 60, 240, 1, id="whole"),
        pytest.param(3, 30, 24, 1, id="quick"),
        pytest.param(6, 60, 300, 5, id="5"),
    ],
)
def test_the_stated_difference_is_told_in_about_80_percent_of_runs_and_one_that_is_not_there_in_at_most_5(
    kind: str, between: float, pairs: int, seen: int, rounds: int, processes: int
) -> None:
    told, false = simulate(kind, between, pairs, seen, rounds, processes)
    # 3.5 standard errors of 400 simulated runs either way; few degrees of freedom make it cautious.
    assert 0.73 <= told <= 0.93
    assert false <= 0.05 + 0.04


def test_the_parts_of_the_spread_are_found() -> None:
    rng = np.random.default_rng(7)
    spread = spread_of((drawn(rng, "normal", (400, 200)) + 0.02 * rng.normal(size=(400, 1))).tolist())
    assert spread.noise == pytest.approx(SCALE * math.sqrt(math.pi / 2), rel=0.1)  # a median's, of normal noise
    assert spread.between_processes == pytest.approx(0.02, rel=0.15)
    assert spread.pairs == 400


def test_stalls_hardly_move_the_noise_and_the_answer() -> None:
    rng = np.random.default_rng(3)
    quiet = drawn(rng, "normal", (6, 100))
    stalled = quiet + np.where(rng.random(quiet.shape) < 0.05, 3.0, 0.0)
    calm, moved = spread_of(quiet.tolist()), spread_of(stalled.tolist())
    assert moved.noise < 1.5 * calm.noise
    assert moved.between_processes < SCALE


_rounds = st.integers(FEWEST_FOR_INTERVAL * 5, 10_000)
_spreads = st.builds(Spread, st.floats(1e-6, 0.1), st.floats(0, 0.1), st.integers(1, 40))


@given(_spreads, _rounds, st.integers(1, 5))
def test_more_rounds_more_pairs_and_more_processes_never_make_it_worse(
    spread: Spread, rounds: int, processes: int
) -> None:
    stated = spread.minimum_detectable_effect(rounds, processes)
    assert stated is not None and stated > 0
    surer = Spread(spread.noise, spread.between_processes, spread.pairs + 1)
    for better in (
        spread.minimum_detectable_effect(2 * rounds, processes),
        spread.minimum_detectable_effect(10 * rounds, processes + 1),
        surer.minimum_detectable_effect(rounds, processes),
    ):
        assert better is not None and better <= stated * (1 + 1e-9)


@given(_spreads, _rounds)
def test_a_difference_that_is_stated_is_beyond_what_counts_as_one(spread: Spread, rounds: int) -> None:
    stated = spread.minimum_detectable_effect(rounds)
    assert stated is not None
    assert spread.is_detected(math.log1p(stated), rounds)
    assert spread.is_detected(-math.log1p(stated), rounds)
    assert not spread.is_detected(0.0, rounds)


@given(st.lists(st.lists(st.floats(-1, 1), min_size=6, max_size=12), min_size=1, max_size=6), st.floats(0.1, 10))
def test_the_spread_has_the_unit_of_the_rounds_and_does_not_know_which_side_is_which(
    pairs: list[list[float]], factor: float
) -> None:
    spread = spread_of(pairs)
    scaled = spread_of([[factor * d for d in pair] for pair in pairs])
    swapped = spread_of([[-d for d in pair] for pair in pairs])
    for other, by in ((scaled, factor), (swapped, 1.0)):
        assert other.noise == pytest.approx(spread.noise * by, abs=1e-9)
        assert other.between_processes == pytest.approx(spread.between_processes * by, abs=1e-6)


def test_too_few_rounds_for_an_interval_state_nothing() -> None:
    spread = Spread(0.01, 0.0, 6)
    assert spread.minimum_detectable_effect(FEWEST_FOR_INTERVAL - 1) is None
    assert spread.minimum_detectable_effect(FEWEST_FOR_INTERVAL) is not None
    assert spread.minimum_detectable_effect(FEWEST_FOR_INTERVAL * 5 - 1, processes=5) is None


def test_rounds_that_have_nothing_in_common_state_a_number_all_the_same() -> None:
    stated = spread_of([[1e3, -1e3] * 5]).minimum_detectable_effect(10)
    assert stated is not None and math.isfinite(stated)


@pytest.mark.parametrize("pairs", [[], [[]], [[0.0] * 6, [0.0] * 5]])
def test_too_few_rounds_have_no_spread(pairs: Sequence[Sequence[float]]) -> None:
    with pytest.raises(ValueError, match="6 rounds or more"):
        spread_of(pairs)


@given(st.integers(0, 10_000))
def test_a_stall_does_not_move_the_noise_of_few_rounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = SCALE * rng.normal(size=(6, 8))
    stalled = pairs.copy()
    stalled[range(6), rng.integers(0, 8, 6)] += rng.choice([-1.0, 1.0], 6)
    plain, with_stalls = (spread_of_few_rounds(logs.tolist()) for logs in (pairs, stalled))
    assert 0.25 * SCALE < plain.noise < 3 * SCALE
    assert with_stalls.noise < 4 * plain.noise
    assert spread_of(stalled.tolist()).noise > 5 * plain.noise


def test_processes_that_differ_are_seen_in_few_rounds() -> None:
    rng = np.random.default_rng(3)
    pairs = SCALE * rng.normal(size=(200, 8)) + 5 * SCALE * rng.normal(size=(200, 1))
    assert spread_of_few_rounds(pairs.tolist()).between_processes == pytest.approx(5 * SCALE, rel=0.15)
    with pytest.raises(ValueError, match="6 rounds"):
        spread_of_few_rounds([[0.0] * 5])


def test_what_lies_beyond_an_interval_is_detected_in_80_percent() -> None:
    half_width, error = 0.02, 0.01
    results = np.log1p(detected_beyond(half_width, error)) + error * np.random.default_rng(4).normal(size=20_000)
    assert np.mean(results > half_width) == pytest.approx(0.8, abs=0.02)
