"""The interval of the median covers as often as it says, and samples are taken as planned, by a clock of our own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, repeat
from math import comb
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from convbench.measurement.sampling import sample as sampling
from convbench.measurement.sampling.sample import Reading, SamplingPlan, calibrate, system_clock, take_sample, warm_up
from convbench.stats.estimates import FEWEST_FOR_INTERVAL, estimate_median, estimate_over_processes

# --- the median and its interval --------------------------------------------------------------------------------------

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
SHAPES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, n: rng.normal(1, 0.1, n), 1.0),
    "skewed": (lambda rng, n: rng.lognormal(0, 2, n), 1.0),
    "exponential": (lambda rng, n: 1 + rng.exponential(1, n), 1 + math.log(2)),
    "heavy-tailed": (lambda rng, n: rng.standard_cauchy(n), 0.0),
    "in two heaps": (lambda rng, n: rng.choice([1.0, 3.0], n) + rng.uniform(0, 2, n), 3.0),
    "of few values": (lambda rng, n: rng.choice([1.0, 2.0, 2.0, 3.0], n), 2.0),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_interval_covers_the_true_median_at_least_as_often_as_it_says(shape: tuple[Draw, float]) -> None:
    draw, true = shape
    rng = np.random.default_rng(20240607)
    repeats, covered = 150, {}
    for n in range(6, 41):
        estimates = [estimate_median(draw(rng, n).tolist()) for _ in range(repeats)]
        assert all(e.covers for e in estimates)
        covered[n] = sum(e.low <= true <= e.high for e in estimates)
    trials = repeats * len(covered)
    assert sum(covered.values()) / trials >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)
    assert min(covered.values()) / repeats >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)


@pytest.mark.parametrize("n", [*range(6, 120), 999, 1000, 2500])
def test_the_interval_is_the_narrowest_pair_of_ranks_that_covers(n: int) -> None:
    def coverage(rank: int) -> Fraction:
        return 1 - 2 * Fraction(sum(comb(n, r) for r in range(rank + 1)), 2**n)

    estimate = estimate_median(range(n))
    rank = int(estimate.low)
    assert estimate.high == n - 1 - rank
    assert coverage(rank) >= Fraction(95, 100) > coverage(rank + 1)


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=60))
@settings(max_examples=100)
def test_an_estimate_is_made_of_the_samples_in_any_order(samples: list[float]) -> None:
    estimate = estimate_median(samples)
    assert estimate.median == median(samples)
    assert min(samples) <= estimate.low <= estimate.median <= estimate.high <= max(samples)
    assert {estimate.low, estimate.high} <= set(samples)
    assert estimate == estimate_median(samples[::-1]) == estimate_median(sorted(samples))
    assert estimate.covers == (len(samples) >= 6)


@pytest.mark.parametrize("n", range(1, 6))
def test_fewer_than_six_samples_give_the_range_and_say_so(n: int) -> None:
    estimate = estimate_median([float(v) for v in range(n, 0, -1)])
    assert (estimate.low, estimate.high, estimate.covers) == (1, n, False)


def test_six_is_the_fewest_whose_range_covers() -> None:
    assert FEWEST_FOR_INTERVAL == 6
    assert 1 - 2 * 0.5**6 >= 0.95 > 1 - 2 * 0.5**5


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="no samples"):
        estimate_median([])


def test_the_relative_half_width_is_half_the_interval_over_the_median() -> None:
    estimate = estimate_median([8.0, 9, 10, 10, 11, 14])
    assert estimate.relative_half_width == pytest.approx(0.3)
    assert estimate_median([0.0] * 8).relative_half_width == math.inf


# --- planning ---------------------------------------------------------------------------------------------------------


@given(st.floats(1e-9, 1e3), st.floats(1e-4, 1))
def test_a_sample_lasts_as_long_as_asked_or_is_one_call(call_s: float, sample_s: float) -> None:
    plan = calibrate(call_s, sample_s)
    assert plan.calls >= 1
    assert plan.calls == 1 or abs(plan.calls * call_s - sample_s) <= call_s / 2 * (1 + 1e-6)


@given(st.floats(0, 1e3), st.floats(1e-4, 1))
def test_at_most_ten_calls_are_discarded_and_no_more_than_a_samples_time_or_one(call_s: float, sample_s: float) -> None:
    plan = calibrate(call_s, sample_s)
    assert (1 if call_s <= 4 * sample_s else 0) <= plan.discarded <= 10
    assert plan.discarded <= 1 or plan.discarded * call_s <= sample_s * (1 + 1e-9)


@pytest.mark.parametrize(
    ("call_s", "calls", "discarded"),
    [
        (1e-6, 5000, 10),
        (0.0005, 10, 10),
        (0.001, 5, 5),
        (0.002, 2, 2),
        (0.004, 1, 1),
        (0.006, 1, 1),
        (0.02, 1, 1),
        (0.021, 1, 0),
    ],
)
def test_plans_for_samples_of_five_milliseconds(call_s: float, calls: int, discarded: int) -> None:
    assert calibrate(call_s, 0.005) == SamplingPlan(calls, discarded)


def test_a_call_too_short_to_be_seen_is_planned_for_all_the_same() -> None:
    assert calibrate(0.0, 0.005) == calibrate(1e-9, 0.005) == SamplingPlan(5_000_000, 10)


# --- sampling ---------------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """A machine of our own: calls take the seconds listed, the last of them forever after."""

    seconds: tuple[float, ...] = (1.0,)
    reading_s: float = 0.0
    sync_s: float = 0.0
    wall_s: float = 1e6
    cpu_s: float = 50.0
    system_s: float = 7.0
    faults: int = 12345
    calls: int = 0
    log: list[str] = field(default_factory=list)
    readings: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._seconds = chain(self.seconds, repeat(self.seconds[-1]))

    def clock(self, ends: bool = False) -> Reading:
        self.log.append("clock")
        self.wall_s += self.reading_s
        self.readings.append(self.wall_s)
        return Reading(self.wall_s, self.cpu_s, self.system_s, self.faults)

    def run(self) -> str:
        self.log.append("run")
        took = next(self._seconds)
        self.wall_s += took
        self.cpu_s += 2 * took
        self.system_s += took / 4
        self.faults += 3
        self.calls += 1
        return f"output {self.calls}"

    def sync(self) -> None:
        self.log.append("sync")
        self.wall_s += self.sync_s


@given(st.integers(1, 40), st.integers(0, 10))
def test_calls_are_discarded_and_waited_for_before_the_clock_starts_and_timed_ones_before_it_stops(
    calls: int, discarded: int
) -> None:
    bench = Bench()
    _, output = take_sample(bench.run, bench.sync, SamplingPlan(calls, discarded), bench.clock)
    assert bench.log == ["run"] * discarded + ["sync", "clock"] + ["run"] * calls + ["sync", "clock"]
    assert output == f"output {discarded + calls}"


@given(st.integers(1, 40), st.integers(0, 10), st.integers(1, 64), st.sampled_from([0.0, 4.0]))
def test_seconds_are_per_timed_call_and_faults_of_the_whole_batch(
    calls: int, discarded: int, eighths: int, sync_s: float
) -> None:
    call_s = eighths / 8  # exact in binary, as are its sums
    bench = Bench((1000.0,) * discarded + (call_s,), sync_s=sync_s)
    sample, _ = take_sample(bench.run, bench.sync, SamplingPlan(calls, discarded), bench.clock)
    assert sample.calls == calls
    assert sample.wall_s == pytest.approx(call_s + sync_s / calls, rel=1e-15)
    assert sample.cpu_s == pytest.approx(2 * call_s, rel=1e-15)
    assert sample.system_s == pytest.approx(call_s / 4, rel=1e-15)
    assert sample.minor_faults == 3 * calls


def test_a_run_that_raises_is_not_swallowed() -> None:
    def broken() -> None:
        raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        take_sample(broken, lambda: None, SamplingPlan(1, 0), Bench().clock)


def test_reading_the_other_clocks_is_in_no_samples_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly() -> float:
        time.sleep(0.02)
        return time.process_time()

    monkeypatch.setattr(sampling, "process_time", slowly)
    samples = [take_sample(lambda: None, lambda: None, SamplingPlan(1, 0))[0] for _ in range(5)]
    assert min(sample.wall_s for sample in samples) < 0.02


def test_the_systems_clocks_go_forward_and_count_the_processors_time() -> None:
    before = system_clock()
    total = sum(i * i for i in range(200_000))
    after = system_clock()
    assert total > 0
    assert after.wall_s > before.wall_s
    assert after.cpu_s > before.cpu_s
    assert after.system_s >= before.system_s
    assert after.minor_faults >= before.minor_faults


# --- settling ---------------------------------------------------------------------------------------------------------


def test_settling_ends_as_soon_as_calls_are_no_longer_faster() -> None:
    bench = Bench((5.0, 3.0, 2.0, 2.0, 2.0))
    assert warm_up(bench.run, bench.sync, 16.0, bench.clock) == 2.0
    assert bench.calls == 5


def test_settling_goes_on_after_a_call_that_was_not_faster() -> None:
    bench = Bench((5.0, 4.8, 3.0, 3.0, 2.0, 2.0, 2.0))
    assert warm_up(bench.run, bench.sync, 24.0, bench.clock) == 2.0


def test_settling_ends_at_its_limit_though_calls_still_get_faster() -> None:
    bench = Bench(tuple(0.8**i for i in range(60)))
    begin = bench.wall_s
    assert warm_up(bench.run, bench.sync, 4.0, bench.clock) == pytest.approx(0.8 ** (bench.calls - 1), rel=0.3)
    assert 4.0 <= bench.wall_s - begin < 6.0


def test_a_call_longer_than_the_limit_is_made_once() -> None:
    bench = Bench((30.0,))
    assert warm_up(bench.run, bench.sync, 4.0, bench.clock) == 30.0
    assert bench.calls == 1


@given(
    st.lists(st.floats(1e-6, 1), min_size=1, max_size=50), st.floats(1e-3, 2), st.floats(0, 1e-3), st.floats(0, 1e-3)
)
@settings(max_examples=80)
def test_settling_gives_the_time_of_some_call_and_begins_no_batch_after_its_limit(
    seconds: list[float], limit_s: float, reading_s: float, sync_s: float
) -> None:
    bench = Bench(tuple(seconds), reading_s=reading_s, sync_s=sync_s)
    overhead_s = 2 * reading_s + sync_s
    steady_s = warm_up(bench.run, bench.sync, limit_s, bench.clock)
    assert min(seconds) * (1 - 1e-3) <= steady_s <= (max(seconds) + overhead_s) * (1 + 1e-3)
    begin, last_batch = bench.readings[0], bench.readings[-3]
    assert last_batch - begin < limit_s + overhead_s


def test_short_calls_are_timed_in_batches_far_longer_than_a_reading() -> None:
    bench = Bench((1e-6,), reading_s=1e-6)
    steady_s = warm_up(bench.run, bench.sync, 0.05, bench.clock)
    assert steady_s == pytest.approx(1e-6, rel=0.01)
    assert bench.calls < 0.05 / 1e-6


def test_settling_ends_though_the_clock_stands_still() -> None:
    bench = Bench((0.0,))
    calls = [0]

    def run() -> None:
        calls[0] += 1
        assert calls[0] < 10_000_000, "this would go on for ever"

    assert warm_up(run, lambda: None, 0.05, bench.clock) == 0


# --- over several processes -------------------------------------------------------------------------------------------


def test_one_process_is_its_median_and_two_are_a_range() -> None:
    samples = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]
    assert estimate_over_processes([samples]) == estimate_median(samples)
    two = estimate_over_processes([samples, [4 * s for s in samples]])
    one, other = estimate_median(samples), estimate_median([4 * s for s in samples])
    assert two.median == pytest.approx(2 * one.median)  # the geometric mean
    assert (two.low, two.high, two.covers, two.interval) == (one.low, other.high, False, "range")


def test_the_interval_over_processes_covers_the_time_of_a_process_yet_to_come_where_one_over_rounds_does_not() -> None:
    """Processes differ by 2 %, rounds by 1 %: the mean over all processes is 1."""
    rng = np.random.default_rng(3)
    over_processes = over_rounds = 0
    repeats, m, n = 400, 5, 20
    for _ in range(repeats):
        logs = 0.02 * rng.normal(size=(m, 1)) + 0.01 * rng.normal(size=(m, n))
        found = estimate_over_processes(np.exp(logs).tolist())
        pooled = estimate_median(np.exp(logs).ravel().tolist())
        over_processes += found.low <= 1 <= found.high
        over_rounds += pooled.low <= 1 <= pooled.high
    assert over_processes / repeats > 0.92
    assert over_rounds / repeats < 0.7


def test_a_time_of_nothing_in_a_process_is_no_error() -> None:
    found = estimate_over_processes([[0.0] * 6, [1.0] * 6, [1.0] * 6])
    assert found.low <= found.median <= found.high
