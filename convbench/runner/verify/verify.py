"""`convbench verify`: a campaign per backend, side by side where cores allow; what they find is kept and shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from convbench.errors import NothingMeasuredError, ResultsError, SuiteError
from convbench.measurement.machine.facts import machine_facts, machine_name, usable_cpus
from convbench.registry import Row as RegistryRow
from convbench.registry import discover
from convbench.reporting.console import print_json, show_journal_warnings, stderr, stdout
from convbench.reporting.verification_progress import progress
from convbench.reporting.verification_tables import verification_report
from convbench.runner.verify.jobs import Jobs
from convbench.runner.verify.rows import Row, row_of_none
from convbench.status import Status
from convbench.store.corpus import add_to_corpus, corpus_file, read_corpus
from convbench.store.locations import machine_folder, results_folder
from convbench.store.verification_log import Event, VerificationLog, newest_log
from convbench.suite import load_suite
from convbench.suite.filter import where_it_holds
from convbench.verification.question import Question

_INTERRUPTED = 130
_NO_FAILURE = {Status.OK, Status.UNSUPPORTED, Status.UNAVAILABLE}  # an answer that never comes is one, when asked for
_NOT_PART_OF_WHAT_IS_ASKED = ("resume", "results", "as_json", "jobs")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given."""

    backends: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    case_glob: str | None = None
    where: str | None = None
    exact: bool = False
    questions: tuple[str, ...] = ()
    strength: int = 3
    time_limit: float = 60.0
    question_limit: float = 40.0
    threads: int = 1
    jobs: int | None = None
    seed: int = 0
    resume: bool = False
    plugins: tuple[Path, ...] = ()
    results: Path | None = None
    as_json: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether everything is asked for, rather than certain suites or questions."""
        return not self.suites and not self.questions

    def identity(self) -> dict[str, Any]:
        """What has to be equal for one request to go on with what another began."""
        fields = json.loads(json.dumps(asdict(self), default=str))
        return {key: value for key, value in fields.items() if key not in _NOT_PART_OF_WHAT_IS_ASKED}


def verify_backends(request: Request) -> int:
    """Verify what `request` asks for; gives the exit code. Raises `ConvbenchError` when it asks what cannot be."""
    show_journal_warnings()
    entries = _entries(request)
    _check(request)
    results = results_folder(request.results)
    folder = machine_folder(results, machine_name())
    log, before = _log(folder, request)
    finished = {name: row for name, events in before.items() if (row := _finished(events)) is not None}
    rows = {name: _kept(row, results, folder) for name, row in finished.items()}
    for entry in entries:
        if (reason := entry.unavailable()) is not None:  # which takes no process to find out
            rows[entry.name] = row_of_none(entry.name, Status.UNAVAILABLE, reason)
    asked = {e.name: _asked(request, e, results, before.get(e.name, [])) for e in entries if e.name not in rows}
    console = stderr()
    console.print(Text(_heading(request, entries, log, rows)), soft_wrap=True)
    if request.as_json:
        print_json(rows.values())
    jobs = Jobs(asked, request.jobs or max(1, usable_cpus() // request.threads))
    with log, progress(console, len(asked), plain=request.as_json) as shown:
        for name, event in jobs.events():
            log.append({"backend": name, **event}, durable=event["event"] != "answered" or bool(event["finding"]))
            shown.tell(name, event)
            row = event["row"] if event["event"] == "report" else _row_of_death(name, event)
            if row is not None:
                rows[name] = _kept(row, results, folder)
                if request.as_json:
                    print_json([rows[name]])
    if not request.as_json:
        stdout().print(verification_report([rows[e.name] for e in entries if e.name in rows], request.is_whole))
    if jobs.interrupted:
        console.print(Text("Interrupted; what was found is kept. The same command with --resume goes on from here."))
        return _INTERRUPTED
    return _exit_code(rows.values())


# --- what was asked ---------------------------------------------------------------------------------------------------


def _entries(request: Request) -> Sequence[RegistryRow]:
    registry = discover(request.plugins)
    mine = registry.defined_by(request.plugins)
    # Who gives a plugin wants that verified, and not all the rest beside it.
    return mine if mine and not request.backends else registry.select(request.backends)


def _check(request: Request) -> None:
    """Raise for suites and questions that are none, before any process starts."""
    if request.exact and not request.suites:
        raise SuiteError("--exact says how the cases of a suite are checked; give one, as in --suite smoke --exact.")
    where_it_holds([load_suite(name) for name in request.suites], request.where)
    for text in request.questions:
        Question.parse(text)


def _asked(request: Request, entry: RegistryRow, results: Path, before: Sequence[Event]) -> dict[str, Any]:
    answered = [event for event in before if event["event"] == "answered"]
    return {
        "backend": entry.name,
        "plugins": [str(path.resolve()) for path in request.plugins],
        "suites": list(request.suites),
        "case_glob": request.case_glob,
        "where": request.where,
        "exact": request.exact,
        "questions": list(request.questions),
        "replay": [str(q) for q in read_corpus(corpus_file(results, entry.name))] if request.is_whole else [],
        "strength": request.strength if request.is_whole else 0,
        "time_limit_s": request.time_limit if request.is_whole else 0.0,
        "question_limit_s": request.question_limit,
        "threads": request.threads,
        "seed": request.seed,
        "answered": [[event["phase"], event["question"], event["finding"]] for event in answered],
        "seconds_before": max((event["seconds"] for event in answered), default=0.0),
        "searched_s": max((event["searched_s"] for event in answered), default=0.0),
    }


# --- going on with what was interrupted -------------------------------------------------------------------------------


def _log(folder: Path, request: Request) -> tuple[VerificationLog, dict[str, list[Event]]]:
    """The log to write to, and the events by backend that it has already."""
    if request.resume:
        if (found := newest_log(folder, request.identity())) is not None:
            path, events = found
            by_backend: dict[str, list[Event]] = {}
            for event in events:
                by_backend.setdefault(event["backend"], []).append(event)
            return VerificationLog(path), by_backend
        stderr().print(Text("There is nothing to resume with these options; this starts anew."))
    return VerificationLog.new(folder, request.identity()), {}


def _finished(events: Sequence[Event]) -> Row | None:
    """The report of a backend whose campaign came to its own end."""
    rows = [event["row"] for event in events if event["event"] == "report"]
    return rows[-1] if rows and rows[-1]["complete"] else None


# --- what is kept -----------------------------------------------------------------------------------------------------


def _kept(row: Row, results: Path, folder: Path) -> Row:
    """Write the failures to the corpus and their reports to files; gives the row with the files' paths."""
    failures = []
    remarks = []
    for number, failure in enumerate(row["failures"], 1):
        remarks += [(Question.parse(text), failure["reason"]) for text in (failure["case"], *failure["found_by"])]
        path = folder / "failures" / f"{row['backend']}-{number}.md"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(failure["report"], encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ResultsError(f"the report {path} cannot be written: {error.strerror or error}.") from None
        failures.append({key: value for key, value in failure.items() if key != "report"} | {"report_file": str(path)})
    add_to_corpus(corpus_file(results, row["backend"]), remarks)
    return row | {"failures": failures}


def _row_of_death(name: str, event: Event) -> Row | None:
    """A row for a backend whose verifying process ended without a report; None while all is well."""
    if event["event"] != "died":
        return None
    return row_of_none(name, Status.ERROR, event["reason"]) | {"complete": False}


def _heading(request: Request, entries: Sequence[RegistryRow], log: VerificationLog, rows: dict[str, Row]) -> str:
    machine = machine_facts()
    isa = f", {machine['vector_isa']}" if machine["vector_isa"] else ""
    resumed = (
        f"; resuming {log.path.name} ({len(rows)} of {len(entries)} backends need no more)" if request.resume else ""
    )
    return f"{machine['cpu']} ({machine['usable_cpus']} CPUs{isa}), seed {request.seed}{resumed}"


def _exit_code(rows: Any) -> int:
    statuses = {Status(row["status"]) for row in rows}
    if statuses - _NO_FAILURE:
        return 1
    return 0 if Status.OK in statuses else NothingMeasuredError.exit_code
