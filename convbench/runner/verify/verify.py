"""Verification of many backends: a campaign for each, side by side where cores allow. What they find is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from convbench.errors import KnownWrongError, NothingMeasuredError, SuiteError
from convbench.files.user_file import real_path
from convbench.isa import NATIVE, Isa, isas_named, reason_without_switch
from convbench.measurement.environments.interpreters import OtherEnvironment, environments, select
from convbench.measurement.machine.facts import cpu_flags, machine_facts, machine_name, usable_cpus
from convbench.registry import Entry, LoadFailure, Registry, discover
from convbench.runner.selection import in_variants
from convbench.runner.verify.campaign import QUESTIONS_OF_A_CASE
from convbench.runner.verify.failure_reports import keep_report
from convbench.runner.verify.jobs import Jobs
from convbench.runner.verify.observer import VerifyObserver
from convbench.runner.verify.request import Request
from convbench.runner.verify.rows import Row, row_of_none
from convbench.runner.verify.workload import SWEPT, Workload
from convbench.status import Status
from convbench.store.corpus import add_to_corpus, corpus_file, read_corpus
from convbench.store.locations import machine_folder, results_folder
from convbench.store.verification_log import Event, VerificationLog, newest_log
from convbench.suite import load_suite
from convbench.suite.filter import where_it_holds
from convbench.verification.causes.known_entry import toml_text
from convbench.verification.known import KnownWrong, read_known
from convbench.verification.question import Question

_INTERRUPTED = 130
_NO_FAILURE = {Status.OK, Status.UNSUPPORTED, Status.UNAVAILABLE}  # an answer that never comes is one, when asked for
_PASSING = ("planned", "waiting")  # events that nothing can be resumed from
_FOR_THE_FILES = ("report", "entry")  # what a failure has that is written to files of its own


@dataclass(frozen=True)
class Verification:
    """What came of a request: a row for each backend, in the registry's order."""

    request: Request
    rows: tuple[Row, ...]
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 when every answer was right or, with `accept_known`, known to be wrong; 1, 3 or 130 otherwise."""
        if self.interrupted:
            return _INTERRUPTED
        accepted = [row for row in self.rows if self.request.accept_known and row.get("known")]
        answered = [row for row in self.rows if row["cases"] or not row.get("too_large")]
        statuses = {Status(row["status"]) for row in answered if row not in accepted}
        if statuses - _NO_FAILURE:
            return 1
        return 0 if accepted or Status.OK in statuses else NothingMeasuredError.exit_code


class EventSource(Protocol):
    """The campaigns under way; `Jobs` is one."""

    interrupted: bool

    def events(self) -> Iterator[tuple[str, Event]]:
        """(backend, event) as they come; for every backend that was begun the last one is its report."""


class ThisMachine:
    """Where campaigns run: here. A fleet of machines has a class with the same methods."""

    def unavailable(self, entry: Entry | LoadFailure) -> str | None:
        """Why a backend cannot run; None when it can."""
        return entry.unavailable()  # this takes no process to find out

    def at_once(self, request: Request) -> int:
        """How many campaigns run at once."""
        return request.jobs or max(1, usable_cpus() // request.threads)

    @property
    def heading(self) -> str:
        """Which machine it is."""
        machine = machine_facts()
        isa = f", {machine['vector_isa']}" if machine["vector_isa"] else ""
        return f"{machine['cpu']} ({machine['usable_cpus']} CPUs{isa})"

    def start(self, requests: Mapping[str, Mapping[str, Any]], at_once: int) -> EventSource:
        """Start a campaign for each request, by backend."""
        return Jobs(requests, at_once)


def verify_backends(
    request: Request, observer: VerifyObserver | None = None, hosts: ThisMachine | None = None
) -> Verification:
    """Verify what `request` says, on `hosts` (default: here). Raises `ConvbenchError` when that cannot be done."""
    observer, hosts = observer or VerifyObserver(), hosts or ThisMachine()
    others = environments(request.pythons)
    entries = _entries(request, others)
    isa = _check(request)
    results = results_folder(request.results)
    folder = machine_folder(results, machine_name())
    request, log, earlier = _log(folder, request, observer)
    rows = {name: row for name, events in earlier.items() if (row := _finished(events)) is not None}
    for entry in entries:
        if (reason := hosts.unavailable(entry)) is not None:
            rows[entry.name] = row_of_none(entry.name, Status.UNAVAILABLE, reason)
        elif isinstance(entry, Entry) and (reason := reason_without_switch(entry.backend, isa)):
            rows[entry.name] = row_of_none(entry.name, Status.UNSUPPORTED, reason)
    kept = {name: _kept(row, results, folder) for name, row in rows.items()}
    requests = {
        e.name: _job_request(request, e, results, earlier.get(e.name, []), isa)
        for e in entries
        if e.name not in kept and isinstance(e, Entry)
    }
    observer.message(f"{hosts.heading}{_heading(request, entries, log, len(kept))}")
    for row in kept.values():
        observer.row(row)
    at_once = min(hosts.at_once(request), max(1, len(requests)))
    observer.begin(_workload(request, tuple(requests), at_once))
    jobs = hosts.start(requests, at_once)
    try:
        with log:
            for name, event in jobs.events():
                if event["event"] not in _PASSING:
                    durable = event["event"] != "answered" or bool(event["finding"])
                    log.append({"backend": name, **event}, durable=durable)
                observer.event(name, event)
                if (last := _last_row(name, event)) is not None:
                    rows[name], kept[name] = last, _kept(last, results, folder)
                    observer.row(kept[name])
    finally:
        observer.end()
    if request.write_known is not None:
        _write_known(request.write_known, rows.values())
    return Verification(request, tuple(kept[e.name] for e in entries if e.name in kept), jobs.interrupted)


# --- what is asked ----------------------------------------------------------------------------------------------------


def _entries(request: Request, others: Sequence[OtherEnvironment]) -> Sequence[Entry | LoadFailure]:
    registry = discover(request.plugins)
    own = registry.defined_by(request.plugins)
    if own and not request.backends:  # a plugin is verified alone unless backends are named
        registry = Registry(tuple(own))
    return select(registry, others, request.backends)


def _check(request: Request) -> Isa | None:
    """Raise for what cannot be read, before any process starts. Returns the instruction set to hold libraries to."""
    if request.exact and not request.suites:
        raise SuiteError("--exact says how the cases of a suite are checked; give one, as in --suite smoke --exact.")
    loaded = [load_suite(name).over(request.dtypes) for name in request.suites]
    where_it_holds(in_variants(loaded, request.directions, request.epilogues), request.where)
    if any(request.epilogues) and request.directions not in ((), ("forward",)):
        raise SuiteError(f"--epilogue {request.epilogue} goes with --direction forward; gradients have no epilogue.")
    for text in request.questions:
        Question.parse(text)
    for path in request.known:
        read_known(path)
    target = request.write_known
    if target is not None and target.exists() and real_path(target) not in map(real_path, request.known):
        raise KnownWrongError(f"{target} exists; add to it with --known {target} as well, or give another name.")
    [isa] = isas_named([request.isa or NATIVE], machine_facts()["cpu"], cpu_flags())
    return isa


def _job_request(
    request: Request, entry: Entry, results: Path, earlier: Sequence[Event], isa: Isa | None
) -> dict[str, Any]:
    backend = entry.name
    answered = [event for event in earlier if event["event"] == "answered"]
    return request.as_json() | {
        "backend": backend,
        "of": entry.backend.name,
        "python": entry.python,
        # What it supports depends on them, and its process asks that before any worker does.
        "switches": dict(entry.backend.isa_switches[isa]) if isa is not None else {},
        "plugins": [str(real_path(path)) for path in request.plugins],
        "known": [str(real_path(path)) for path in request.known],
        "replay": [str(q) for q in read_corpus(corpus_file(results, backend))] if request.is_whole else [],
        "directions": request.directions,
        "dtypes": request.dtypes,
        "strength": request.strength if request.is_whole else 0,
        "search_time": request.search_time if request.is_whole else 0.0,
        "answered": [[e["phase"], e["question"], e["finding"], e.get("kind")] for e in answered],
        "seconds_before": max((event["seconds"] for event in answered), default=0.0),
        "searched_s": max((event["searched_s"] for event in answered), default=0.0),
    }


def _workload(request: Request, backends: tuple[str, ...], at_once: int) -> Workload:
    """What is known of it before any backend is asked."""
    chosen = [load_suite(name).over(request.dtypes).select(request.case_glob or "*") for name in request.suites]
    suites = where_it_holds(in_variants(chosen, request.directions, request.epilogues), request.where)
    questions = len(request.questions) + QUESTIONS_OF_A_CASE[request.exact] * sum(len(suite.cases) for suite in suites)
    if request.is_whole:
        of_epilogues = (None in request.epilogues) + any(request.epilogues)
        swept = SWEPT[request.strength] * max(1, len(request.directions), of_epilogues)
        return Workload(backends, at_once, swept, request.search_time)
    return Workload(backends, at_once, questions, 0.0)


def _heading(request: Request, entries: Sequence[Entry | LoadFailure], log: VerificationLog, done: int) -> str:
    """What is said after the machine, or the machines."""
    resumed = f"; resuming {log.path.name} ({done} of {len(entries)} backends need no more)" if request.resume else ""
    held = f", instruction sets up to {request.isa}" if request.isa not in (None, NATIVE) else ""
    return f"{held}, seed {request.seed}{resumed}"


# --- continuing an interrupted verification ---------------------------------------------------------------------------


def _log(
    folder: Path, request: Request, observer: VerifyObserver
) -> tuple[Request, VerificationLog, dict[str, list[Event]]]:
    """What to ask, the log to write to, and the events by backend that it has already."""
    if request.resume:
        # An earlier convbench may have begun it, by the same words.
        for meant in (request, request.as_was_meant_before()):
            if (newest := newest_log(folder, meant.identity())) is not None:
                path, events = newest
                by_backend: dict[str, list[Event]] = {}
                for event in events:
                    by_backend.setdefault(event["backend"], []).append(event)
                return meant, VerificationLog(path), by_backend
        observer.message("There is nothing to resume with these options; this starts anew.")
    return request, VerificationLog.new(folder, request.identity()), {}


def _finished(events: Sequence[Event]) -> Row | None:
    """The report of a backend whose campaign came to its own end."""
    rows = [event["row"] for event in events if event["event"] == "report"]
    return rows[-1] if rows and rows[-1]["complete"] else None


def _last_row(name: str, event: Event) -> Row | None:
    """The row of a backend with this event; None while its campaign goes on."""
    if event["event"] == "died":
        return row_of_none(name, Status.ERROR, event["reason"]) | {"complete": False}
    row: Row | None = event["row"] if event["event"] == "report" else None
    return row


# --- what is kept -----------------------------------------------------------------------------------------------------


def _kept(row: Row, results: Path, folder: Path) -> Row:
    """Add the failures to the corpus and write their reports; the row, with the files' paths for what is in them."""
    remarks, failures = [], []
    for failure in row["failures"]:
        remarks += [(Question.parse(text), failure["reason"]) for text in (failure["case"], *failure["found_by"])]
        path = keep_report(
            folder / "failures", f"{row['backend']} {failure['case']} {failure['check']}", failure["report"]
        )
        shown = {key: value for key, value in failure.items() if key not in _FOR_THE_FILES}
        failures.append(shown | {"report_file": str(path)})
    add_to_corpus(corpus_file(results, row["backend"]), remarks)
    return row | {"failures": failures}


def _write_known(path: Path, rows: Iterable[Row]) -> None:
    """Add an entry for each new cause to the file. Raises `KnownWrongError` when it cannot be written."""
    entries = [
        msgspec.convert(failure["entry"], KnownWrong)
        for row in rows
        for failure in row["failures"]
        if failure.get("entry") is not None
    ]
    head = "" if path.exists() else "# Known wrong answers, for convbench verify --known; docs/reading-a-failure.md.\n"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{head}\n{toml_text(entries)}" if entries or head else "")
    except OSError as error:
        raise KnownWrongError(f"{path} cannot be written: {error.strerror or error}.") from None
