"""`convbench run`: from the options to measurements, which are recorded as they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

from convbench.isa import NATIVE, isas_named
from convbench.measurement.cache_choice import Caches
from convbench.measurement.environments.interpreters import environments, select
from convbench.measurement.environments.releases import Release
from convbench.measurement.machine.affinity import AUTO
from convbench.measurement.machine.facts import cpu_flags, machine_facts, machine_name
from convbench.measurement.machine.priority import Priority
from convbench.measurement.settings import Cache, Settings
from convbench.measurement.workers.process_environment import Allocator
from convbench.problem import ConvProblem
from convbench.registry import Registry, Row, discover
from convbench.runner.observer import Observer
from convbench.runner.selection import directions_named, dtypes_named, epilogues_named, is_exact, selected_suites
from convbench.runner.session import Measurements, Session, journal_folder, resumable_run
from convbench.stats.process_variation import ENOUGH_PAIRS, FEW_PROCESSES, MANY_PROCESSES, processes_needed
from convbench.store.asv.results import Written, write_asv_results
from convbench.store.journal import Journal
from convbench.store.locations import CheckoutState, checkout_state, find_checkout, results_folder
from convbench.store.process_pairs import ProcessPair, kept_pairs
from convbench.suite import Suite
from convbench.verification.timed_data import NORMAL, TimedData, described, timed_data

_MOST_ROUNDS = 10_000
_BUDGET_FOR_PRECISION_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command. Unless `keep` is set, the journal is a temporary file."""

    suites: tuple[str | Suite, ...] = ()
    problems: tuple[str | ConvProblem, ...] = ()
    backends: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    case_glob: str | None = None
    where: str | None = None
    threads: int | tuple[int, ...] = 1
    dtype: str | None = None
    batch: tuple[int, ...] = ()
    direction: str | None = None
    """One of `DIRECTIONS` or several with commas; None for those of the suites."""
    epilogue: str | None = None
    """Spellings of epilogues with commas, "none" or "all"; None for those of the suites."""
    processes: int | None = None
    """None: one, or as many as the precision takes by what earlier runs on this machine saw."""
    self_check: bool | None = None
    isa: tuple[str, ...] = ()
    """The widest instruction sets that libraries may use, by word; one after the other. None: whatever the CPU has."""
    data: tuple[str, ...] = ()
    """What is timed, one after the other: words, or paths of arrays. None: normal values."""
    pin: str = AUTO
    priority: Priority = "normal"
    cache: Cache | None = None
    """None: as in a pass for a suite that stands for a model, else warm."""
    pass_bytes: int | None = None
    precision: float | None = None
    budget: float | None = None
    quick: bool = False
    resume: bool = False
    time_limit: float | None = None
    allocator: Allocator = "steady"
    time_wrong: bool = False
    lower_precision: bool = False
    """Whether backends that compute in a lower precision than the dtype are ranked."""
    seed: int = 0
    plugins: tuple[Path, ...] = ()
    results: Path | None = None
    keep: bool = True
    campaign: str | None = None
    """The folder, within this machine's, that the journal is in and that is looked into to resume; None: its own."""
    checkout: CheckoutState | None = None
    """What the records belong to; None: the checkout around the current folder."""
    details: bool = False
    as_json: bool = False
    no_asv: bool = False
    allow_dirty: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """The options that were given several values. Each combination of their values has tables of its own."""
        dtypes = len((self.dtype or "").split(","))
        directions = len((self.direction or "").split(","))
        counts = {"threads": len(self.thread_counts), "dtype": dtypes, "batch": len(self.batch)}
        counts |= {"epilogue": len(epilogues_named(self.epilogue))}
        counts |= {"direction": directions, "isa": len(self.isa), "data": len(self.data)}
        return tuple(axis for axis, count in counts.items() if count > 1)

    @property
    def thread_counts(self) -> tuple[int, ...]:
        return (self.threads,) if isinstance(self.threads, int) else self.threads

    @property
    def names_backends(self) -> bool:
        return any(map(is_exact, self.backends))

    @property
    def takes_whole_suites(self) -> bool:
        return self.case_glob is None and self.where is None

    @property
    def caches(self) -> Caches:
        return Caches(self.cache, self.pass_bytes)

    @cached_property
    def timed_data(self) -> dict[str, TimedData]:
        """What is timed, by label. Raises `DataError`."""
        return timed_data(self.data or (NORMAL,))

    def of_suites(self, suites: Sequence[Suite], settings: Sequence[Settings]) -> list[Settings]:
        """The settings with the caches of each suite. Raises `SuiteError` as `Caches.of_suite` does."""
        return [self.caches.of_suite(suite, each) for suite in suites for each in settings]

    def settings(self) -> list[Settings]:
        """One for each number of threads, instruction set and data. A precision or budget that was given decides how
        many rounds there are. Raises `IsaError` for an instruction set that this CPU does not have, and `DataError`."""
        options = {name: getattr(self, name) for name in ("pin", "priority", "allocator", "time_wrong", "seed")}
        options["processes"] = self.processes or 1
        options["self_check"] = not self.quick if self.self_check is None else self.self_check
        if self.time_limit is not None:
            options["time_limit_s"] = self.time_limit
        if self.precision is not None or self.budget is not None:
            options |= {"most_rounds": _MOST_ROUNDS, "budget_s": self.budget or _BUDGET_FOR_PRECISION_S}
        if self.precision is not None:
            options["precision"] = self.precision
        make = Settings.quick if self.quick else Settings
        isas = isas_named(self.isa or (NATIVE,), machine_facts()["cpu"], cpu_flags())
        combined = product(self.timed_data, isas, self.thread_counts)
        return [make(**options, data=label, isa=isa, threads=threads) for label, isa, threads in combined]


