"""How well this machine can measure: watch it at rest, measure a backend against itself and on working sets in each
level of the memory, and judge all of it. What is learned of its processes is kept for later runs."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from convbench.analysis.diagnosis import (
    ClockError,
    LimitingFactor,
    clock_error,
    limiting_factor,
    process_hazards,
    takes_the_cpu,
)
from convbench.analysis.survey import Level, hazards_of_levels
from convbench.errors import BackendError, NothingMeasuredError, ResultsError
from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.hazards.of_machine import hazards_of_machine, hazards_of_timers
from convbench.measurement.hazards.of_samples import hazards_of_samples
from convbench.measurement.machine import state
from convbench.measurement.machine.clocks import Timer, timers
from convbench.measurement.machine.facts import machine_facts, machine_name
from convbench.measurement.outcome import RoundSample
from convbench.measurement.scheduling.aa_test import AAResult, compare_with_itself, settings_for
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, LoadFailure, discover
from convbench.runner.working_sets import examine_levels
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.stats.process_variation import ProcessVariation, variation_at
from convbench.stats.ragged import Ragged
from convbench.store.locations import machine_folder, results_folder
from convbench.store.process_pairs import NAME as PAIRS_FILE
from convbench.store.process_pairs import keep_pairs, kept_pairs, pair_here
from convbench.suite import Case


@dataclass(frozen=True)
class Effort:
    """How much to measure: seconds of rest, pairs of fresh processes, seconds of sampling for each of them, processes
    on the working sets, those of another backend `beside` them, and seconds for everything together. On a slow machine
    there are fewer pairs and working sets."""

    rest_s: float
    pairs: int
    sampling_s: float
    processes: int
    beside: int
    most_s: float


WHOLE = Effort(rest_s=1.0, pairs=6, sampling_s=1.0, processes=4, beside=2, most_s=45.0)
QUICK = Effort(rest_s=0.3, pairs=3, sampling_s=0.5, processes=2, beside=0, most_s=18.0)
_SHARE_OF_LEVELS = 0.55  # of the time; the rest is for the pairs

# The counters of the machine and the comparison itself see these better than single samples do.
_SEEN_BETTER = (Kind.LOAD, Kind.WAITING, Kind.SPREAD, Kind.STALLS, Kind.STOOD_STILL)


@dataclass(frozen=True)
class KeptPairs:
    """How many pairs of processes were kept in a file, for later runs to widen their intervals by."""

    count: int
    file: Path


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """With which work a machine was examined, and the result."""

    facts: dict[str, Any]
    threads: int
    backend: str
    case: str
    call_s: float
    rounds: tuple[int, ...]
    """By pair of fresh processes."""
    timers: tuple[Timer, Timer]
    machine_state: state.MachineState
    at_rest: state.MachineActivity
    meanwhile: state.MachineActivity
    wall: ClockError
    cpu: ClockError | None
    hazards: tuple[Hazard, ...]
    limit: LimitingFactor
    spread: float
    """Of the samples of a process: the standard deviation of their logarithms."""
    seconds: float
    levels: tuple[Level, ...] = ()
    """The working sets, from the innermost cache to main memory. Those that there was no time for are missing."""
    known_pairs: tuple[tuple[int, float], ...] = ()
    """Of two processes of one backend, in this examination and what was kept on the machine before: the bytes of the
    operands, and the logarithm of the ratio of their times."""
    kept: KeptPairs | None = None

    def variation(self, operand_bytes: int) -> ProcessVariation:
        """What is known now of between-process variation on this machine, for operands of so many bytes."""
        return variation_at(operand_bytes, self.known_pairs)

    @property
    def clocks(self) -> list[tuple[str, ClockError]]:
        """The wall clock, and the CPU clock if it says anything, each with its error."""
        return [("wall clock", self.wall), *([("CPU clock", self.cpu)] if self.cpu else [])]


def subject(backend: str, problem: str, plugins: Sequence[Path] = ()) -> tuple[Entry, Case]:
    """The backend and case to examine the machine with.

    Raises `BackendError` unless `backend` names one, `ProblemError` for a text that is no problem, and
    `NothingMeasuredError` if the backend cannot run here.
    """
    case = Case(ConvProblem.parse(problem))
    rows = discover(plugins).select([backend])
    if len(rows) > 1:
        names = ", ".join(row.name for row in rows)
        raise BackendError(f"--backend {backend!r} should name one backend, and matches {names}.")
    [row] = rows
    if (reason := row.unavailable()) or isinstance(row, LoadFailure):
        raise NothingMeasuredError(f"{row.name} cannot run here: {reason}")
    return row, case


def folder_for_pairs(results: Path | None) -> Path | None:
    """This machine's results folder; None where it cannot be written."""
    try:
        return machine_folder(results_folder(results), machine_name())
    except ResultsError:
        return None


