"""The doctor's survey of working sets, on simulated machines: what each kind of machine is told. No time passes."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_engine import CASE, ScriptedWorker
from test_settling import SMALL, SimulatedMachine

from convbench.analysis.survey import Level, Processes, hazards_of_levels
from convbench.measurement.ceilings.instruction_sets import instruction_sets
from convbench.measurement.hazards.catalogue import Hazard
from convbench.measurement.machine.facts import cpu_flags, memory_limit_bytes
from convbench.measurement.machine.topology import caches
from convbench.registry import Entry, discover
from convbench.reporting.machine import working_sets as shown
from convbench.runner.working_sets import (
    Deadline,
    WorkingSet,
    examine_levels,
    settings_for_survey,
    survey,
    working_sets,
)
from convbench.stats.process_variation import ProcessVariation, variation_at

SIXTY_MS = tuple(1 + np.exp(-i / 5) for i in range(30))  # of calls of 4 ms: within 5 % after 15 of them, 60 ms
SETS = [WorkingSet(name, CASE) for name in ("L1", "L2", "L3", "memory")]


class Machine(SimulatedMachine):
    """As its base, with the `factors` of a backend's processes given one by one."""

    def __init__(self, seed: int, factors: Sequence[float] = (), **scripts: dict[str, Any]) -> None:
        super().__init__(settings_for_survey(1), seed, **scripts)
        simulated = self.engine._pool._start_worker

        def start_worker(entry: Entry, *arguments: Any) -> Any:
            worker = simulated(entry, *arguments)
            name, _, number = entry.name.partition("#")
            if factors and name == self.entries[0].name:
                worker.factor = factors[int(number or 1) - 1]
            return worker

        self.engine._pool._start_worker = start_worker

    def surveyed(self, until_s: float = np.inf, sets: Sequence[WorkingSet] = SETS) -> list[Level]:
        backends = [(entry, 4 if number == 0 else 2) for number, entry in enumerate(self.entries)]
        deadline = Deadline(until_s, self.clock)
        self.engine._on_activity = deadline
        with self.engine as engine:
            return [
                Level(name=s.level, case=s.case.name, bytes=s.case.problem.bytes, read_per_s=None, backends=found)
                for s, found in survey(engine, sets, backends, deadline)
            ]


def hazards_by_name(levels: Sequence[Level], disturbed: bool = False) -> dict[str, Hazard]:
    return {str(hazard.kind): hazard for hazard in hazards_of_levels(levels, disturbed)}


def processes(levels: Sequence[Level], backend: str = "a") -> list[Processes]:
    return [p for level in levels for p in level.backends if p.backend == backend]


@pytest.mark.parametrize("seed", range(8))
def test_a_quiet_machine_is_told_nothing(seed: int) -> None:
    levels = Machine(seed, a={"call_s": 0.001, "transient": SMALL}, b={"call_s": 0.0008}).surveyed()
    assert [level.name for level in levels] == ["L1", "L2", "L3", "memory"]
    assert hazards_by_name(levels) == {}
    for p in processes(levels):
        assert p.is_steady and p.variation < 0.005
        assert p.call_s == pytest.approx(0.001, rel=0.02) and p.alone_s == pytest.approx(0.001)


def test_a_machine_with_a_way_back_of_60_ms_is_warned_about() -> None:
    levels = Machine(1, a={"call_s": 0.004, "transient": SIXTY_MS}, b={"call_s": 0.001}).surveyed()
    hazard = hazards_by_name(levels)["slow switch"]
    assert 45 <= hazard.figures["settle_ms"] <= 130
    assert all(p.excess is not None and 0.1 < p.excess < 0.6 for p in processes(levels))
    assert "after another process had the core, calls of a in" in hazard.sentence
    assert "--budget" in hazard.remedy
    assert hazards_by_name(levels, disturbed=True) == {}
    assert all(p.call_s == pytest.approx(0.004, rel=0.02) for p in processes(levels))
    assert all(p.settle_s is not None and p.settle_s < 0.01 for p in processes(levels, "b"))


