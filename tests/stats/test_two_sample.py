"""Two records' samples against each other: tests, intervals and verdicts, many pairs at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, iqr, mannwhitneyu, wilcoxon

from convbench.analysis.comparison import ChangeVerdict, compare
from convbench.analysis.paired_ratio import ratio
from convbench.stats.estimates import estimate_over_processes
from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ragged import Ragged
from convbench.stats.rank_sum import q_values
from convbench.stats.two_sample import TwoSample, independent, of_groups, paired, signed_rank_p_values
from convbench.store.readings import paired_log_ratios

times = st.floats(1e-9, 1e3)
samples = st.lists(times, min_size=1, max_size=40)
pairs_of_samples = st.tuples(samples, samples)


def one(first: list[float], second: list[float]) -> TwoSample:
    (found,) = independent(Ragged.of([first]), Ragged.of([second]))
    return found


def alike(size: int, rows: int, seed: int) -> list[list[float]]:
    """Ragged of the times of one thing, skewed and with outliers, as times are."""
    rng = np.random.default_rng(seed)
    outliers = (rng.random((rows, size)) < 0.1) * rng.exponential(0.5, (rows, size))
    found: list[list[float]] = np.exp(rng.exponential(0.02, (rows, size)) + outliers).tolist()
    return found


# --- rows -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(times, max_size=5), max_size=8))
def test_rows_are_what_was_given(rows: list[list[float]]) -> None:
    assert [row.tolist() for row in Ragged.of(rows)] == rows


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "other"), [(6, 6), (6, 9), (8, 30), (20, 20)])
def test_p_values_of_unpaired_samples_are_those_of_mann_and_whitney(size: int, other: int) -> None:
    rng = np.random.default_rng(size)
    first, second = (np.exp(rng.normal(shift, 1, (50, n))) for shift, n in ((0, size), (0.5, other)))
    found = [c.p_value for c in independent(Ragged.of(first.tolist()), Ragged.of(second.tolist()))]
    assert found == pytest.approx(mannwhitneyu(first, second, axis=1, method="exact").pvalue, rel=1e-9)


@pytest.mark.parametrize("size", [6, 7, 13, 30, 50])
def test_p_values_of_paired_samples_are_those_of_wilcoxon(size: int) -> None:
    differences = np.random.default_rng(size).normal(0.2, 1, (50, size))
    assert signed_rank_p_values(differences) == pytest.approx(
        wilcoxon(differences, axis=1, method="exact").pvalue, rel=1e-9
    )


def test_p_values_of_many_paired_samples_are_close_to_wilcoxon_s() -> None:
    differences = np.random.default_rng(0).normal(0.2, 1, (50, 80))
    expected = wilcoxon(differences, axis=1, correction=True, method="asymptotic").pvalue
    assert signed_rank_p_values(differences) == pytest.approx(expected, rel=1e-6)


@given(st.integers(6, 70), st.sampled_from([0.0, 1.0]))
def test_no_difference_at_all_is_a_p_value_of_1(size: int, difference: float) -> None:
    row = np.tile([difference, -difference], (1, size))
    assert signed_rank_p_values(row) == 1
    assert one([2.0] * size, [2.0] * (size + 1)).p_value == 1


@given(st.lists(st.floats(0, 1), max_size=50))
def test_false_discovery_rates_are_those_of_benjamini_and_hochberg(p: list[float]) -> None:
    assert q_values(p) == pytest.approx(false_discovery_control(p).tolist() if p else [])


# --- ratios and intervals ---------------------------------------------------------------------------------------------


@given(st.lists(pairs_of_samples, min_size=1, max_size=12))
@settings(max_examples=60)
def test_a_contrast_is_the_same_alone_and_among_others(pairs: list[tuple[list[float], list[float]]]) -> None:
    together = independent(Ragged.of([first for first, _ in pairs]), Ragged.of([second for _, second in pairs]))
    assert together == [one(first, second) for first, second in pairs]
    equal = [(first[: len(second)], second[: len(first)]) for first, second in pairs]
    together = paired(Ragged.of([first for first, _ in equal]), Ragged.of([second for _, second in equal]))
    assert together == [paired(Ragged.of([first]), Ragged.of([second]))[0] for first, second in equal]


@given(pairs_of_samples)
def test_the_ratio_is_that_of_the_medians_and_within_its_interval(pair: tuple[list[float], list[float]]) -> None:
    found = one(*pair).ratio
    assert found.value == np.median(pair[1]) / np.median(pair[0])
    assert found.low <= found.value <= found.high
    assert found.covers == (min(map(len, pair)) >= 6)
    turned = one(pair[1], pair[0]).ratio
    ends = (1 / found.value, 1 / found.high, 1 / found.low)
    assert (turned.value, turned.low, turned.high) == pytest.approx(ends, rel=1e-5)


@given(samples, samples)
def test_paired_ratios_are_those_that_a_run_shows(first: list[float], second: list[float]) -> None:
    size = min(len(first), len(second))
    records: list[Any] = [
        {"case": "c", "session": "s", "samples": {"round": list(range(size)), "wall_s": x[:size]}}
        for x in (first, second)
    ]
    expected = ratio(records[1], records[0])
    (found,) = paired(Ragged.of([first[:size]]), Ragged.of([second[:size]]))
    assert expected is not None
    widened = found.ratio.widened(half_width_of_process_variation([], found.spread))
    logs = np.log(np.array(second[:size]) / np.array(first[:size]))
    assert found.spread == pytest.approx(iqr(logs, scale="normal"), rel=1e-3, abs=1e-12)
    shown = (widened.value, widened.low, widened.high)
    assert shown == pytest.approx((expected.value, expected.low, expected.high))
    assert found.ratio.covers == expected.covers


@pytest.mark.parametrize(("size", "other"), [(6, 6), (10, 30), (20, 20)])
def test_an_interval_covers_the_true_ratio_19_times_of_20(size: int, other: int) -> None:
    rows = 1500
    results = independent(Ragged.of(alike(size, rows, 1)), Ragged.of(alike(other, rows, 2)))
    assert sum(c.ratio.includes_one for c in results) / rows >= 0.94
    side_by_side = paired(Ragged.of(alike(size, rows, 3)), Ragged.of(alike(size, rows, 4)))
    assert sum(c.ratio.includes_one for c in side_by_side) / rows >= 0.94


def test_more_samples_than_are_compared_one_with_another_are_thinned_evenly() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.exp(rng.normal(shift, 0.02, 60_000)).tolist() for shift in (0, 0.05))
    found = one(first, second)
    assert found.ratio.value == pytest.approx(math.exp(0.05), rel=0.005)
    assert found.ratio.low > 1.03 and found.p_value < 1e-10


# --- verdicts -------------------------------------------------------------------------------------------------------


def former_verdicts(base: list[list[float]], new: list[list[float]], threshold: float) -> list[ChangeVerdict]:
    """What a bootstrap says pair by pair, which takes samples of two runs for all that there is to know."""
    rates = false_discovery_control([float(mannwhitneyu(x, y).pvalue) for x, y in zip(base, new, strict=True)])
    verdicts = []
    for x, y, rate in zip(map(np.array, base), map(np.array, new), rates, strict=True):
        rng = np.random.default_rng(0)
        drawn = [np.median(s[rng.integers(0, s.size, (1000, s.size))], axis=1) for s in (x, y)]
        value = float(np.median(y) / np.median(x))
        low, high = np.quantile(drawn[1] / drawn[0], (0.025, 0.975))
        low, high = min(low, value), max(high, value)
        if rate < 0.05 and not low <= 1 <= high:
            verdicts.append(ChangeVerdict.SLOWER if value > 1 else ChangeVerdict.FASTER)
        else:
            same = 1 / (1 + threshold) <= low and high <= 1 + threshold
            verdicts.append(ChangeVerdict.SAME if same else ChangeVerdict.UNCLEAR)
    return verdicts


@pytest.mark.parametrize("seed", range(3))
def test_what_is_called_changed_in_random_tables_a_bootstrap_pair_by_pair_calls_so_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables: tuple[list[list[float]], list[list[float]]] = ([], [])
    for _ in range(200):
        shifted = rng.choice([0.0, 0.0, 0.0, 0.1, -0.1, 0.5])
        for table, shift in zip(tables, (0.0, shifted), strict=True):
            table.append(np.exp(shift + rng.normal(0, 0.02, rng.integers(9, 31))).tolist())
    base, new = ([pair_record(str(i), walls) for i, walls in enumerate(table)] for table in tables)
    found = {change.case: change.verdict for change in compare(base, new, 0.05).changes}
    expected = former_verdicts(*tables, 0.05)
    claims = {ChangeVerdict.SLOWER, ChangeVerdict.FASTER}
    assert all(found[str(i)] is verdict for i, verdict in enumerate(expected) if found[str(i)] in claims)
    # Most of those that were made 10 or 50 % slower by samples that lie 2 % apart.
    claimed = [found[str(i)] in claims for i, verdict in enumerate(expected) if verdict in claims]
    assert sum(claimed) >= 0.9 * len(claimed) > 50


def pair_record(case: str, walls: list[float]) -> dict[str, Any]:
    return {"suite": "s", "case": case, "backend": "b", "status": "ok", "samples": {"wall_s": walls}}


# --- several processes ------------------------------------------------------------------------------------------------


def in_processes(medians: list[float], rounds: int = 8, session: str = "s", seed: int = 0) -> dict[str, Any]:
    """A record of several processes, each with its own level, sampled by turns."""
    rng = np.random.default_rng(seed)
    samples: dict[str, list[Any]] = {"round": [], "process": [], "wall_s": []}
    for number in range(rounds):
        for process, median in enumerate(medians):
            samples["round"].append(number)
            samples["process"].append(process)
            samples["wall_s"].append(float(median * np.exp(rng.normal(0, 0.001))))
    return pair_record("a", []) | {"session": session, "samples": samples}


def test_of_several_processes_each_is_one_observation() -> None:
    levels = [1.00, 1.04, 0.97, 1.02]
    base, new = in_processes(levels), in_processes([1.03, 0.98, 1.01, 1.05], session="t", seed=1)
    (change,) = compare([base], [new], 0.05).changes
    assert change.verdict is not ChangeVerdict.SLOWER, "a hundred samples say so, and four processes do not"
    pooled = [{**record, "samples": {"wall_s": record["samples"]["wall_s"]}} for record in (base, new)]
    assert compare([pooled[0]], [pooled[1]], 0.05).changes[0].q_value < change.q_value
    expected = math.exp(np.mean(np.log([1.03, 0.98, 1.01, 1.05])) - np.mean(np.log(levels)))
    assert change.ratio.value == pytest.approx(expected, rel=0.002)
    assert change.ratio.low < 1 < change.ratio.high and not change.paired
    slower = in_processes([1.5 * median for median in levels], session="t", seed=1)
    assert compare([base], [slower], 0.05).changes[0].verdict is ChangeVerdict.SLOWER


def test_what_happened_in_a_round_is_taken_out_of_processes_that_were_measured_side_by_side() -> None:
    levels = [1.00, 1.02, 0.98, 1.01]
    base, new = in_processes(levels), in_processes([1.05 * median for median in levels], seed=1)
    for record in (base, new):
        walls, numbers = record["samples"]["wall_s"], record["samples"]["round"]
        record["samples"]["wall_s"] = [w * (1.3 if n % 3 else 1.0) for w, n in zip(walls, numbers, strict=True)]
    (change,) = compare([base], [new], 0.02).changes
    assert (change.verdict, change.paired) == (ChangeVerdict.SLOWER, True)
    assert change.ratio == ratio(new, base)
    assert change.ratio.value == pytest.approx(1.05, rel=0.002) and change.ratio.low > 1.01


@pytest.mark.parametrize(("processes", "apart"), [(3, 0.005), (5, 0.01), (8, 0.014)])
def test_the_interval_over_processes_covers_and_finds_more_than_that_of_pairs(processes: int, apart: float) -> None:
    rng, held, found, found_by_pairs = np.random.default_rng(5), 0, 0, 0
    for number in range(300):
        copy, base, slowed = (
            in_processes(np.exp(rng.normal(log, apart, processes)).tolist(), 4, "s", 3 * number + place)
            for place, log in enumerate((0.0, 0.0, 0.02))
        )
        held += ratio(copy, base).includes_one  # type: ignore[union-attr]
        found += ratio(slowed, base).low > 1  # type: ignore[union-attr]
        pairs = estimate_over_processes([np.exp(logs).tolist() for logs in paired_log_ratios(slowed, base)])
        found_by_pairs += pairs.low > 1
    assert held / 300 >= 0.92
    assert found > 1.03 * found_by_pairs


@given(st.permutations(range(4)))
def test_the_order_of_processes_does_not_matter(order: list[int]) -> None:
    base, new = (in_processes(levels) for levels in ([1.00, 1.20, 0.80, 1.10], [1.3, 1.4, 1.5, 1.2]))
    other = in_processes([[1.3, 1.4, 1.5, 1.2][place] for place in order])
    one, shuffled = ratio(new, base), ratio(other, base)
    assert one is not None and shuffled is not None
    assert (shuffled.value, shuffled.low, shuffled.high) == pytest.approx((one.value, one.low, one.high), rel=0.003)


@pytest.mark.parametrize("processes", [2, 1])
def test_two_processes_are_never_a_verdict_and_one_is_compared_by_samples(processes: int) -> None:
    base, new = in_processes([1.0] * processes, session="s"), in_processes([1.5, 1.5, 1.5], session="t", seed=1)
    (change,) = compare([base], [new], 0.05).changes
    assert change.ratio.covers == (processes == 1)
    assert change.verdict is (ChangeVerdict.SLOWER if processes == 1 else ChangeVerdict.UNCLEAR)


def test_welch_s_interval_covers_the_true_ratio_19_times_of_20() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for number in range(400):
        sides = (np.exp(rng.normal(0, 0.05, size)).tolist() for size in (4, 7))
        base, new = (in_processes(levels, 3, session, number) for levels, session in zip(sides, "st", strict=True))
        covered += compare([base], [new], 0.05).changes[0].ratio.includes_one
    assert covered / 400 >= 0.93


def luck(rng: np.random.Generator, slow_one: float) -> NDArray[np.float64]:
    """Ten processes that differ by 1 %, with heavy tails; one in twenty is slower by `slow_one`."""
    return 0.01 * rng.standard_t(4, 10) + slow_one * (rng.random(10) < 0.05)


@pytest.mark.parametrize("slow_one", [0.0, 0.15])
def test_ten_processes_see_two_percent_although_some_are_slow(slow_one: float) -> None:
    rng, trials = np.random.default_rng(7), range(500)
    copies = [of_groups(luck(rng, slow_one).tolist(), luck(rng, slow_one).tolist()).ratio for _ in trials]
    slowed = [of_groups(luck(rng, slow_one).tolist(), (0.02 + luck(rng, slow_one)).tolist()).ratio for _ in trials]
    assert np.mean([found.low > 1 for found in slowed]) > 0.75
    assert np.mean([found.low > 1 for found in copies]) < 0.04
    assert np.mean([found.includes_one for found in copies]) > 0.93


@given(st.integers(0, 2**32 - 1), st.integers(6, 12))
def test_the_interval_of_groups_holds_one_where_the_test_finds_nothing(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(0, 0.01, size).tolist(), rng.normal(0.01, 0.01, size).tolist())
    found, inverse = of_groups(first, second), of_groups(second, first)
    assert found.ratio.includes_one == (found.p_value > 0.05)
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    assert found.p_value == pytest.approx(inverse.p_value)
    assert found.ratio.value == pytest.approx(1 / inverse.ratio.value)


def test_of_few_or_unequal_groups_one_slow_process_widens_the_interval() -> None:
    alike, slow = [0.0, 0.001, 0.002, 0.003, 0.004, 0.005], [0.02, 0.021, 0.022, 0.023, 0.024, 0.2]
    assert of_groups(alike, slow).ratio.low > 1.01
    assert of_groups([*alike, 0.0025], slow).ratio.includes_one
    assert of_groups(alike[:5], slow[1:]).ratio.includes_one
