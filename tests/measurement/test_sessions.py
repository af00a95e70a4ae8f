"""A simulated machine over several sessions: its times drift, its processes differ with heavy tails, and the stated
intervals hold what another session measures. No time passes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from test_settling import SMALL, SimulatedMachine, SimulatedWorker

from convbench.analysis.backend_times import ratio_of_times, time_by
from convbench.analysis.paired_ratio import ratio
from convbench.measurement.hazards.catalogue import Kind
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.scheduling.revisits import SHARE
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Prepare, Prepared
from convbench.problem import ConvProblem
from convbench.runner.variation import LearnedVariation
from convbench.stats.session_drift import EXPECTED
from convbench.status import Status
from convbench.store.locations import CheckoutState
from convbench.store.process_pairs import keep_pairs, pair_here
from convbench.store.records import record_of
from convbench.store.schema import Record
from convbench.store.session_times import kept_times
from convbench.suite import Case

CASES = [Case(ConvProblem.parse(f"n1c{c}h8w8_o4k3_p1")) for c in (2, 3, 4)]
MANY_CASES = [Case(ConvProblem.parse(f"n1c{c}h8w8_o4k3_p1")) for c in range(2, 26)]
BACKENDS = {"a": 0.002, "b": 0.0017, "c": 0.001}
PROCESSES = 0.006
SETTINGS = Settings(self_check=True)
CHANGES_S = 1.5
"""How long the machine stays as it is."""


class DriftingWorker(SimulatedWorker):
    """Its calls take as many times longer as the machine is slower at that moment."""

    machine: DriftingMachine

    def prepare(self, request: Prepare) -> Prepared:
        return replace(super().prepare(request), prepare_s=0.001)

    def _readings(self, calls: int, per_reading: int) -> tuple[float, ...]:
        level = self.machine.level()
        return tuple(level * reading for reading in super()._readings(calls, per_reading))


class DriftingMachine(SimulatedMachine):
    """One session of a machine whose speed moves by `drift`, as the scale of the logarithm of the ratio of two moments:
    half of its variance is that of the session, the rest that of the moment. `slower` is a bad session's factor."""

    def __init__(self, session: int, seed: int, drift: float, slower: float = 1.0) -> None:
        script: dict[str, Any] = {name: {"call_s": s, "transient": SMALL} for name, s in BACKENDS.items()}
        super().__init__(SETTINGS, 1000 * seed + session, PROCESSES, **script)
        self._chances = np.random.default_rng([seed, session])
        self._scale = drift / 2
        self._session = slower * self._move()
        self._levels: dict[int, float] = defaultdict(self._move)
        start_simulated = self.engine._pool._start_worker

        def start_worker(entry: Any, settings: Settings, slot: int) -> Any:
            worker = start_simulated(entry, settings, slot)
            worker.__class__, worker.machine = DriftingWorker, self
            return worker

        self.engine._pool._start_worker = start_worker

    def _move(self) -> float:
        return float(np.exp(self._scale * self._chances.standard_t(4)))

    def level(self) -> float:
        return self._session * self._levels[int(self.clock.now_s / CHANGES_S)]


def session(folder: Path, machine: DriftingMachine, number: int, cases: Sequence[Case] = CASES) -> list[Record]:
    """The records of a session, which learns from what lies in the folder and adds to it."""
    variation = LearnedVariation(f"session {number}", folder, folder)
    records = []
    with machine.engine as engine:
        for case in cases:
            outcomes: list[Outcome] = list(engine.measure("test", case, machine.entries))
            variation.learn_pair(outcomes[0])
            included = [variation.included(outcome) for outcome in outcomes]
            records += [record_of(outcome, "run", f"session {number}", CheckoutState()) for outcome in included]
            variation.learn_times(included)
            variation.learn_revisits(engine.revisit())
    return records


def chain(folder: Path, seed: int, sessions: int, drift: float, slower: float = 1.0) -> list[list[Record]]:
    """Sessions of one machine, the first of which is slower by this factor."""
    return [
        session(folder, DriftingMachine(number, seed, drift, 1.0 if number else slower), number)
        for number in range(sessions)
    ]


