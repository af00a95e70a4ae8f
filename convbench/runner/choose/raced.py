"""An answer by measuring: all layers are raced, recorded as they are, and some of them once more."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.choice import LayerChoice, decide
from convbench.analysis.model_total import add_up
from convbench.analysis.roofline import Limits
from convbench.errors import ResultsError
from convbench.measurement.machine.facts import machine_facts, machine_name
from convbench.measurement.scheduling.case_run import declared
from convbench.measurement.scheduling.layer_history import Times
from convbench.measurement.scheduling.race import Race
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, Row, discover, versions
from convbench.reporting.console import stderr
from convbench.reporting.hazards import hazard_report
from convbench.reporting.numbers import count, duration
from convbench.reporting.progress import progress
from convbench.runner.choose.answer import Answer
from convbench.runner.choose.request import Request
from convbench.runner.interrupts import terminated_like_interrupted
from convbench.runner.session import Run
from convbench.status import Status
from convbench.store.ceilings import kept_ceilings
from convbench.store.journal import Journal, Record
from convbench.store.locations import machine_folder, results_folder
from convbench.store.matching_records import Conditions, earlier_records
from convbench.store.readings import number, problem_of
from convbench.suite import Case, Suite

_INTERRUPTED = 130


def raced(request: Request, suite: Suite) -> tuple[Answer, int, Sequence[RenderableType]]:
    """The answer by a race, the exit code of an interrupt or 0, and what is to be told of the measuring."""
    registry = discover(request.plugins)
    registry.defined_by(request.plugins)
    entries = registry.select(request.backends)
    there = sum(entry.unavailable() is None for entry in entries)
    results, settings = results_folder(request.results), request.settings()
    folder = machine_folder(results, machine_name())
    excluded = anything if request.lower_precision else like_for_like
    race = Race(known_times(folder, settings, entries), request.tie, request.max_regret, excluded)
    run = Run([settings], Journal.new(folder, f"choose-{suite.name}"), race=race)
    console, code, start = stderr(), 0, time.monotonic()
    layers = count(len(suite.cases), "layer", "layers")
    threads = count(settings.threads, "thread", "threads")
    each = f" in {settings.processes} processes each" if settings.processes > 1 else ""
    console.print(Text(f"{machine_facts()['cpu']}, {threads}; {layers}, {there} backends{each}"))
    decided = partial(_choices, request, suite, run)
    unwritten: ResultsError | None = None
    with run.journal, progress(console, suite.cases, plain=request.as_json) as shown, terminated_like_interrupted():
        try:
            for _ in run.measure(_heats(suite, run, race, decided, shown.expect), entries, shown):
                pass
        except KeyboardInterrupt:
            code = _INTERRUPTED
        except ResultsError as error:
            unwritten = error
    if unwritten is not None:
        raise unwritten
    took = f"{run.journal.written} records in {run.journal.path}, after {duration(time.monotonic() - start)}"
    took += f", {duration(run.starting_s)} of them to start the workers." if run.starting_s else "."
    took = took if code == 0 else f"Interrupted: {took} The answer is for what was measured."
    hazards = hazard_report(run.records, run.of_machine)
    to_tell = (Text(took),) if hazards is None else (hazards, Text(took))
    return request.answered(decided(), Limits(kept_ceilings(folder)), machine_name()), code, to_tell


def like_for_like(entry: Entry, problem: ConvProblem) -> str | None:
    """Why a backend that computes in a lower precision than asked for does not compete; None for the others."""
    precision = lower_precision({"declared": declared(entry.backend), "dtype": problem.dtype})
    return precision and f"computes in {precision}"


def anything(entry: Entry, problem: ConvProblem) -> None:
    """Every backend competes."""


def known_times(folder: Path, settings: Settings, entries: Sequence[Row]) -> Times:
    """Seconds a call by earlier records of this machine, with these settings and the versions that are installed."""
    installed = {entry.name: versions(entry.backend) for entry in entries if isinstance(entry, Entry)}
    conditions = Conditions(settings.threads, settings.allocator, settings.cache, machine_facts()["cpu"])
    found: dict[ConvProblem, dict[str, tuple[float, float]]] = {}
    for record in earlier_records(folder, conditions, whole=False):
        name = record["backend"]
        low_s, high_s = number(record, "low_s") or 0, number(record, "high_s") or 0
        if record["status"] != Status.OK or record.get("versions") != installed.get(name) or not 0 < low_s <= high_s:
            continue
        if (problem := problem_of(record)) is not None:
            found.setdefault(problem, {})[name] = low_s, high_s
    return found


def _heats(
    suite: Suite,
    run: Run,
    race: Race,
    decided: Callable[[], list[LayerChoice]],
    expect: Callable[[Sequence[Case]], None],
) -> Iterator[tuple[Suite, Case]]:
    """All layers, the smallest first, for what is far behind shows there at the least cost; then, once more, those that
    a wrong or broken backend spoilt, and those that one lacks who may be the best backend for all of them. Where that
    one may be the fastest, too, it is seen side by side with the others that may. `expect` is told of what comes
    besides."""
    for case in sorted(suite.cases, key=lambda case: case.problem.flops):
        yield suite, case
    first, heats = run.session, itertools.count(2)

    def heat(case: Case, backends: Iterable[str]) -> tuple[Suite, Case]:
        """Of these backends; rounds of another heat have no more than their numbers in common with its own."""
        run.session = f"{first}-{next(heats)}"
        race.forced[case.name] = frozenset(backends)
        return suite, case

    done = {(r["case"], r["backend"]): r for r in run.records}
    spoilt = [case for case in suite.cases if case.name in race.spoilt]
    expect(spoilt)
    for case in spoilt:
        again = {b for (name, b), r in done.items() if name == case.name and r["status"] == Status.OK}
        run.records = [r for r in run.records if r["case"] != case.name or r["backend"] not in again]
        yield heat(case, again)
    tried: set[str] = set()
    while len(suite.cases) > 1 and (found := add_up(decided()).contender()) is not None:
        backend, lacks = found
        if backend in tried:
            return
        tried.add(backend)
        lacking = [choice.case for choice in lacks]
        expect(lacking)
        for case in lacking:
            yield heat(case, {backend})
        for choice in decided():
            near = {timed.backend for timed in choice.ranked[:1]} | set(choice.level)
            if choice.case in lacking and backend in near and len(near) > 1:
                expect([choice.case])
                yield heat(choice.case, near)


def _choices(request: Request, suite: Suite, run: Run) -> list[LayerChoice]:
    by_case: dict[str, list[Record]] = {}
    for record in run.records:
        by_case.setdefault(record["case"], []).append(record)
    left_out: dict[str, dict[str, str]] = {}
    for (name, backend), why in (run.race.left_out if run.race else {}).items():
        left_out.setdefault(name, {})[backend] = why
    found = []
    for case in suite.cases:
        asked_here = {record["backend"] for record in by_case.get(case.name, ())}
        out = {b: why for b, why in left_out.get(case.name, {}).items() if b not in asked_here}
        mine, lower = by_case.get(case.name, ()), request.lower_precision
        found.append(decide(case, mine, request.tie, "measured", out, lower=lower))
    return found