def test_a_machine_whose_calls_never_settle_is_warned_about() -> None:
    endless = tuple(1 + np.exp(-i / 200) for i in range(2000))
    levels = Machine(2, a={"call_s": 0.001, "transient": endless}, b={"call_s": 0.001}).surveyed()
    assert "in all of a visit" in hazards_by_name(levels)["slow switch"].sentence
    assert "never" in [cell for line in shown.rows(levels, lambda size: ProcessVariation()) for cell in line]


def test_a_machine_whose_processes_differ_by_20_percent_is_warned_about_and_tells_less_apart() -> None:
    steady, varied = (
        Machine(3, factors, a={"call_s": 0.001}, b={"call_s": 0.001}).surveyed()
        for factors in ((), (1.0, 1.2, 0.85, 1.05))
    )
    hazard = hazards_by_name(varied)["processes differ"]
    assert hazard.figures["variation"] == pytest.approx(np.std(np.log([1.0, 1.2, 0.85, 1.05]), ddof=1), rel=0.1)
    assert "--processes 5" in hazard.remedy
    assert hazards_by_name(varied, disturbed=True).keys() == hazards_by_name(steady).keys() == set()

    def smallest(levels: Sequence[Level]) -> float:
        pairs = [(p.operand_bytes, log) for p in processes(levels) for log in p.pairs]
        variation = variation_at(CASE.problem.bytes, pairs)
        return max(shown.smallest_by_run(p, lambda size: variation) or np.inf for p in processes(levels))

    assert smallest(steady) < 0.03
    assert smallest(varied) > 0.15


def test_two_groups_of_processes_are_named() -> None:
    scripts = {"a": {"call_s": 0.001}, "b": {"call_s": 0.001}}
    levels = Machine(10, (1.0, 1.31, 1.0, 1.31), **scripts).surveyed()
    hazard = hazards_by_name(levels)["process groups"]
    assert hazard.figures["apart"] == pytest.approx(0.31, abs=0.02)
    assert "two groups, 31" in hazard.sentence.replace("30", "31")
    assert "--allocator steady" in hazard.remedy
    one_apart = Machine(10, (1.0, 1.31, 1.0, 1.0), **scripts).surveyed()
    assert "process groups" not in hazards_by_name(one_apart)


def test_noise_in_one_level_is_told_with_the_level_that_is_quiet() -> None:
    quiet, noisy = ({"call_s": 0.001, "noise": noise} for noise in (0.002, 0.3))
    levels = Machine(4, a=quiet, b=quiet).surveyed(sets=SETS[:1])
    levels += Machine(5, a=noisy, b=noisy).surveyed(sets=SETS[2:3])
    hazard = hazards_by_name(levels)["noisy level"]
    assert (hazard.figures["level"], hazard.figures["quiet_level"]) == ("L3", "L1")


def read_at(speeds: Mapping[str, float]) -> list[Level]:
    return [Level(name=name, case="c", bytes=1, read_per_s=1e9 * each, backends=()) for name, each in speeds.items()]


def test_a_last_cache_that_is_no_faster_than_memory_is_named() -> None:
    hazard = hazards_by_name(read_at({"L1": 300, "L2": 150, "L3": 18, "memory": 15}))["slow cache"]
    assert hazard.sentence == "reading from L3 reaches 18 GB/s, hardly more than from memory (15 GB/s)"
    assert "does not fit into L2" in hazard.remedy
    assert hazards_by_name(read_at({"L1": 300, "L2": 150, "L3": 60, "memory": 15})) == {}
    assert hazards_by_name(read_at({"L1": 300})) == hazards_by_name([]) == {}


def test_pairs_of_processes_are_apart_from_each_other_and_have_the_ratio_of_the_two() -> None:
    factors = (1.1, 1.0, 0.9, 1.0)
    levels = Machine(6, factors, a={"call_s": 0.001}, b={"call_s": 0.002}).surveyed(sets=SETS[:1])
    a, b = levels[0].backends
    assert a.pairs == pytest.approx((np.log(1.1), np.log(0.9)), abs=0.01)
    assert len(b.pairs) == 1 and b.pairs[0] == pytest.approx(0, abs=0.01)
    assert a.speeds == pytest.approx(tuple(np.log(factors) - np.log(factors).mean()), abs=0.01)