def other_times(seed: int, drift: float, count: int = 200) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What other sessions measure, in other processes, over the time that a call takes typically."""
    luck, of_session, of_moment = np.random.default_rng(seed).standard_t(4, (3, count))
    return np.exp(PROCESSES / np.sqrt(2) * luck + drift / 2 * (of_session + of_moment))


def held(records: list[Record], seed: int, drift: float) -> float:
    """In how many of the pairs of a record and another session the interval holds what that measures."""
    ratios = other_times(seed, drift)
    shares = []
    for record in records:
        low, high = (float(record[end] or 0) / BACKENDS[record["backend"]] for end in ("low_s", "high_s"))
        shares.append(np.mean((low <= ratios) & (ratios <= high)))
    return float(np.mean(shares))


def width(records: list[Record]) -> float:
    return median(float(np.log((record["high_s"] or 0) / (record["low_s"] or 1))) for record in records)


DRIFT = 0.012
SESSIONS = 11


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> list[list[list[Record]]]:
    return [chain(tmp_path_factory.mktemp("machine"), seed, SESSIONS, DRIFT) for seed in range(8)]


@pytest.mark.parametrize("earlier", [0, 1, 3, 10])
def test_intervals_hold_what_another_session_measures(earlier: int, chains: list[list[list[Record]]]) -> None:
    shares = [held(sessions[earlier], seed, DRIFT) for seed, sessions in enumerate(chains)]
    assert np.mean(shares) >= 0.92


def test_on_a_steady_machine_intervals_become_narrow(tmp_path: Path) -> None:
    sessions = chain(tmp_path, 20, 6, 0.001)
    assert width(sessions[-1]) < 0.7 * width(sessions[0])
    assert held(sessions[-1], 20, 0.001) >= 0.92


def test_one_bad_session_and_one_bad_pair_count_little(tmp_path: Path, chains: list[list[list[Record]]]) -> None:
    keep_pairs(tmp_path, [pair_here(SETTINGS, CASES[0].problem.bytes, 0.5)])
    sessions = chain(tmp_path, 0, SESSIONS, DRIFT, slower=1.5)
    assert width(sessions[-1]) < 2 * width(chains[0][-1])


def test_a_run_learns_from_the_cases_that_it_comes_back_to(tmp_path: Path) -> None:
    records = session(tmp_path, DriftingMachine(0, 30, 0.06), 0, MANY_CASES)
    first, last = records[: len(BACKENDS)], records[-len(BACKENDS) :]
    assert [record["session_drift"] for record in first] == [{"scale": EXPECTED, "pairs": 0}] * len(first)
    assert width(last) > 1.3 * width(first)
    visits = [times.visit for times in kept_times(tmp_path, SETTINGS)]
    assert visits.count(0) == len(MANY_CASES) and max(visits) >= 1


def test_coming_back_takes_a_small_share_of_a_run(tmp_path: Path) -> None:
    machine = DriftingMachine(0, 31, 0.01)
    session(tmp_path, machine, 0, MANY_CASES)
    times = kept_times(tmp_path, SETTINGS)
    assert any(each.visit for each in times)
    assert machine.engine._revisits._spent_s < 1.5 * SHARE * machine.clock.now_s


def test_ratios_within_a_session_do_not_contain_what_all_times_drift_by(chains: list[list[list[Record]]]) -> None:
    records = {record["backend"]: record for record in chains[0][0] if record["case"] == CASES[0].name}
    paired = ratio(records["a"], records["b"])
    assert paired is not None
    assert paired.high / paired.low < math.exp(0.6 * width(list(records.values())))
    alone = [time_by({**records[name], "samples": {}}) for name in "ab"]  # type: ignore[typeddict-item]
    assert alone[0] is not None and alone[1] is not None
    unpaired = ratio_of_times(alone[0], alone[1])
    assert unpaired.high / unpaired.low < math.exp(0.8 * width(list(records.values())))


def test_a_machine_that_drifts_by_more_than_the_precision_says_so(tmp_path: Path) -> None:
    assert hazards_of(tmp_path, 9) == []
    chain(tmp_path, 40, 9, 0.04)
    assert hazards_of(tmp_path, 9) == [Kind.DRIFT]
    assert hazards_of(tmp_path, 9, replace(SETTINGS, precision=0.9)) == []


def hazards_of(folder: Path, number: int, settings: Settings = SETTINGS) -> list[Kind]:
    """Of a further session, which times one backend."""
    samples = tuple(RoundSample(round_, 0.0, Sample(10, 0.002, 0.002, 0.0, 0)) for round_ in range(6))
    timed = Outcome(suite="s", case=CASES[0], backend="a", status=Status.OK, settings=settings, samples=samples)
    variation = LearnedVariation(f"session {number}", folder)
    variation.learn_times([timed])
    return [hazard.kind for hazard in variation.hazards()]


def test_two_groups_of_processes_are_a_hazard(tmp_path: Path) -> None:
    chain(tmp_path, 50, 1, 0.001)
    pairs = [0.001, -0.003, 0.3, 0.002, -0.301, 0.299, -0.002, 0.001, -0.3, 0.3, 0.001, 0.002]
    keep_pairs(tmp_path, [pair_here(SETTINGS, CASES[0].problem.bytes, log) for log in pairs])
    assert Kind.PROCESS_GROUPS in hazards_of(tmp_path, 1)


def test_two_groups_among_the_processes_of_a_backend_are_in_its_record() -> None:
    sample = Sample(10, 0.001, 0.001, 0.0, 0)
    levels = [0.001, 0.00131, 0.001002, 0.001309, 0.000999, 0.001312, 0.001001, 0.001311]
    for apart, expected in ((True, ["process groups"]), (False, [])):
        walls = levels if apart else levels[::2]
        samples = [
            RoundSample(round_, 0.0, replace(sample, wall_s=wall), process)
            for round_ in range(6)
            for process, wall in enumerate(walls)
        ]
        outcome = Outcome(
            suite="s", case=CASES[0], backend="a", status=Status.OK, settings=SETTINGS, samples=tuple(samples)
        )
        record = record_of(outcome, "run", "session", CheckoutState())
        kinds = [hazard["hazard"] for hazard in record["hazards"]]
        assert [kind for kind in kinds if kind == "process groups"] == expected
