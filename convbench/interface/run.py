"""`convbench run`: from what was asked to records, tables and an exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text

from convbench.analysis.ranking import rank
from convbench.errors import BackendError, NothingMeasuredError, SuiteError, did_you_mean
from convbench.interface.figures import duration
from convbench.interface.progress import LiveProgress, PlainProgress, progress
from convbench.interface.tables import print_json, show_journal_warnings, stderr, stdout, suite_report
from convbench.measurement.engine import Engine
from convbench.measurement.environment import Allocator
from convbench.measurement.machine import machine_facts, machine_name
from convbench.measurement.outcome import Settings
from convbench.problem import DTYPES
from convbench.registry import Entry, discover
from convbench.status import Status
from convbench.store.asv_results import write_asv_results
from convbench.store.checkout import CheckoutState, checkout_state, find_checkout
from convbench.store.folder import machine_folder, results_folder
from convbench.store.journal import Journal, JournalWarning, Record, journals, read_records
from convbench.store.records import record_of
from convbench.suite import Case, Suite, load_suite

_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given."""

    suites: tuple[str, ...]
    backends: tuple[str, ...] = ()
    case_glob: str | None = None
    threads: int = 1
    dtype: str | None = None
    quick: bool = False
    resume: bool = False
    time_limit: float | None = None
    allocator: Allocator = "steady"
    time_wrong: bool = False
    seed: int = 0
    plugins: tuple[Path, ...] = ()
    results: Path | None = None
    as_json: bool = False
    no_asv: bool = False
    allow_dirty: bool = False

    def settings(self) -> Settings:
        given: dict[str, Any] = {
            "threads": self.threads,
            "allocator": self.allocator,
            "time_wrong": self.time_wrong,
            "seed": self.seed,
        }
        if self.time_limit is not None:
            given["time_limit_s"] = self.time_limit
        return Settings.quick(**given) if self.quick else Settings(**given)


@dataclass
class _Run:
    """A run under way: what it has recorded, earlier records that it resumes from included."""

    settings: Settings
    journal: Journal
    records: list[Record] = field(default_factory=list)
    unfinished: str | None = None
    checkout: CheckoutState = field(default_factory=lambda: checkout_state(find_checkout(Path.cwd())))
    session: str = field(default_factory=lambda: f"{time.time_ns():x}-{os.getpid():x}")
    """This process's part of the run: rounds of one session happened side by side, those of two did not."""


def run_suites(request: Request) -> int:
    """Measure what `request` asks for; gives the exit code. Raises `ConvbenchError` when it asks what cannot be."""
    show_journal_warnings()
    suites = _suites(request)
    entries = _entries(request)
    settings = request.settings()
    folder = machine_folder(results_folder(request.results), machine_name())
    run = _resumed(folder, suites, settings) if request.resume else None
    if run is None:
        run = _Run(settings, Journal.new(folder, "+".join(suite.name for suite in suites)))
    console = stderr()
    console.print(Text(_heading(settings, run)))
    interrupted = False
    start = time.monotonic()
    pairs = [(suite, case) for suite in suites for case in suite.cases]
    cases = [case for _, case in pairs]
    with run.journal, progress(console, cases, plain=request.as_json) as shown, _terminated_like_interrupted():
        try:
            for record in _measured(run, pairs, entries, shown):
                if request.as_json:
                    print_json([record])
        except KeyboardInterrupt:
            interrupted = True
    _present(request, run, time.monotonic() - start)
    if run.journal.written and not request.no_asv:
        console.print(Text(_store_in_asv(request, run)), soft_wrap=True)
    if interrupted:
        console.print(Text(_interrupted_sentence(run)))
        return _INTERRUPTED
    return _exit_code(run.records)


# --- what was asked ---------------------------------------------------------------------------------------------------


def _suites(request: Request) -> list[Suite]:
    suites = [load_suite(name) for name in dict.fromkeys(request.suites)]
    if request.dtype is not None:
        if request.dtype not in DTYPES:
            raise SuiteError(
                f"--dtype is {request.dtype!r}; it should be one of {', '.join(DTYPES)}."
                f"{did_you_mean(request.dtype, DTYPES)}"
            )
        suites = [suite.with_dtype(request.dtype) for suite in suites]
    if request.case_glob is not None:
        known = [case.name for suite in suites for case in suite.cases]
        suites = [suite.select(request.case_glob) for suite in suites]
        if not any(suite.cases for suite in suites):
            raise SuiteError(
                f"no case matches {request.case_glob!r}.{did_you_mean(request.case_glob, known)} "
                f"There are: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}."
            )
    return suites


