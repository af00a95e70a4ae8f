"""`convbench doctor`: how well this machine can measure, in half a minute, and what to do to make it better."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from convbench.analysis.diagnosis import DURATIONS_S, PROCESSES, ClockError, clock_error, limit, process_variation
from convbench.analysis.drift import smallest_between_runs
from convbench.errors import BackendError, NothingMeasuredError
from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.hazards.of_machine import hazards_of_machine, hazards_of_timers
from convbench.measurement.hazards.of_samples import hazards_of_samples
from convbench.measurement.machine.clocks import timers
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.machine.state import counters, machine_activity, machine_state, other_runs
from convbench.measurement.scheduling.aa_test import AAResult, compare_with_itself, settings_for
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, LoadFailure, discover
from convbench.reporting.console import print_json, stderr, stdout
from convbench.reporting.machine.doctor import Examined, report, verdict
from convbench.stats.estimates import CONFIDENCE, FEWEST_FOR_INTERVAL
from convbench.stats.minimum_detectable_effect import POWER
from convbench.stats.ragged import Ragged
from convbench.suite import Case


@dataclass(frozen=True)
class Request:
    """The command as it was given."""

    backend: str
    problem: str
    threads: int = 1
    quick: bool = False
    as_json: bool = False
    plugins: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Effort:
    """How much is done: seconds of looking on at rest, pairs of fresh processes, and seconds of sampling of each."""

    rest_s: float
    pairs: int
    sampling_s: float


WHOLE = Effort(rest_s=1.0, pairs=6, sampling_s=1.5)
QUICK = Effort(rest_s=0.3, pairs=3, sampling_s=0.7)

# What these tell of, the counters and the comparison tell better.
_SEEN_BETTER = (Kind.LOAD, Kind.WAITING, Kind.SPREAD, Kind.STALLS, Kind.STOOD_STILL)


def examine_machine(request: Request) -> int:
    """Examine the machine and show what was found; gives the exit code. Raises `NothingMeasuredError` where nothing can
    be measured, `BackendError` and `ProblemError` for what is not there."""
    entry, case = _backend(request), Case(ConvProblem.parse(request.problem))
    examined = examine(entry, case, request.threads, QUICK if request.quick else WHOLE)
    if request.as_json:
        print_json([as_dict(examined)])
    else:
        stdout().print(report(examined))
    return 0


def examine(entry: Entry, case: Case, threads: int, effort: Effort) -> Examined:
    """Look on at rest, then measure `entry` against itself, and judge both."""
    begin = time.monotonic()
    settings = [settings_for(effort.sampling_s, threads, seed) for seed in range(effort.pairs)]
    state, clocks, runs, start = machine_state(), timers(), other_runs(), counters()
    with _progress(entry, effort.pairs) as advance:
        time.sleep(effort.rest_s)
        rested = counters()
        twins = _pairs(entry, case, settings, advance)
        end = counters()
        runs = tuple(sorted({*runs, *other_runs()}))
    at_rest, meanwhile = machine_activity(start, rested), machine_activity(rested, end)
    round_s = mean(pair.round_s for pair in twins)
    wall = clock_error([pair.wall for pair in twins], round_s)
    cpus = [pair.cpu for pair in twins if pair.cpu is not None]
    cpu = clock_error(cpus, round_s) if len(cpus) == len(twins) else None
    hazards = in_order(
        [
            *hazards_of_machine(state, meanwhile, threads, runs),
            *hazards_of_machine(state, at_rest, threads),
            *hazards_of_timers(clocks, settings[0].sample_s),
            *_hazards_of_twins(twins, entry, threads),
        ]
    )
    hazards = in_order([*hazards, *process_variation(wall, cpu, hazards)])
    return Examined(
        facts=machine_facts(),
        threads=threads,
        backend=entry.name,
        case=case.name,
        call_s=mean(pair.call_s for pair in twins),
        rounds=tuple(len(pair.wall) for pair in twins),
        timers=clocks,
        machine_state=state,
        at_rest=at_rest,
        meanwhile=meanwhile,
        wall=wall,
        cpu=cpu,
        hazards=tuple(hazards),
        limit=limit(wall, cpu, hazards),
        spread=_spread(twins),
        seconds=time.monotonic() - begin,
    )


def as_dict(examined: Examined) -> dict[str, Any]:
    """All of it, JSON-ready; shares are not in percent."""
    clocks = {"wall": examined.wall} | ({"cpu": examined.cpu} if examined.cpu else {})
    limiting = examined.limit.hazard
    return {
        "machine": examined.facts,
        "threads": examined.threads,
        "backend": examined.backend,
        "case": examined.case,
        "call_s": examined.call_s,
        "rounds": list(examined.rounds),
        "timers": [asdict(timer) for timer in examined.timers],
        "standing": asdict(examined.machine_state),
        "at_rest": asdict(examined.at_rest),
        "meanwhile": asdict(examined.meanwhile),
        "confidence": CONFIDENCE,
        "power": POWER,
        "clocks": {name: _clock_dict(clock) for name, clock in clocks.items()},
        "between_runs": {
            "spread": examined.spread,
            "alone": smallest_between_runs(examined.spread, beside_others=False),
            "beside_others": smallest_between_runs(examined.spread, beside_others=True),
        },
        "hazards": [h.as_dict() | {"sentence": h.sentence, "remedy": h.remedy} for h in examined.hazards],
        "limit": str(limiting.kind) if limiting else None,
        "verdict": verdict(examined),
        "elapsed_s": examined.seconds,
    }


def _spread(twins: Sequence[AAResult]) -> float:
    """How far the samples of a process lie apart, in the median of all processes."""
    processes = [samples for pair in twins for samples in pair.samples]
    rows = Ragged.of([[taken.sample.wall_s for taken in samples] for samples in processes])
    spreads: list[float] = rows.log_spreads().tolist()
    return median(spreads)


def _clock_dict(clock: ClockError) -> dict[str, Any]:
    return {
        "typical_error": clock.typical,
        "worst_error": clock.worst,
        "ratios": list(clock.answers),
        "intervals_with_one": clock.covered,
        "noise": clock.spread.noise,
        "luck": clock.spread.luck,
        "round_s": clock.round_s,
        "smallest_difference": [
            {"seconds": seconds, "processes": processes, "share": clock.smallest_difference(seconds, processes)}
            for processes in PROCESSES
            for seconds in DURATIONS_S
        ],
    }


def _backend(request: Request) -> Entry:
    found = discover(request.plugins).select([request.backend])
    if len(found) > 1:
        names = ", ".join(entry.name for entry in found)
        raise BackendError(f"--backend {request.backend!r} should name one backend, and matches {names}.")
    [row] = found
    if (reason := row.unavailable()) or isinstance(row, LoadFailure):
        raise NothingMeasuredError(f"{row.name} cannot run here: {reason}")
    return row


def _pairs(entry: Entry, case: Case, settings: Sequence[Settings], advance: Any) -> list[AAResult]:
    """The pairs that could be measured. Raises `NothingMeasuredError` when it was none."""
    found: list[AAResult] = []
    failed: NothingMeasuredError | None = None
    for one in settings:
        try:
            twins = compare_with_itself(entry, case, one)
            if len(twins.wall) >= FEWEST_FOR_INTERVAL:
                found.append(twins)
        except NothingMeasuredError as error:
            failed = error
            if not found:
                break
        advance()
    if not found:
        raise failed or NothingMeasuredError(f"{entry.name} on {case.name}: too few rounds were measured to judge by.")
    return found


def _hazards_of_twins(twins: Sequence[AAResult], entry: Entry, threads: int) -> Iterator[Hazard]:
    device = entry.backend.device
    for pair in twins:
        for taken in pair.samples:
            rows = [{"load": s.load, **asdict(s.sample)} for s in taken]
            columns = {name: [row[name] for row in rows] for name in rows[0]}
            found = hazards_of_samples(columns, threads=threads, device=device)
            yield from (hazard for hazard in found if hazard.kind not in _SEEN_BETTER)


@contextmanager
def _progress(entry: Entry, pairs: int) -> Iterator[Any]:
    """A bar on a terminal, else a line. On standard error."""
    console = stderr()
    told = f"Measuring {entry.name} against itself in {pairs} pairs of fresh processes"
    if not console.is_terminal:
        console.print(Text(told + " ..."))
        yield lambda: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(told, total=pairs)
        yield lambda: bar.advance(task)
