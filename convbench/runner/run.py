"""`convbench run`: from what was asked to records, tables and an exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from rich.text import Text

from convbench.analysis.ranking import rank
from convbench.analysis.roofline import Limits
from convbench.errors import NothingMeasuredError, ResultsError, SuiteError, did_you_mean
from convbench.measurement.environments.interpreters import environments, select
from convbench.measurement.environments.releases import Release
from convbench.measurement.machine.affinity import AUTO
from convbench.measurement.machine.facts import machine_facts, machine_name
from convbench.measurement.settings import Cache, Settings
from convbench.measurement.workers.process_environment import Allocator
from convbench.problem import DTYPES, Dtype
from convbench.registry import Registry, Row, discover
from convbench.reporting.console import print_json, show_journal_warnings, stderr, stdout, suite_report
from convbench.reporting.gpu import gpu_sentence
from convbench.reporting.hazards import hazard_report
from convbench.reporting.limits import doubts
from convbench.reporting.numbers import duration
from convbench.reporting.progress import progress
from convbench.reporting.scaling import scaling_report, variants
from convbench.reporting.self_check import own_error_sentence
from convbench.runner.interrupts import terminated_like_interrupted
from convbench.runner.session import Run, resumed
from convbench.status import Status
from convbench.store.asv.results import write_asv_results
from convbench.store.ceilings import kept_ceilings
from convbench.store.checkout import find_checkout
from convbench.store.journal import Journal, Record
from convbench.store.locations import machine_folder, results_folder
from convbench.suite import Suite, load_suite
from convbench.suite.filter import where_it_holds

_INTERRUPTED = 130
_MOST_ROUNDS = 10_000
_BUDGET_FOR_PRECISION_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given."""

    suites: tuple[str, ...]
    backends: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    case_glob: str | None = None
    where: str | None = None
    threads: int | tuple[int, ...] = 1
    dtype: str | None = None
    batch: tuple[int, ...] = ()
    processes: int = 1
    self_check: bool | None = None
    pin: str = AUTO
    cache: Cache = "warm"
    precision: float | None = None
    budget: float | None = None
    quick: bool = False
    resume: bool = False
    time_limit: float | None = None
    allocator: Allocator = "steady"
    time_wrong: bool = False
    seed: int = 0
    plugins: tuple[Path, ...] = ()
    results: Path | None = None
    details: bool = False
    as_json: bool = False
    no_asv: bool = False
    allow_dirty: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """What was asked for with several values: each has a table of its own."""
        dtypes = len((self.dtype or "").split(","))
        several = {"threads": len(self.thread_counts), "dtype": dtypes, "batch": len(self.batch)}
        return tuple(axis for axis, values in several.items() if values > 1)

    @property
    def thread_counts(self) -> tuple[int, ...]:
        return (self.threads,) if isinstance(self.threads, int) else self.threads

    def settings(self) -> list[Settings]:
        """For each number of threads. Who asks for a precision or a budget gets as many rounds as that takes."""
        given: dict[str, Any] = {
            "processes": self.processes,
            "self_check": not self.quick if self.self_check is None else self.self_check,
            "pin": self.pin,
            "cache": self.cache,
            "allocator": self.allocator,
            "time_wrong": self.time_wrong,
            "seed": self.seed,
        }
        if self.time_limit is not None:
            given["time_limit_s"] = self.time_limit
        if self.precision is not None or self.budget is not None:
            given |= {"most_rounds": _MOST_ROUNDS, "budget_s": self.budget or _BUDGET_FOR_PRECISION_S}
        if self.precision is not None:
            given["precision"] = self.precision
        make = Settings.quick if self.quick else Settings
        return [make(**given, threads=threads) for threads in self.thread_counts]


def run_suites(request: Request) -> int:
    """Measure what `request` asks for; gives the exit code. Raises `ConvbenchError` when it asks what cannot be."""
    show_journal_warnings()
    suites = asked_suites(request)
    others = environments(request.pythons)
    entries = select(registry(request), others, request.backends)
    for other in others:
        stderr().print(Text(f"@{other.label} is Python {other.version}, {other.python}"), soft_wrap=True)
    return measure(request, suites, entries, partial(_store_in_asv, request))


def measure(
    request: Request,
    suites: Sequence[Suite],
    entries: Sequence[Row],
    conclude: Callable[[Run], None],
    releases: Mapping[str, Release] | None = None,
) -> int:
    """Measure `entries` on `suites`, record and show it, then `conclude`; gives the exit code."""
    settings = request.settings()
    folder = machine_folder(results_folder(request.results), machine_name())
    releases = releases or {}
    run = resumed(folder, suites, settings, releases) if request.resume else None
    if run is None:
        libraries = [f"{library}-releases" for library in dict.fromkeys(r.library for r in releases.values())]
        run = Run(settings, Journal.new(folder, "+".join([*libraries, *(s.name for s in suites)])), releases=releases)
    console = stderr()
    console.print(Text(_heading(settings, run)))
    interrupted = False
    start = time.monotonic()
    pairs = [(suite, case) for suite in suites for case in suite.cases]
    cases = [case for _, case in pairs] * len(settings)
    unwritten: ResultsError | None = None
    with run.journal, progress(console, cases, plain=request.as_json) as shown, terminated_like_interrupted():
        try:
            for record in run.measure(pairs, entries, shown):
                if request.as_json:
                    print_json([record])
        except KeyboardInterrupt:
            interrupted = True
        except ResultsError as error:  # as when the disk is full: what was kept is shown, and then what went wrong
            unwritten = error
    _present(request, run, time.monotonic() - start)
    if unwritten is not None:
        raise unwritten
    conclude(run)
    if interrupted:
        console.print(Text(_interrupted_sentence(run)))
        return _INTERRUPTED
    return _exit_code(run.records)


