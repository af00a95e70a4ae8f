"""Between-process variation: what is learned from pairs of processes holds the next pair, on machines of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.stats.process_variation import EXPECTED, ProcessVariation, half_width_of_process_variation

logs = st.floats(-0.5, 0.5)
MACHINES = {
    "quiet": lambda rng, n: rng.normal(0, 0.003, n),
    "as expected": lambda rng, n: rng.normal(0, EXPECTED, n),
    "3 % apart": lambda rng, n: rng.normal(0, 0.03, n),
    "heavy tails": lambda rng, n: 0.01 * rng.standard_t(3, n),
    "one process in ten is 30 % slower": lambda rng, n: (
        rng.normal(0, 0.005, n) + 0.3 * (rng.random(n) < 0.02) * rng.choice([-1, 1], n)
    ),
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("pairs", [10, 60])
def test_the_interval_holds_the_next_pair_in_95_percent(machine: object, pairs: int) -> None:
    rng = np.random.default_rng(7)
    held = []
    for _ in range(400):
        seen = machine(rng, pairs + 1)  # type: ignore[operator]
        variation = ProcessVariation().learned_from(seen[:-1].tolist())
        held.append(abs(seen[-1]) <= variation.half_width_of_ratio)
    assert np.mean(held) >= (0.93 if pairs >= 60 else 0.91)


def test_one_bad_pair_hardly_widens_the_interval_and_a_bad_machine_does() -> None:
    usual = [0.004, -0.003, 0.005, -0.002, 0.001, -0.004, 0.003, 0.002] * 2
    before = ProcessVariation().learned_from(usual).scale
    assert ProcessVariation().learned_from([*usual, 0.5]).scale < 1.3 * before
    assert ProcessVariation().learned_from([0.1, -0.08, 0.09, -0.12] * 4).scale > 10 * before


def test_before_any_pair_it_is_what_was_expected() -> None:
    assert ProcessVariation().learned_from([]) == ProcessVariation(EXPECTED, 0)
    assert half_width_of_process_variation([]) == ProcessVariation().half_width_of_ratio


@given(st.lists(logs, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_order_and_direction_of_pairs_do_not_matter(values: list[float], rng: object) -> None:
    shuffled = sorted((-value for value in values), key=lambda _: rng.random())  # type: ignore[attr-defined]
    one, other = (ProcessVariation().learned_from(seen) for seen in (values, shuffled))
    assert one.scale == pytest.approx(other.scale) and one.pairs == other.pairs == len(values)


@given(st.lists(logs, max_size=20), st.floats(0.001, 0.3))
def test_a_pair_that_differs_more_widens_it_and_equal_ones_narrow_it(values: list[float], more: float) -> None:
    variation = ProcessVariation().learned_from(values)
    assert ProcessVariation().learned_from([*values, 0.0]).scale < variation.scale
    if values:
        further = [values[0] + math.copysign(more, values[0]), *values[1:]]
        assert ProcessVariation().learned_from(further).scale > variation.scale


@given(st.lists(logs, max_size=10), st.floats(0, 0.2))
def test_the_spread_of_rounds_adds_as_independent_errors_do(values: list[float], spread: float) -> None:
    alone = half_width_of_process_variation(values)
    both = half_width_of_process_variation(values, spread)
    assert alone <= both <= alone + 1.96 * spread / math.sqrt(60) + 1e-12
