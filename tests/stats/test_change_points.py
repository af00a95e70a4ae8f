"""Change points: what holds for every series, p values against enumeration, and simulated series whose steps are known.

Simulations have fixed seeds and limits with slack: they show that nothing is broken. How good the detector is,
evaluation/statistics/step_detection.py prints.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, mannwhitneyu, rankdata

from convbench.stats.change_points import (
    FEWEST_IN_SEGMENT,
    ChangePoint,
    change_points_of_all,
    noise_of,
    variance_inflation,
)
from convbench.stats.rank_sum import (
    log_p,
    p_of_best_split,
    p_of_best_stretch,
    p_of_difference,
    q_values,
    shift_between,
    smaller_u,
)
from convbench.stats.segmentation import Observed, best_cut

Floats = NDArray[np.float64]


def change_points(values: Any, intervals: Any = None, **options: Any) -> tuple[ChangePoint, ...]:
    return change_points_of_all([values], [intervals], **options)[0]


def p_value_of(values: Floats) -> float:
    cut = best_cut(Observed(np.log(values)), 0, len(values), FEWEST_IN_SEGMENT)
    return 1.0 if cut is None else cut[0]


def series(seed: int, *parts: tuple[int, float], noise: float = 0.03) -> Floats:
    """Parts of (points, level), with noise."""
    levels = np.concatenate([np.full(points, level) for points, level in parts])
    return np.asarray(levels * np.exp(np.random.default_rng(seed).normal(0, noise, levels.size)))


def spiked(seed: int, values: Floats) -> Floats:
    """One point in ten slower by 10 to 50 %."""
    rng = np.random.default_rng([seed, 1])
    return np.asarray(values * np.where(rng.random(values.size) < 0.1, rng.uniform(1.1, 1.5, values.size), 1))


def middle(values: Floats) -> float:
    return float(np.exp(np.median(np.log(values))))


def indices(changes: Sequence[ChangePoint]) -> list[int]:
    return [change.index for change in changes]


# --- p values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("points", "size"), [(6, 3), (9, 2), (9, 7), (10, 5)])
def test_p_values_are_those_of_all_the_ways_to_choose(points: int, size: int) -> None:
    sums = np.array([sum(chosen) for chosen in itertools.combinations(range(1, points + 1), size)], dtype=np.float64)
    u = smaller_u(sums, np.int64(size), points)
    for value in np.unique(u):
        expected = min(1.0, np.mean(u <= value))
        found = math.exp(log_p(points, np.array([size]), np.array([value]))[0])
        assert found == pytest.approx(expected if 2 * value < size * (points - size) else 1.0)


@pytest.mark.parametrize(("points", "size"), [(40, 20), (64, 31), (70, 12), (300, 5)])
def test_p_values_are_scipys_exact_ones(points: int, size: int) -> None:
    order = np.random.default_rng(points).permutation(points)
    order[:size] = np.sort(order)[:size] if size < 12 else order[:size]
    x, y = order[:size].astype(float), order[size:].astype(float)
    x[: size // 2] -= points  # far out
    ranks = rankdata(np.concatenate([x, y]))
    u = smaller_u(np.array([ranks[:size].sum()]), np.array([size]), points)
    expected = mannwhitneyu(x, y, method="exact").pvalue
    assert math.exp(log_p(points, np.array([size]), u)[0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("points", "size"), [(200, 100), (130, 40)])
def test_beyond_what_is_counted_p_errs_to_the_large_side_and_by_little(points: int, size: int) -> None:
    for shift in (0.3, 0.5, 0.7):
        rng = np.random.default_rng(size)
        x, y = rng.normal(shift, 1, size), rng.normal(0, 1, points - size)
        ranks = rankdata(np.concatenate([x, y]))
        u = smaller_u(np.array([ranks[:size].sum()]), np.array([size]), points)
        exact = mannwhitneyu(x, y, method="exact").pvalue
        found = math.exp(log_p(points, np.array([size]), u)[0])
        assert exact * 0.99 <= found <= exact * 2


def test_the_best_of_all_splits_is_about_as_likely_as_all_orders_say() -> None:
    points, fewest = 8, 2
    orders = np.array(list(itertools.permutations(range(1, points + 1))), dtype=np.float64)
    sums = np.cumsum(orders, axis=1)
    sizes = np.arange(fewest, points - fewest + 1)
    logs = np.min(
        [
            log_p(points, np.full(len(orders), k), smaller_u(sums[:, k - 1], np.full(len(orders), k), points))
            for k in sizes
        ],
        axis=0,
    )
    for best in np.unique(logs):
        share = np.mean(logs <= best + 1e-12)
        bound = p_of_best_split(points, fewest, float(best))
        assert share / 1.1 <= bound
        assert bound <= 2 * share or bound == 1.0


def test_the_best_of_all_stretches_is_about_as_likely_as_orders_say() -> None:
    points, fewest = 16, 3
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(1.0, points + 1), (20_000, 1)), axis=1)
    sums = np.concatenate([np.zeros((len(orders), 1)), np.cumsum(orders, axis=1)], axis=1)
    logs = np.zeros(len(orders))
    for start, stop in itertools.combinations(range(fewest, points - fewest + 1), 2):
        if stop - start >= fewest:
            size = np.full(len(orders), stop - start)
            logs = np.minimum(logs, log_p(points, size, smaller_u(sums[:, stop] - sums[:, start], size, points)))
    for p in (0.2, 0.05, 0.01, 0.003):
        at_most = np.quantile(logs, p, method="lower")
        assert np.mean(logs <= at_most) <= 1.5 * p_of_best_stretch(points, fewest, float(at_most))


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_the_p_value_of_two_sets_is_scipys_exact_one(seed: int, old: int, new: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.normal(0, 1, old), rng.normal(1, 1, new)
    assert p_of_difference(before, after) == pytest.approx(mannwhitneyu(before, after, method="exact").pvalue)


@given(st.lists(st.floats(0, 1), max_size=30))
def test_q_values_are_scipys(p_values: list[float]) -> None:
    expected = false_discovery_control(p_values).tolist() if p_values else []
    assert q_values(p_values) == pytest.approx(expected)


@pytest.mark.parametrize("noise", ["normal", "slow spikes", "heavy tails", "ties"])
def test_p_values_of_series_without_a_change_are_at_most_uniform(noise: str) -> None:
    rng = np.random.default_rng(3)
    draw: dict[str, Callable[[], Floats]] = {
        "normal": lambda: np.exp(rng.normal(0, 0.03, 40)),
        "slow spikes": lambda: np.exp(rng.normal(0, 0.03, 40)) * np.where(rng.random(40) < 0.1, 3, 1),
        "heavy tails": lambda: np.exp(np.clip(rng.standard_cauchy(40), -50, 50)),
        "ties": lambda: rng.integers(5, 8, 40).astype(np.float64),
    }
    p = np.array([p_value_of(draw[noise]()) for _ in range(600)])
    for level in (0.02, 0.05, 0.1, 0.3):
        assert np.mean(p <= level) <= level + 3 * math.sqrt(level * (1 - level) / p.size)


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 12))
def test_the_interval_of_a_shift_holds_what_the_test_does_not_rule_out(seed: int, old: int, new: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.normal(0, 1, old), rng.normal(1, 1, new)
    shift = shift_between(before, after)
    assert shift.low <= shift.value <= shift.high
    assert shift.covers == (2 / math.comb(old + new, new) <= 0.05)
    if shift.covers:
        outside = [shift.low - 1e-6, shift.high + 1e-6]
        assert all(mannwhitneyu(after - by, before, method="exact").pvalue <= 0.05 for by in outside)
        inside = [shift.low + 1e-6, shift.high - 1e-6]
        assert all(mannwhitneyu(after - by, before, method="exact").pvalue > 0.05 for by in inside)


# --- what holds for every series --------------------------------------------------------------------------------------

PARTS = st.lists(st.tuples(st.integers(3, 25), st.sampled_from([1.0, 1.05, 1.2, 0.8])), min_size=1, max_size=5)


@given(st.integers(0, 10**6), PARTS, st.sampled_from([1e-9, 0.5, 1024.0, 3e5]))
def test_the_unit_does_not_matter(seed: int, parts: list[tuple[int, float]], unit: float) -> None:
    values = series(seed, *parts)
    one, other = change_points(values), change_points(values * unit)
    assert indices(one) == indices(other)
    for a, b in zip(one, other, strict=True):
        assert b.ratio.value == pytest.approx(a.ratio.value)
        assert (b.before, b.after) == pytest.approx((a.before * unit, a.after * unit))


@given(st.integers(0, 10**6), PARTS, st.sampled_from([0.25, 3.0]))
def test_only_the_order_of_the_values_decides_where_they_step(
    seed: int, parts: list[tuple[int, float]], power: float
) -> None:
    values = series(seed, *parts)
    one, other = change_points(values), change_points(values**power)
    assert [(c.index, c.p_value) for c in one] == [(c.index, c.p_value) for c in other]


@pytest.mark.parametrize("seed", range(12))
def test_backwards_the_same_steps_are_found_the_other_way_round(seed: int) -> None:
    values = spiked(seed, series(seed, (30, 1.0), (11, 1.2), (23, 0.9)))
    there, back = change_points(values), change_points(values[::-1])
    assert there
    assert indices(there) == [values.size - index for index in reversed(indices(back))]
    for a, b in zip(there, reversed(back), strict=True):
        assert a.ratio.value == pytest.approx(1 / b.ratio.value)
        assert (a.ratio.low, a.ratio.high) == pytest.approx((1 / b.ratio.high, 1 / b.ratio.low))


@given(st.integers(0, 10**6), PARTS, st.integers(1, 9), st.sampled_from([0.0, 0.03, 0.1]))
def test_steps_are_in_order_apart_large_enough_and_have_sound_figures(
    seed: int, parts: list[tuple[int, float]], min_segment: int, min_magnitude: float
) -> None:
    values = series(seed, *parts)
    changes = change_points(values, min_segment=min_segment, min_magnitude=min_magnitude)
    edges = [0, *indices(changes), values.size]
    for number, change in enumerate(changes):
        before, after = values[edges[number] : change.index], values[change.index : edges[number + 2]]
        assert min(before.size, after.size) >= min_segment
        assert (change.before, change.after) == pytest.approx((middle(before), middle(after)))
        assert abs(math.log(change.ratio.value)) > math.log1p(min_magnitude)
        assert change.ratio.low <= change.ratio.value <= change.ratio.high
        assert 0 <= change.p_value <= 1 and 0 <= change.q_value <= 0.05


@given(st.floats(1e-9, 1e9), st.integers(0, 200))
def test_a_constant_series_has_no_step(value: float, points: int) -> None:
    assert change_points(np.full(points, value)) == ()


@given(st.lists(st.floats(1e-6, 1e6), max_size=7))
def test_fewer_than_eight_points_say_nothing(values: list[float]) -> None:
    assert change_points(values) == ()
    assert p_value_of(values) == 1


@pytest.mark.parametrize("where", range(5, 36, 5))
@pytest.mark.parametrize("factor", [1.02, 0.5, 1e6])
def test_a_step_that_stands_out_of_the_noise_is_found_at_its_very_place(where: int, factor: float) -> None:
    values = series(where, (where, 1.0), (40 - where, factor), noise=1e-3)
    (change,) = change_points(values)
    assert change.index == where
    assert change.ratio.value == pytest.approx(factor, rel=2e-3)
    assert not change.gradual


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ([1.0, math.nan, 2.0], {}),
        ([1.0, 0.0], {}),
        ([1.0, -1.0], {}),
        ([1.0, math.inf], {}),
        ([[1.0, 2.0]], {}),
        ([1.0, 2.0], {"intervals": [(1.0, 2.0)]}),
        ([1.0, 2.0], {"min_segment": 0}),
        ([1.0, 2.0], {"min_magnitude": -0.1}),
    ],
)
def test_what_is_no_series_is_refused(values: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"positive numbers|shape|at least"):
        change_points(values, **more)


# --- simulated series -------------------------------------------------------------------------------------------------


def share(test: Callable[[int], bool], times: int = 200) -> float:
    return sum(test(seed) for seed in range(times)) / times


def test_a_five_percent_step_in_three_percent_noise_is_found_near_its_place() -> None:
    def found(seed: int) -> bool:
        changes = change_points(series(seed, (20, 1.0), (20, 1.05)), min_magnitude=0.03)
        return any(abs(change.index - 20) <= 5 for change in changes)

    assert share(found) >= 0.87


@pytest.mark.parametrize("spikes", [False, True])
def test_flat_series_are_seldom_an_alarm_with_or_without_slow_runs(spikes: bool) -> None:
    def alarmed(seed: int) -> bool:
        values = series(seed, (40, 1.0))
        return bool(change_points(spiked(seed, values) if spikes else values))

    assert share(alarmed) <= 0.08


def test_many_flat_series_together_are_seldom_an_alarm() -> None:
    looks = [[series(1000 * look + which, (30, 1.0)) for which in range(60)] for look in range(30)]
    assert sum(any(change_points_of_all(look)) for look in looks) <= 5


def test_of_many_series_those_are_told_that_step() -> None:
    stepping = {3, 17, 40, 41}
    drawn = [series(which, (25, 1.0), (15, 1.15 if which in stepping else 1.0)) for which in range(80)]
    found = change_points_of_all(drawn)
    assert {which for which, changes in enumerate(found) if changes} == stepping
    assert all(abs(found[which][0].index - 25) <= 2 for which in stepping)


def test_a_p_value_that_convinces_alone_does_not_among_many() -> None:
    last_three = [series(seed, (37, 1.0), (3, 1.3)) for seed in range(40)]
    assert indices(change_points(last_three[0])) == [37]
    flat = [series(seed, (40, 1.0)) for seed in range(100, 500)]
    assert change_points_of_all(last_three[:1] + flat)[0] == ()
    assert indices(change_points_of_all(last_three + flat)[0]) == [37], "many that step alike speak for each other"


def wandering(seed: int, *parts: tuple[int, float], correlation: float = 0.5) -> Floats:
    """Like `series`, each point's noise resembling that of the last."""
    flat = series(seed, *parts, noise=0.0)
    noise = np.random.default_rng(seed).normal(0, 0.03, flat.size)
    for i in range(1, noise.size):
        noise[i] = correlation * noise[i - 1] + math.sqrt(1 - correlation**2) * noise[i]
    return np.asarray(flat * np.exp(noise))


