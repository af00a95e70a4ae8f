"""How well this machine can measure: watch it at rest, measure a backend against itself, and judge both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from convbench.analysis.diagnosis import ClockError, LimitingFactor, clock_error, limiting_factor, process_hazards
from convbench.errors import BackendError, NothingMeasuredError
from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.hazards.of_machine import hazards_of_machine, hazards_of_timers
from convbench.measurement.hazards.of_samples import hazards_of_samples
from convbench.measurement.machine import state
from convbench.measurement.machine.clocks import Timer, timers
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.outcome import RoundSample
from convbench.measurement.scheduling.aa_test import AAResult, compare_with_itself, settings_for
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, LoadFailure, discover
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.stats.ragged import Ragged
from convbench.suite import Case


@dataclass(frozen=True)
class Effort:
    """How much to measure: seconds of rest, pairs of fresh processes, and seconds of sampling for each process."""

    rest_s: float
    pairs: int
    sampling_s: float


WHOLE = Effort(rest_s=1.0, pairs=6, sampling_s=1.5)
QUICK = Effort(rest_s=0.3, pairs=3, sampling_s=0.7)

# The counters of the machine and the comparison itself see these better than single samples do.
_SEEN_BETTER = (Kind.LOAD, Kind.WAITING, Kind.SPREAD, Kind.STALLS, Kind.STOOD_STILL)


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


def examine(
    entry: Entry, case: Case, threads: int, effort: Effort, advance: Callable[[], None] = lambda: None
) -> Diagnosis:
    """Watch the machine at rest, measure `entry` against itself, and judge both. `advance` is called after each pair.

    Raises `NothingMeasuredError` when no pair can be measured.
    """
    begin = time.monotonic()
    settings = [settings_for(effort.sampling_s, threads, seed) for seed in range(effort.pairs)]
    machine, clocks, runs, start = state.machine_state(), timers(), state.other_runs(), state.counters()
    time.sleep(effort.rest_s)
    rested = state.counters()
    pairs = _measured(entry, case, settings, advance)
    at_rest, meanwhile = state.machine_activity(start, rested), state.machine_activity(rested, state.counters())
    runs = tuple(sorted({*runs, *state.other_runs()}))
    processes = [samples for pair in pairs for samples in pair.samples]
    round_s = mean(pair.round_s for pair in pairs)
    wall = clock_error([pair.wall for pair in pairs], round_s)
    cpus = [pair.cpu for pair in pairs if pair.cpu is not None]
    cpu = clock_error(cpus, round_s) if len(cpus) == len(pairs) else None
    hazards = in_order(
        [
            *hazards_of_machine(machine, meanwhile, threads, runs),
            *hazards_of_machine(machine, at_rest, threads),
            *hazards_of_timers(clocks, settings[0].sample_s),
            *_hazards_of_samples(processes, entry, threads),
        ]
    )
    hazards = in_order([*hazards, *process_hazards(wall, cpu, hazards)])
    walls = Ragged.of([[timed.sample.wall_s for timed in samples] for samples in processes])
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
        seconds=time.monotonic() - begin,
    )


def _measured(entry: Entry, case: Case, settings: Sequence[Settings], advance: Callable[[], None]) -> list[AAResult]:
    """The pairs that could be measured. Raises `NothingMeasuredError` without any."""
    pairs: list[AAResult] = []
    failure = NothingMeasuredError(f"{entry.name} on {case.name}: too few rounds were measured to judge by.")
    for settings_of_pair in settings:
        try:
            pair = compare_with_itself(entry, case, settings_of_pair)
            if len(pair.wall) >= FEWEST_FOR_INTERVAL:
                pairs.append(pair)
        except NothingMeasuredError as error:
            failure = error
            if not pairs:
                break
        advance()
    if not pairs:
        raise failure
    return pairs


def _hazards_of_samples(processes: Iterable[Sequence[RoundSample]], entry: Entry, threads: int) -> Iterator[Hazard]:
    for samples in processes:
        rows = [{"load": timed.load, **asdict(timed.sample)} for timed in samples]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        hazards = hazards_of_samples(columns, threads=threads, device=entry.backend.device)
        yield from (hazard for hazard in hazards if hazard.kind not in _SEEN_BETTER)