# --- what was asked ---------------------------------------------------------------------------------------------------


def asked_suites(request: Request) -> list[Suite]:
    """The suites that were asked for, with the cases, in the dtypes and of the batches that were."""
    suites = [load_suite(name) for name in dict.fromkeys(request.suites)]
    suites = [suite.over(_dtypes(request), request.batch) for suite in suites]
    if request.case_glob is not None:
        known = [case.name for suite in suites for case in suite.cases]
        suites = [suite.select(request.case_glob) for suite in suites]
        if not any(suite.cases for suite in suites):
            raise SuiteError(
                f"no case matches {request.case_glob!r}.{did_you_mean(request.case_glob, known)} "
                f"There are: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}."
            )
    return where_it_holds(suites, request.where)


def _dtypes(request: Request) -> list[Dtype]:
    words = [] if request.dtype is None else list(dict.fromkeys(w.strip() for w in request.dtype.split(",")))
    for word in words:
        if word not in DTYPES:
            raise SuiteError(
                f"--dtype is {word!r}; it should be one of {', '.join(DTYPES)}, or several with commas."
                f"{did_you_mean(word, DTYPES)}"
            )
    return cast(list[Dtype], words)


def registry(request: Request) -> Registry:
    """Every backend there is, those of the plugins that were asked for included."""
    found = discover(request.plugins)
    found.defined_by(request.plugins)
    return found


# --- what a person, or a program, sees --------------------------------------------------------------------------------


def _heading(settings: Sequence[Settings], run: Run) -> str:
    machine, first = machine_facts(), settings[0]
    counts = ", ".join(str(s.threads) for s in settings)
    threads = "1 thread" if counts == "1" else f"{counts} threads"
    isa = f", {machine['vector_isa']}" if machine["vector_isa"] else ""
    told = [f"{machine['cpu']} ({machine['usable_cpus']} CPUs{isa})", threads, f"{first.allocator} allocator"]
    told += [f"{first.processes} processes each"] if first.processes > 1 else []
    told += ["cold caches"] if first.cache == "cold" else []
    resumed = f"; resuming {run.journal.path.name} ({len(run.records)} records)" if run.records else ""
    return ", ".join(told) + resumed


def _present(request: Request, run: Run, elapsed_s: float) -> None:
    console = stderr() if request.as_json else stdout()
    limits = Limits(kept_ceilings(run.journal.path.parent))
    if request.as_json:
        for doubt in (doubt for ranking in rank(run.records) for doubt in doubts(ranking, limits)):
            console.print(doubt)
    else:
        for heading, records in variants(run.records, request.axes):
            if heading:
                console.print()
                console.print(Text(heading[0].upper() + heading[1:], style="bold underline"))
            for ranking in rank(records):
                console.print()
                console.print(suite_report(ranking, limits, details=request.details))
        if (scaled := scaling_report(run.records)) is not None:
            console.print()
            console.print(scaled)
    if (gpu := gpu_sentence(run.records)) is not None:
        console.print()
        console.print(Text(gpu), soft_wrap=True)
    if (error := own_error_sentence(run.records)) is not None:
        console.print()
        console.print(Text(error), soft_wrap=True)
    if (told := hazard_report(run.records, run.of_machine)) is not None:
        console.print()
        console.print(told)
    if run.records:
        where = f"{run.journal.written} new records in {run.journal.path}"
        console.print()
        starting = f", {duration(run.starting_s)} of them to start the workers" if run.starting_s else ""
        console.print(Text(f"{where}, after {duration(elapsed_s)}{starting}."), soft_wrap=True)


def _store_in_asv(request: Request, run: Run) -> None:
    """Store the run's records in asv's files, where there is a commit to store them under; says what was done."""
    if request.no_asv or not run.journal.written:
        return
    results, checkout = results_folder(request.results), find_checkout(Path.cwd())
    # What a resumed run brought along may have been measured at another commit, where it is stored already.
    here = [record for record in run.records if record.get("commit") == run.checkout.commit]
    written = write_asv_results(here, results, checkout, allow_dirty=request.allow_dirty)
    if written.refusal is not None:
        told = f"Not stored in asv's files: {written.refusal}."
    else:
        told = f"{written.values} values stored in asv's files under commit {(written.commit or '')[:8]}."
    stderr().print(Text(told), soft_wrap=True)


def _interrupted_sentence(run: Run) -> str:
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