def _entries(request: Request) -> list[Entry]:
    registry = discover(request.plugins)
    given = {str(path.resolve()) for path in request.plugins}
    for entry in registry:
        # A file that was asked for by name has to load; one that is merely installed must not stop the others.
        if entry.backend is None and entry.origin.target in given:
            raise BackendError(f"the plugin {entry.reason}")
    return registry.select(request.backends)


# --- resuming ---------------------------------------------------------------------------------------------------------


def _resumed(folder: Path, suites: Sequence[Suite], settings: Settings) -> _Run | None:
    """The newest run of one of these suites with the same settings, with its records; None when there is none."""
    names = {suite.name for suite in suites}
    wanted = dataclasses.asdict(settings)
    for path in reversed(journals(folder)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JournalWarning)
            found = list(read_records(path))
        mine = [r for r in found if r.get("suite") in names and r.get("settings") == wanted]
        if mine:
            return _Run(settings, Journal(path), mine)
    stderr().print(Text("There is no run to resume with this suite and these settings; this is a new one."))
    return None


def _todo(run: _Run, suite: Suite, case: Case, entries: Sequence[Entry]) -> list[Entry]:
    # What was unavailable may have been installed since; asking again costs nothing.
    done = {
        r["backend"]
        for r in run.records
        if r.get("suite") == suite.name
        and r["case"] == case.name
        and r.get("problem") == _as_json(case)
        and r["status"] != Status.UNAVAILABLE
    }
    return [entry for entry in entries if entry.name not in done]


def _as_json(case: Case) -> dict[str, Any]:
    def lists(value: Any) -> Any:
        return [lists(item) for item in value] if isinstance(value, tuple) else value

    return {key: lists(value) for key, value in case.problem.as_dict().items()}


# --- measuring --------------------------------------------------------------------------------------------------------


def _measured(
    run: _Run, pairs: Sequence[tuple[Suite, Case]], entries: Sequence[Entry], shown: PlainProgress | LiveProgress
) -> Iterator[Record]:
    """Every record of the run as it is known and kept: first the ones it resumes from."""
    asked = {entry.name for entry in entries}
    run.records = [record for record in run.records if record["backend"] in asked]
    yield from list(run.records)
    with Engine(run.settings, shown) as engine:
        for suite, case in pairs:
            todo = _todo(run, suite, case, entries)
            shown.begin(suite.name, case)
            run.unfinished = case.name
            start = time.monotonic()
            for outcome in engine.measure(suite.name, case, todo):
                record = record_of(outcome, run.journal.path.stem, run.session, run.checkout)
                run.journal.append(record)
                run.records.append(record)
                shown.record(record)
                yield record
            run.unfinished = None
            shown.end(time.monotonic() - start)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """A polite end of the process is an interrupt, too: what was measured is kept and shown."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- what a person, or a program, sees --------------------------------------------------------------------------------


def _heading(settings: Settings, run: _Run) -> str:
    machine = machine_facts()
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    isa = f", {machine['vector_isa']}" if machine["vector_isa"] else ""
    resumed = f"; resuming {run.journal.path.name} ({len(run.records)} records)" if run.records else ""
    return f"{machine['cpu']} ({machine['usable_cpus']} CPUs{isa}), {threads}, {settings.allocator} allocator{resumed}"


def _present(request: Request, run: _Run, elapsed_s: float) -> None:
    console = stderr() if request.as_json else stdout()
    if not request.as_json:
        for ranking in rank(run.records):
            console.print()
            console.print(suite_report(ranking))
    if run.records:
        where = f"{run.journal.written} new records in {run.journal.path}"
        console.print()
        console.print(Text(f"{where}, after {duration(elapsed_s)}."), soft_wrap=True)


def _store_in_asv(request: Request, run: _Run) -> str:
    """Store the run's records in asv's files, where there is a commit to store them under; says what was done."""
    results, checkout = results_folder(request.results), find_checkout(Path.cwd())
    # What a resumed run brought along may have been measured at another commit, where it is stored already.
    here = [record for record in run.records if record.get("commit") == run.checkout.commit]
    written = write_asv_results(here, results, checkout, allow_dirty=request.allow_dirty)
    if written.refusal is not None:
        return f"Not stored in asv's files: {written.refusal}."
    return f"{written.values} values stored in asv's files under commit {(written.commit or '')[:8]}."


def _interrupted_sentence(run: _Run) -> str:
    kept = f"Interrupted: {len(run.records)} records are kept."
    if run.unfinished:
        kept += f" {run.unfinished} was not finished, and its backends without a record are measured again"
        return f"{kept} when the same command is given with --resume."
    return f"{kept} The same command with --resume goes on from here."


def _exit_code(records: Sequence[Record]) -> int:
    statuses = [Status(record["status"]) for record in records]
    if any(status.is_failure for status in statuses):
        return 1
    return 0 if Status.OK in statuses else NothingMeasuredError.exit_code