def test_neighbours_that_resemble_each_other_are_allowed_for_over_many_series() -> None:
    drawn = [wandering(which, (25, 1.0), (15, 1.2 if which < 5 else 1.0)) for which in range(100)]
    apart = sum(bool(change_points(values)) for values in drawn[5:])
    together = change_points_of_all(drawn)
    assert apart >= 20
    assert sum(map(bool, together[5:])) <= 2
    assert sum(any(abs(change.index - 25) <= 3 for change in changes) for changes in together[:5]) >= 3


def test_how_neighbours_are_on_one_machine_does_not_count_on_another() -> None:
    drawn = [wandering(which, (40, 1.0)) for which in range(60)] + [series(99, (25, 1.0), (15, 1.06), noise=0.02)]
    (among,), (apart,) = (
        change_points_of_all(drawn, groups=groups)[-1] for groups in (None, ["noisy"] * 60 + ["quiet"])
    )
    assert apart.p_value == p_value_of(drawn[-1]) < among.p_value / 10


@given(st.integers(0, 10**6), st.lists(st.integers(0, 30), max_size=5), st.sampled_from([-0.5, 0.0, 0.9]))
def test_the_inflation_of_variance_is_1_or_more_and_finite(seed: int, sizes: list[int], correlation: float) -> None:
    drawn = [wandering(seed + n, (n, 1.0), correlation=correlation) for n in sizes]
    assert 1 <= variance_inflation(drawn, [()] * len(drawn)) < 20