def test_the_deadline_ends_it_and_what_is_known_stays() -> None:
    scripts = {"a": {"call_s": 0.001}, "b": {"call_s": 0.001}}
    whole = Machine(7, **scripts)
    whole.surveyed(sets=SETS[:2])
    machine = Machine(7, **scripts)
    levels = machine.surveyed(until_s=whole.clock.now_s * 0.75)
    assert [level.name for level in levels] == ["L1"]
    assert all(not worker.alive for workers in machine.workers.values() for worker in workers)
    assert Machine(7, **scripts).surveyed(until_s=-1.0) == []


def test_a_backend_that_fails_on_a_working_set_is_left_out_there() -> None:
    machine = Machine(8, a={"call_s": 0.001}, b={"call_s": 0.001})
    started = machine.engine._pool._start_worker

    def start_worker(entry: Entry, *arguments: Any) -> Any:
        worker: ScriptedWorker = started(entry, *arguments)
        worker.wrong_at_the_end = entry.name.startswith("b")
        return worker

    machine.engine._pool._start_worker = start_worker
    with machine.engine as engine:
        ((_, found),) = survey(engine, SETS[:1], [(entry, 2) for entry in machine.entries], Deadline(np.inf))
    assert [p.backend for p in found] == ["a"]


def test_real_workers_are_surveyed_on_every_level_of_this_machine() -> None:
    (entry,) = discover(entry_points=False).select(["numpy-gemm"])
    assert isinstance(entry, Entry)
    expected = [each.level for each in working_sets(caches([0]), memory_limit_bytes())]
    advanced: list[None] = []
    levels = examine_levels(entry, 1, 2, 0, time.monotonic() + 600, lambda: advanced.append(None))
    assert [level.name for level in levels] == expected
    assert len(advanced) == len(expected) > 1
    for level in levels:
        (p,) = level.backends
        assert p.backend == "numpy-gemm" and len(p.speeds) == 2 and len(p.pairs) == 1
        assert p.call_s > 0 and p.spread.noise >= 0
        assert p.operand_bytes == level.bytes
    if instruction_sets(platform.machine(), cpu_flags()) and caches([0]):
        assert all(level.read_per_s for level in levels)
    assert examine_levels(entry, 1, 2, 0, time.monotonic() - 1) == []


sizes = st.lists(st.integers(14, 29).map(lambda n: 1 << n), min_size=1, max_size=4).map(sorted)


@given(sizes, st.integers(28, 42).map(lambda n: 1 << n))
def test_a_working_set_lies_in_its_level_and_not_in_the_one_inside(caches: Sequence[int], memory: int) -> None:
    found = working_sets({f"L{i}": size for i, size in enumerate(caches, 1)}, memory)
    bounds, inside = {}, 0
    for i, size in enumerate(caches, 1):
        bounds[f"L{i}"] = (inside, inside + size)
        inside += size
    bounds["memory"] = (inside, memory)
    assert [each.level for each in found] == [name for name in bounds if name in {each.level for each in found}]
    for each in found:
        low, high = bounds[each.level]
        assert low < each.case.problem.bytes <= high
        assert each.case.problem.flops < 1e9
        assert each.case.problem.bytes <= memory // 7


def test_without_known_caches_the_sizes_are_a_ladder_under_their_own_names() -> None:
    found = working_sets({}, 1 << 34)
    assert [each.level for each in found] == ["16 KiB", "256 KiB", "4 MiB", "64 MiB"]
    sizes = [each.case.problem.bytes for each in found]
    assert all(b / a > 8 for a, b in pairwise(sizes))


def test_the_table_fits_80_columns_and_json_has_every_figure(tmp_path: Path) -> None:
    levels = Machine(9, a={"call_s": 0.001, "transient": SMALL}, b={"call_s": 0.00001}).surveyed()
    first, *_ = shown.as_dicts(levels, lambda size: ProcessVariation())
    assert set(first) == {"level", "case", "bytes", "read_bytes_per_s", "backends"}
    a = first["backends"][0]
    assert a["backend"] == "a" and len(a["processes"]) == 4
    assert 0 < a["smallest_difference"]["in_10_s"] <= a["smallest_difference"]["run"] < 0.1
    rows = shown.rows(levels, lambda size: ProcessVariation())
    assert {len(row) for row in rows} == {5}
    assert rows[0] == ("", "L1", "L2", "L3", "memory")
    assert shown.rows([], lambda size: ProcessVariation()) == []