def examine(
    entry: Entry,
    case: Case,
    threads: int,
    effort: Effort,
    advance: Callable[[], None] = lambda: None,
    folder: Path | None = None,
) -> Diagnosis:
    """Watch the machine at rest, measure `entry` on working sets and against itself, and judge all of it. `advance` is
    called after each pair and each working set. What is learned of processes is kept in `folder`, if one is given.

    Raises `NothingMeasuredError` when no pair can be measured.
    """
    begin = time.monotonic()
    settings = [settings_for(effort.sampling_s, threads, seed) for seed in range(effort.pairs)]
    machine, clocks, runs, start = state.machine_state(), timers(), state.other_runs(), state.counters()
    time.sleep(effort.rest_s)
    rested = state.counters()
    first = _measured(entry, case, settings[0], advance)
    at_rest = state.machine_activity(start, rested)
    # Beside other work, which makes processes differ anyway, there is time for few of them.
    survey = QUICK if takes_the_cpu(hazards_of_machine(machine, at_rest, threads)) else effort
    until_s = begin + _SHARE_OF_LEVELS * effort.most_s
    levels = tuple(examine_levels(entry, threads, survey.processes, survey.beside, until_s, advance))
    pairs = [first, *_further(entry, case, settings[1:], begin + effort.most_s, advance)]
    meanwhile = state.machine_activity(rested, state.counters())
    runs = tuple(sorted({*runs, *state.other_runs()}))
    processes = [samples for pair in pairs for samples in pair.samples]
    wall, cpu = _clock_errors(pairs)
    seen = [
        *hazards_of_machine(machine, meanwhile, threads, runs),
        *hazards_of_machine(machine, at_rest, threads),
        *hazards_of_timers(clocks, settings[0].sample_s),
        *_hazards_of_samples(processes, entry, threads),
    ]
    of_levels = hazards_of_levels(levels, disturbed=takes_the_cpu(seen))
    hazards = in_order([*seen, *process_hazards(wall, cpu, seen), *of_levels])
    walls = Ragged.of([[timed.sample.wall_s for timed in samples] for samples in processes])
    new_pairs = _pairs_of_processes(case, wall, levels)
    return Diagnosis(
        facts=machine_facts(),
        threads=threads,
        backend=entry.name,
        case=case.name,
        call_s=mean(pair.call_s for pair in pairs),
        rounds=tuple(len(pair.wall) for pair in pairs),
        timers=clocks,
        machine_state=machine,
        at_rest=at_rest,
        meanwhile=meanwhile,
        wall=wall,
        cpu=cpu,
        hazards=tuple(hazards),
        limit=limiting_factor(wall, cpu, hazards),
        spread=median(walls.log_spreads().tolist()),
        levels=levels,
        known_pairs=(*_known_before(folder, settings[0]), *new_pairs),
        kept=_keep(folder, settings[0], new_pairs),
        seconds=time.monotonic() - begin,
    )


def _clock_errors(pairs: Sequence[AAResult]) -> tuple[ClockError, ClockError | None]:
    """The error of the wall clock, and of the CPU clock where every pair has its times."""
    round_s = mean(pair.round_s for pair in pairs)
    cpus = [pair.cpu for pair in pairs if pair.cpu is not None]
    cpu = clock_error(cpus, round_s) if len(cpus) == len(pairs) else None
    return clock_error([pair.wall for pair in pairs], round_s), cpu


_Pairs = list[tuple[int, float]]  # bytes of the operands, logarithm of the ratio of two processes


def _pairs_of_processes(case: Case, wall: ClockError, levels: Sequence[Level]) -> _Pairs:
    """All pairs that were seen, of the same work against itself and on the working sets."""
    against_itself = [(case.problem.bytes, math.log(answer)) for answer in wall.answers]
    return against_itself + [(p.operand_bytes, log) for level in levels for p in level.backends for log in p.pairs]


def _known_before(folder: Path | None, settings: Settings) -> _Pairs:
    pairs = kept_pairs(folder, settings) if folder is not None else []
    return [(pair.operand_bytes, pair.log_ratio) for pair in pairs]


def _keep(folder: Path | None, settings: Settings, pairs: _Pairs) -> KeptPairs | None:
    if folder is None:
        return None
    keep_pairs(folder, [pair_here(settings, size, log) for size, log in pairs])
    return KeptPairs(len(pairs), folder / PAIRS_FILE)


def _measured(entry: Entry, case: Case, settings: Settings, advance: Callable[[], None]) -> AAResult:
    """A pair of fresh processes. Raises `NothingMeasuredError` where it cannot be measured."""
    pair = compare_with_itself(entry, case, settings)
    if len(pair.wall) < FEWEST_FOR_INTERVAL:
        raise NothingMeasuredError(f"{entry.name} on {case.name}: too few rounds were measured to judge by.")
    advance()
    return pair


def _further(
    entry: Entry, case: Case, settings: Sequence[Settings], until_s: float, advance: Callable[[], None]
) -> Iterator[AAResult]:
    """Further pairs, those that can be measured: one at least, and until `until_s` by the monotonic clock."""
    for number, settings_of_pair in enumerate(settings):
        if number and time.monotonic() > until_s:
            return
        with contextlib.suppress(NothingMeasuredError):
            yield _measured(entry, case, settings_of_pair, advance)


def _hazards_of_samples(processes: Iterable[Sequence[RoundSample]], entry: Entry, threads: int) -> Iterator[Hazard]:
    for samples in processes:
        rows = [{"load": timed.load, **asdict(timed.sample)} for timed in samples]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        hazards = hazards_of_samples(columns, threads=threads, device=entry.backend.device)
        yield from (hazard for hazard in hazards if hazard.kind not in _SEEN_BETTER)