@pytest.mark.parametrize(("correlation", "low", "high"), [(0.0, 1.0, 1.05), (0.3, 1.4, 1.9), (0.6, 2.8, 4.0)])
def test_the_inflation_of_variance_is_that_of_the_mean(correlation: float, low: float, high: float) -> None:
    drawn = [wandering(which, (100, 1.0), correlation=correlation) for which in range(50)]
    assert low <= variance_inflation(drawn, [()] * len(drawn)) <= high


@pytest.mark.parametrize("newest", [3, 4, 6, 9])
def test_a_step_of_the_newest_points_is_found(newest: int) -> None:
    assert indices(change_points(series(newest, (40, 1.0), (newest, 1.2)))) == [40]


def test_several_steps_are_found_in_a_longer_series() -> None:
    (a, b, c) = change_points(spiked(4, series(4, (60, 1.0), (50, 1.15), (70, 1.3), (40, 1.0))))
    assert [abs(x.index - y) <= 3 for x, y in ((a, 60), (b, 110), (c, 180))] == [True] * 3
    assert [x.ratio.value for x in (a, b, c)] == pytest.approx([1.15, 1.13, 0.77], rel=0.03)


def test_a_short_stretch_that_is_undone_is_two_steps() -> None:
    up, down = change_points(series(5, (17, 1.0), (6, 1.15), (17, 1.0)))
    assert (up.index, down.index) == (17, 23)
    assert up.ratio.value == pytest.approx(1.15, rel=0.04)
    assert down.ratio.value == pytest.approx(1 / 1.15, rel=0.04)


