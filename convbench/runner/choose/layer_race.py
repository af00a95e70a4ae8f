"""An answer by measuring: the backends race on every layer, and on some layers once more."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from convbench.analysis.choice import LayerChoice, decide
from convbench.analysis.model_total import add_up
from convbench.measurement.machine.facts import machine_facts, machine_name
from convbench.measurement.scheduling.layer_history import Times
from convbench.measurement.scheduling.race import Race
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, Row, discover, versions
from convbench.runner.choose.answer import Answer, Request
from convbench.runner.choose.competitors import reason_against
from convbench.runner.observer import Observer
from convbench.runner.session import Measurements, Session, journal_folder
from convbench.status import Status
from convbench.store.journal import Journal
from convbench.store.locations import results_folder
from convbench.store.readings import number, problem_of, this_hardware
from convbench.store.records import Conditions, earlier_records
from convbench.store.schema import Record
from convbench.suite import Case, Suite

_MAX_REGRET = 0.05
"""A choice may be that much slower than the fastest before a noisy machine gets more rounds, unless a precision was
given."""


def answer_by_racing(request: Request, suite: Suite, observer: Observer) -> tuple[Answer, Measurements]:
    """Race the backends on the layers of `suite`; the answer is for as much as was measured."""
    registry = discover(request.plugins)
    registry.defined_by(request.plugins)
    rows, settings = registry.select(request.backends), request.caches.of_suite(suite, request.settings())
    machine = results_folder(request.results) / machine_name()
    if request.purpose is not None:  # other times than those of a run, so they are of a suite of their own
        suite = replace(suite, name=f"{suite.name}-applied")
    with journal_folder(request.results, keep=request.keep) as folder:
        known = known_times(machine, settings, rows)
        race = Race(
            known,
            request.tie,
            _MAX_REGRET if request.precision is None else 0.0,
            lambda entry, problem: reason_against(request, session.records, entry, problem),
        )
        journal = Journal.new(folder, f"choose-{suite.name}")
        session = Session([settings], journal, caches=request.caches, race=race, machine=machine, is_kept=request.keep)
        observer.message(_heading(suite, settings, rows))
        for sentence in request.caches.sentences([suite], settings):
            observer.message(sentence)
        observer.expect(suite.cases)
        decided = partial(_choices, request, suite, session, race)
        measurements = session.measure(_heats(suite, session, race, decided, observer), rows, observer)
    return Answer(request, tuple(decided()), measurements.limits, machine_name()), measurements


def known_times(folder: Path, settings: Settings, rows: Sequence[Row]) -> Times:
    """Seconds per call from earlier records in `folder`, with these settings and the versions that are installed."""
    installed = {row.name: versions(row.backend) for row in rows if isinstance(row, Entry)}
    conditions = Conditions.of(settings, this_hardware())
    times: dict[ConvProblem, dict[str, tuple[float, float]]] = {}
    for record in earlier_records(folder, conditions, whole=False):
        name = record["backend"]
        low_s, high_s = number(record, "low_s") or 0, number(record, "high_s") or 0
        if record["status"] != Status.OK or record.get("versions") != installed.get(name) or not 0 < low_s <= high_s:
            continue
        if (problem := problem_of(record)) is not None:
            times.setdefault(problem, {})[name] = low_s, high_s
    return times


def _heading(suite: Suite, settings: Settings, rows: Sequence[Row]) -> str:
    available = sum(row.unavailable() is None for row in rows)
    threads = f"{settings.threads} thread{'s' * (settings.threads != 1)}"
    layers = f"{len(suite.cases):,} layer{'s' * (len(suite.cases) != 1)}"
    each = f" in {settings.processes} processes each" if settings.processes > 1 else ""
    first = ", real-time priority" if settings.priority == "realtime" else ""
    return f"{machine_facts()['cpu']}, {threads}; {layers}, {available} backends{each}{first}"


def _heats(
    suite: Suite, session: Session, race: Race, decided: Callable[[], list[LayerChoice]], observer: Observer
) -> Iterator[tuple[Suite, Case]]:
    """All layers, the smallest first, because far-behind backends show there at the least cost. Then once more the
    layers that a wrong or broken backend spoilt, and the layers that a backend lacks although it may be the best one
    for all layers. When it may also be the fastest on such a layer, it races there against its rivals."""
    for case in sorted(suite.cases, key=lambda case: case.problem.flops):
        yield suite, case
    first_id, numbers = session.id, itertools.count(2)

    def heat(case: Case, backends: Iterable[str]) -> tuple[Suite, Case]:
        """A heat of these backends, as a session of its own: its rounds were not side by side with earlier ones."""
        session.id = f"{first_id}-{next(numbers)}"
        race.forced[case.name] = frozenset(backends)
        return suite, case

    status = {(r["case"], r["backend"]): r["status"] for r in session.records}
    spoilt = [case for case in suite.cases if case.name in race.spoilt]
    observer.expect(spoilt)
    for case in spoilt:
        right = {backend for (name, backend), s in status.items() if name == case.name and s == Status.OK}
        session.records = [r for r in session.records if r["case"] != case.name or r["backend"] not in right]
        yield heat(case, right)
    tried: set[str] = set()
    while len(suite.cases) > 1 and (contender := add_up(decided()).contender()) is not None:
        backend, choices = contender
        if backend in tried:
            return
        tried.add(backend)
        lacking = [choice.case for choice in choices]
        observer.expect(lacking)
        for case in lacking:
            yield heat(case, {backend})
        for choice in decided():
            near = {time.backend for time in choice.ranked[:1]} | set(choice.level)
            if choice.case in lacking and backend in near and len(near) > 1:
                observer.expect([choice.case])
                yield heat(choice.case, near)


def _choices(request: Request, suite: Suite, session: Session, race: Race) -> list[LayerChoice]:
    """The choice for each layer by what has been recorded so far."""
    records: dict[str, list[Record]] = {case.name: [] for case in suite.cases}
    left_out: dict[str, dict[str, str]] = {case.name: {} for case in suite.cases}
    for (name, backend), reason in race.left_out.items():
        left_out[name][backend] = reason
    for record in session.records:
        records[record["case"]].append(record)
        left_out[record["case"]].pop(record["backend"], None)
    lower = request.lower_precision
    return [decide(c, records[c.name], request.tie, "measured", left_out[c.name], lower=lower) for c in suite.cases]