def run_suites(request: Request, observer: Observer) -> Measurements:
    """Measure everything that `request` selects. Raises `ConvbenchError` when that is not possible."""
    suites = requested_suites(request)
    others = environments(request.pythons)
    rows = select(registry(request), others, request.backends)
    for other in others:
        observer.message(f"@{other.label} is Python {other.version}, {other.python}")
    return measure(request, suites, rows, observer)


def measure(
    request: Request,
    suites: Sequence[Suite],
    rows: Sequence[Row],
    observer: Observer,
    releases: Mapping[str, Release] | None = None,
) -> Measurements:
    """Measure these backends on `suites` and record the outcomes, with the settings of `request`."""
    releases, machine = releases or {}, results_folder(request.results) / machine_name()
    request.of_suites(suites, request.settings())  # refuses what does not fit before a journal is begun
    for data, suite in product(request.timed_data.values(), suites):
        data.check(case.problem for case in suite.cases)
    settings = _with_processes(request, kept_pairs(machine, request.settings()[0]), observer)
    with journal_folder(request.results, keep=request.keep, campaign=request.campaign) as folder:
        candidates = (settings, request.settings()) if request.resume else ()
        runs = ((each, resumable_run(folder, suites, request.of_suites(suites, each), releases)) for each in candidates)
        resumed = next(((each, *run) for each, run in runs if run is not None), None)
        if resumed is None and request.resume:
            observer.message("There is no run to resume with this suite and these settings; this is a new one.")
        libraries = [f"{library}-releases" for library in dict.fromkeys(r.library for r in releases.values())]
        name = "+".join([*libraries, *(suite.name for suite in suites)])
        settings, journal, records = resumed or (settings, Journal.new(folder, name), [])
        timed, keep = request.timed_data, request.keep
        checkout = request.checkout or checkout_state(find_checkout(Path.cwd()))
        session = Session(
            settings,
            journal,
            records,
            releases,
            request.caches,
            timed,
            machine=machine,
            is_kept=keep,
            checkout=checkout,
        )
        observer.message(_heading(session))
        for sentence in request.caches.sentences(suites, settings[0]):
            observer.message(sentence)
        pairs = [(suite, case) for suite in suites for case in suite.cases]
        observer.expect([case for _, case in pairs] * len(session.settings))
        return session.measure(pairs, rows, observer)


def requested_suites(request: Request) -> list[Suite]:
    """The suites and problems of `request`, with its cases, dtypes, batches, directions and epilogues."""
    dtypes, directions = dtypes_named(request.dtype), directions_named(request.direction)
    chosen = (request.case_glob, request.where, directions, epilogues_named(request.epilogue))
    return selected_suites(request.suites, request.problems, dtypes, request.batch, *chosen)


def registry(request: Request) -> Registry:
    """Every backend, with those of the plugins that were given, which have to load."""
    discovered = discover(request.plugins)
    discovered.defined_by(request.plugins)
    return discovered


def store_in_asv(request: Request, measurements: Measurements, say: Callable[[str], object]) -> Written | None:
    """Store the records in asv's files under the checkout's commit; None when that is not asked or none are new. `say`
    is called with what is waited for."""
    if request.no_asv or not request.keep or not measurements.written:
        return None
    # A resumed run may have measured earlier records at another commit, which stored them then.
    records = [record for record in measurements.records if record.get("commit") == measurements.commit]
    results, checkout = results_folder(request.results), find_checkout(Path.cwd())
    return write_asv_results(records, results, checkout, allow_dirty=request.allow_dirty, say=say)


def _with_processes(request: Request, pairs: Sequence[ProcessPair], observer: Observer) -> list[Settings]:
    """The settings, with several processes of each backend where earlier runs saw that the precision takes them, unless
    `--processes` says how many. They share the time of one process, and half as much again. There are more where a
    precision was asked for."""
    settings = request.settings()
    most = FEW_PROCESSES if request.precision is None else MANY_PROCESSES
    needed = processes_needed([pair.log_ratio for pair in pairs], settings[0].precision, most)
    if request.processes is not None or needed == 1:
        return settings
    seen = "Earlier runs on this machine saw processes" if len(pairs) >= ENOUGH_PAIRS else "On most machines processes"
    observer.message(
        f"{seen} of one backend differ by more than the precision of "
        f"{settings[0].precision:.2g}, so each backend is measured in {needed} processes (--processes 1 takes one)."
    )
    share = 1.5 / needed
    return [replace(each, processes=needed, budget_s=share * each.budget_s) for each in settings]


def _heading(session: Session) -> str:
    """Where and how: `AMD EPYC 7B13 (2 CPUs, avx2), 1 thread, steady allocator`."""
    settings = session.settings
    machine, first = machine_facts(), settings[0]
    counts = ", ".join(dict.fromkeys(str(each.threads) for each in settings))
    isas, data = dict.fromkeys(each.isa or NATIVE for each in settings), dict.fromkeys(each.data for each in settings)
    isa = f", {machine['vector_isa']}" if machine["vector_isa"] else ""
    parts = [f"{machine['cpu']} ({machine['usable_cpus']} CPUs{isa})"]
    parts += ["1 thread" if counts == "1" else f"{counts} threads", f"{first.allocator} allocator"]
    parts += ["real-time priority"] if first.priority == "realtime" else []
    parts += [f"instruction sets {', '.join(isas)}"] if {*isas} != {NATIVE} else []
    parts += [f"timed on {', '.join(map(described, data))}"] if {*data} != {NORMAL} else []
    parts += [f"{first.processes} processes each"] if first.processes > 1 else []
    parts += ["cold caches"] if session.caches.cache == "cold" else []
    resuming = f"; resuming {session.journal.path.name} ({len(session.records)} records)" if session.records else ""
    return ", ".join(parts) + resuming