def test_drift_is_told_as_such() -> None:
    drifting = np.geomspace(1, 1.3, 40) * series(6, (40, 1.0), noise=0.01)
    changes = change_points(drifting, min_magnitude=0.03)
    assert changes and all(change.gradual for change in changes)


def test_the_interval_of_the_ratio_holds_the_true_one() -> None:
    found = [change for seed in range(200) for change in change_points(series(seed, (20, 1.0), (20, 1.1)))]
    near = [change.ratio for change in found if abs(change.index - 20) <= 3]
    assert len(near) >= 190
    assert np.mean([ratio.low <= 1.1 <= ratio.high for ratio in near]) >= 0.9


def test_points_with_wide_intervals_say_less() -> None:
    with_intervals = alone = false = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        spread = np.where(rng.random(40) < 0.3, 0.15, 0.02)
        noise = rng.normal(0, spread)
        stepped, flat = np.exp(noise + 0.05 * (np.arange(40) >= 20)), np.exp(noise)
        ends = np.exp(np.multiply.outer(1.96 * spread, [-1, 1]))
        with_intervals += bool(change_points(stepped, stepped[:, None] * ends))
        alone += bool(change_points(stepped))
        false += bool(change_points(flat, flat[:, None] * ends))
    assert with_intervals >= alone + 10
    assert false <= 9


def test_missing_and_absurd_intervals_are_as_if_there_were_none() -> None:
    values = series(7, (20, 1.0), (20, 1.2))
    ends = np.stack([values * 0.99, values * 1.01], axis=1)
    ends[3], ends[9], ends[30] = math.nan, (2.0, 1.0), (0.0, 0.0)
    assert indices(change_points(values, ends)) == [20]
    assert change_points(values, np.full((40, 2), math.nan)) == change_points(values)


def test_noise_is_that_about_the_steps_and_slow_runs_do_not_make_it() -> None:
    values = spiked(8, series(8, (150, 1.0), (150, 1.5)))
    changes = change_points(values)
    assert noise_of(values, changes) == pytest.approx(0.03, rel=0.25)
    assert noise_of(values) > 0.1
