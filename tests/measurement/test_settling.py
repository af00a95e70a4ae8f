"""A simulated machine: calls are slow after each switch, processes differ with heavy tails, and no time passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from test_engine import CASE, ScriptedWorker, Stage

from convbench.analysis.paired_ratio import ratio
from convbench.measurement.outcome import Outcome
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Sampled, TakeSample, Visit, Visited
from convbench.stats.process_variation import ProcessVariation
from convbench.status import Status
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of

SMALL = (1.27, 1.07, 1.03)
GATHERED = (2.0, 1.63, 1.38, 1.21, 1.13, 1.08, 1.04, 1.04)
STALLS_PER_S = 1
WEIGHTS = tuple(1 + np.exp(-i / 6) for i in range(20))


class SimulatedWorker(ScriptedWorker):
    """Calls take `call_s`, times the `transient` after a switch, noise, and the factor of this process."""

    transient: Sequence[float] = ()
    noise = 0.005
    factor = 1.0
    generator: np.random.Generator
    turn: list[str]
    """The worker that had the core last, shared by all of them."""

    def visit(self, request: Visit) -> Visited:
        return Visited(readings=self._readings(request.plan.all_calls, request.plan.calls_per_reading))

    def sample(self, request: TakeSample) -> Sampled:
        plan = request.plan
        readings = self._readings(plan.all_calls, plan.calls_per_reading)
        wall_s = fmean(readings[plan.discarded // plan.calls_per_reading :])
        return Sampled(sample=Sample(plan.calls, wall_s, wall_s, 0.0, 0), was_stopped=False, readings=readings)

    def _readings(self, calls: int, per_reading: int) -> tuple[float, ...]:
        after = np.ones(calls)
        if self.turn[0] != self.name:
            after[: len(self.transient)] = self.transient[:calls]
        self.turn[0] = self.name
        made = self.call_s * self.factor * after * np.exp(self.generator.normal(0, self.noise, calls))
        stalled = self.generator.random(calls) < STALLS_PER_S * self.call_s
        made += np.where(stalled, self.generator.uniform(0.001, 0.006, calls), 0.0)
        self.clock.now_s += made.sum()
        return tuple(made.reshape(-1, per_reading).mean(axis=1).tolist())


class SimulatedMachine(Stage):
    """An engine over simulated workers, whose processes differ by a factor that `draw_factor` draws."""

    def __init__(self, settings: Settings, seed: int, factor_scale: float = 0.0, **scripts: dict[str, Any]) -> None:
        super().__init__(settings, **{name: {} for name in scripts})
        generator, turn = np.random.default_rng(seed), [""]

        def start_worker(entry: Any, settings: Settings, slot: int) -> ScriptedWorker:
            script = scripts[entry.name.partition("#")[0]]
            worker = SimulatedWorker(entry.name, self.clock, self.log, call_s=script["call_s"])
            worker.transient, worker.generator, worker.turn = script.get("transient", ()), generator, turn
            worker.noise = script.get("noise", worker.noise)
            # Workers start in any order, so each has chances of its own.
            luck = np.random.default_rng([seed, *entry.name.encode()]).standard_t(4)
            worker.factor = float(np.exp(factor_scale / np.sqrt(2) * luck))
            self.workers.setdefault(entry.name, []).append(worker)
            return worker

        self.engine._pool._start_worker = start_worker

    def measure(self, case: Any = CASE) -> dict[str, Outcome]:
        outcomes = super().measure(case)
        assert all(outcome.status is Status.OK for outcome in outcomes.values()), outcomes
        return outcomes


def median_s(outcome: Outcome) -> float:
    assert outcome.estimate is not None
    return outcome.estimate.median


@pytest.mark.parametrize(
    ("call_s", "transient"),
    [
        (0.002, SMALL),
        (0.0025, GATHERED),
        (0.0022, WEIGHTS),
        (0.0002, WEIGHTS),
        (30e-6, GATHERED),
        (0.015, GATHERED[3:]),
    ],
)
def test_what_follows_a_switch_is_not_in_the_time(call_s: float, transient: Sequence[float]) -> None:
    script = {"call_s": call_s, "transient": transient}
    outcomes = SimulatedMachine(Settings(), 1, slow=script, steady={"call_s": 0.001}).measure()
    assert median_s(outcomes["slow"]) == pytest.approx(call_s, rel=0.01)
    assert median_s(outcomes["steady"]) == pytest.approx(0.001, rel=0.01)
    settling = outcomes["slow"].settling
    assert settling is not None and settling.reached
    assert settling.calls >= sum(value > 1.1 for value in transient)


def test_visits_are_short_where_nothing_settles_and_long_where_it_takes_long() -> None:
    outcomes = SimulatedMachine(
        Settings(), 2, quick={"call_s": 0.001}, slow={"call_s": 0.0022, "transient": WEIGHTS}
    ).measure()
    quick, slow = outcomes["quick"], outcomes["slow"]
    assert slow.settling is not None and slow.settling.visit_s > 0.04
    assert all(sample.sample.calls * 0.001 <= 0.012 for sample in quick.samples)
    assert all(sample.sample.calls >= slow.settling.calls / 2 for sample in slow.samples)


def test_a_backend_that_is_never_steady_says_so_in_its_record() -> None:
    endless = tuple(1 + np.exp(-i / 200) for i in range(2000))
    outcomes = SimulatedMachine(
        Settings(), 3, endless={"call_s": 0.001, "transient": endless}, steady={"call_s": 0.001}
    ).measure()
    records = {name: record_of(outcome, "r", "s", CheckoutState()) for name, outcome in outcomes.items()}
    assert "settling" in [hazard["hazard"] for hazard in records["endless"]["hazards"]]
    assert "settling" not in [hazard["hazard"] for hazard in records["steady"]["hazards"]]
    assert records["steady"]["settle_s"] is not None and records["steady"]["settling_s"] > 0


def test_a_backend_alone_has_nothing_to_settle() -> None:
    outcome = SimulatedMachine(Settings(), 4, alone={"call_s": 0.001, "transient": GATHERED}).measure()["alone"]
    assert outcome.settling is None
    assert median_s(outcome) == pytest.approx(0.001, rel=0.01)


def test_the_first_process_shows_how_the_others_settle() -> None:
    script = {"call_s": 0.0022, "transient": WEIGHTS}
    machine = SimulatedMachine(Settings(processes=4), 5, slow=script, steady={"call_s": 0.001})
    slow = machine.measure()["slow"]
    visited = [name for name, command, _ in machine.log if command == "visit" and name.startswith("slow")]
    assert visited.count("slow") > 3 and len(visited) < 1.5 * visited.count("slow")
    by_process = {sample.process: sample.sample.calls for sample in slow.samples}
    assert len(by_process) == 4 and len(set(by_process.values())) == 1
    assert median_s(slow) == pytest.approx(0.0022, rel=0.01)


def test_a_ratio_has_nothing_of_how_the_two_settle() -> None:
    scripts = {"a": {"call_s": 0.0025, "transient": GATHERED}, "b": {"call_s": 0.00255}}
    ratios = []
    for seed in range(20):
        outcomes = SimulatedMachine(Settings(), seed, **scripts).measure()
        ratios.append(median_s(outcomes["b"]) / median_s(outcomes["a"]))
    assert np.median(ratios) == pytest.approx(1.02, abs=0.003)
    assert max(ratios) - min(ratios) < 0.03


@pytest.mark.parametrize("scale", [0.004, 0.02])
def test_intervals_hold_the_time_of_the_next_process(scale: float) -> None:
    held = []
    for seed in range(60):
        earlier = (scale * np.random.default_rng(100 + seed).standard_t(4, 40)).tolist()
        variation = ProcessVariation().learned_from(earlier)
        script = {"call_s": 0.002, "transient": SMALL, "noise": 0.01}
        outcomes = SimulatedMachine(Settings(), seed, scale, a=script, b=script, c={"call_s": 0.001}).measure()
        for outcome in (outcomes["a"], outcomes["b"]):
            record = record_of(replace(outcome, variation=variation), "r", "s", CheckoutState())
            held.append(record["low_s"] <= 0.002 <= record["high_s"])
    assert np.mean(held) >= 0.9


def test_copies_are_visited_alike_so_that_a_thin_end_is_no_difference() -> None:
    thin_end = tuple(1 + 0.25 * np.exp(-i / 1.5) + 0.06 * np.exp(-i / 10) for i in range(60))
    script = {"call_s": 0.0021, "transient": thin_end, "noise": 0.012}
    scripts = {"a": script, "copy": script, "short": {"call_s": 0.0008}}
    settings = Settings(processes=3, fewest_rounds=4, most_rounds=4, precision=0.0)
    for seed in range(8):
        outcomes = SimulatedMachine(settings, seed, **scripts).measure()
        calls = {name: outcome.samples[0].sample.calls for name, outcome in outcomes.items()}
        assert abs(calls["a"] - calls["copy"]) <= 1 and calls["short"] * 0.0008 < 0.012
        assert median_s(outcomes["copy"]) / median_s(outcomes["a"]) == pytest.approx(1, abs=0.01)


def test_a_slow_down_of_two_percent_is_seen_over_processes_with_heavy_tails() -> None:
    settings = Settings(processes=10, fewest_rounds=6, most_rounds=6, precision=0.0)
    script = {"call_s": 0.002, "transient": SMALL, "noise": 0.01}
    scripts = {"a": script, "copy": script, "slowed": script | {"call_s": 0.00204}}
    seen, held = [], []
    for seed in range(20):
        outcomes = SimulatedMachine(settings, seed, 0.012, **scripts).measure()
        base, copy, slowed = (record_of(outcomes[name], "r", "s", CheckoutState()) for name in scripts)
        found, none = ratio(slowed, base), ratio(copy, base)
        assert found is not None and none is not None
        seen.append(found.low > 1)
        held.append(none.includes_one)
    assert np.mean(seen) >= 0.75 and np.mean(held) >= 0.9


def test_the_budget_holds_whatever_settles() -> None:
    settings = Settings(budget_s=1.0)
    scripts = {f"b{i}": {"call_s": 0.002, "transient": WEIGHTS, "noise": 0.05} for i in range(6)}
    machine = SimulatedMachine(settings, 6, **scripts)
    outcomes = machine.measure()
    spent_s = machine.clock.now_s
    settling_s = sum(outcome.settling.spent_s for outcome in outcomes.values() if outcome.settling)
    assert spent_s < 6 * (settings.budget_s + 1.0)
    assert settling_s < 0.4 * spent_s
