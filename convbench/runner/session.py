"""A session: the loop that measures cases, records each outcome at once and tells an observer. `run` and `choose` drive
it; an interrupted one can be resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from convbench.analysis.roofline import Limits
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.measurement.cache_choice import Caches
from convbench.measurement.environments.releases import Release
from convbench.measurement.hazards.catalogue import Hazard, in_order
from convbench.measurement.hazards.of_machine import hazards_of_machine
from convbench.measurement.machine.facts import machine_name
from convbench.measurement.machine.state import counters, machine_activity, machine_state, other_runs
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.scheduling.race import Race
from convbench.measurement.settings import Settings
from convbench.registry import Entry, Row
from convbench.runner.interrupts import interrupts_wait, terminated_like_interrupted
from convbench.runner.observer import Observer
from convbench.runner.variation import LearnedVariation
from convbench.status import Status
from convbench.store.ceilings import kept_ceilings
from convbench.store.journal import Journal, journals, read_records
from convbench.store.line_file import JournalWarning
from convbench.store.locations import CheckoutState, checkout_state, find_checkout, machine_folder, results_folder
from convbench.store.readings import data_of, hardware_of, isa_of, problem_of, table, this_hardware
from convbench.store.records import record_of
from convbench.store.schema import Record
from convbench.suite import Case, Suite
from convbench.verification.timed_data import TimedData

_DEFAULTS: dict[str, object] = dataclasses.asdict(Settings())
"""Settings that a record lacks, because it was made before they were there, had these values."""
INTERRUPTED = 130
"""The exit code of an interrupted command, as a shell has it."""


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What a session measured, with the earlier records that it resumed from."""

    records: tuple[Record, ...]
    machine_hazards: tuple[Hazard, ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(()))
    journal: Path | None = None
    """None when it was not kept."""
    written: int = 0
    """How many of the records are new."""
    elapsed_s: float = 0.0
    starting_s: float = 0.0
    commit: str | None = None
    releases: Mapping[str, Release] = field(default_factory=dict)
    """Which release of a library each backend, by its name, was measured with, in a run over releases."""
    interrupted: bool = False
    unfinished: str | None = None
    """The case that an interrupt left unfinished."""
    error: ResultsError | None = None
    """Why the measuring ended early: the journal could not be written any more, as on a full disk."""

    @property
    def exit_code(self) -> int:
        """2 after an error, 130 after an interrupt, 1 when something is wrong or crashed, 3 when nothing was timed."""
        if self.error is not None:
            return self.error.exit_code
        if self.interrupted:
            return INTERRUPTED
        statuses = {Status(record["status"]) for record in self.records}
        if any(status.is_failure for status in statuses):
            return 1
        return 0 if Status.OK in statuses else NothingMeasuredError.exit_code


@dataclass
class Session:
    """One process's part of a run. Rounds of one session happened side by side; those of two sessions did not."""

    settings: Sequence[Settings]
    """Measured one after the other, such as for several numbers of threads."""
    journal: Journal
    records: list[Record] = field(default_factory=list)
    """Everything recorded, earlier records that it resumes from included."""
    releases: Mapping[str, Release] = field(default_factory=dict)
    caches: Caches = field(default_factory=Caches)
    data: Mapping[str, TimedData] = field(default_factory=dict)
    """What is timed besides normal values, by the label in `settings`."""
    race: Race | None = None
    """Set when only the fastest backends are of interest."""
    machine: Path | None = None
    """The folder with what is known of this machine: its ceilings, and what times vary by as earlier runs saw it."""
    is_kept: bool = True
    """Whether the journal stays when the session is over."""
    unfinished: str | None = None
    starting_s: float = 0.0
    checkout: CheckoutState = field(default_factory=lambda: checkout_state(find_checkout(Path.cwd())))
    _resumed: Sequence[Record] = ()
    id: str = field(default_factory=lambda: f"{time.time_ns():x}-{os.getpid():x}")

    def __post_init__(self) -> None:
        self._variation = LearnedVariation(self.id)

    def measure(self, pairs: Iterable[tuple[Suite, Case]], entries: Sequence[Row], observer: Observer) -> Measurements:
        """Measure `entries` on every case. An interrupt, or a journal that cannot be written any more, ends it early,
        and what was measured until then is returned."""
        start, before, others = time.monotonic(), counters(), other_runs()
        interrupted, error = False, None
        from_files = {row.name for row in entries if isinstance(row, Entry) and row.origin.kind == "file"}
        kept_in = self.journal.path.parent if self.is_kept else None
        self._variation = LearnedVariation(self.id, self.machine, kept_in, from_files)
        with self.journal, terminated_like_interrupted():
            try:
                self._measure(pairs, entries, observer)
            except KeyboardInterrupt:
                interrupted = True
            except ResultsError as unwritten:
                error = unwritten
        others = tuple(sorted({*others, *other_runs()}))
        threads = max(settings.threads for settings in self.settings)
        hazards = hazards_of_machine(machine_state(), machine_activity(before, counters()), threads, others)
        hazards = in_order([*hazards, *self._variation.hazards()])
        return Measurements(
            records=tuple(self.records),
            machine_hazards=tuple(hazards),
            limits=Limits(kept_ceilings(self.machine) if self.machine else ()),
            journal=self.journal.path if self.is_kept else None,
            written=self.journal.written,
            elapsed_s=time.monotonic() - start,
            starting_s=self.starting_s,
            commit=self.checkout.commit,
            releases=self.releases,
            interrupted=interrupted,
            unfinished=self.unfinished,
            error=error,
        )

    def _measure(self, pairs: Iterable[tuple[Suite, Case]], entries: Sequence[Row], observer: Observer) -> None:
        selected = {entry.name for entry in entries}
        self.records = [record for record in self.records if record["backend"] in selected]
        self._resumed = tuple(self.records)
        for record in self._resumed:
            observer.record(record)
        for settings in self.settings:
            with Engine(settings, observer.doing, race=self.race, data=self.data.get(settings.data)) as engine:
                try:
                    for suite, case in pairs:
                        self._measure_case(engine, suite, case, entries, observer)
                finally:
                    self.starting_s += engine.starting_s

    def _measure_case(
        self, engine: Engine, suite: Suite, case: Case, entries: Sequence[Row], observer: Observer
    ) -> None:
        todo = self._todo(suite, case, entries, engine.settings)
        observer.begin(suite.name, case)
        self.unfinished = case.name
        start, began = time.monotonic(), _now()
        settings = self.caches.of_suite(suite, engine.settings)
        outcomes: list[Outcome] = []
        for outcome in engine.measure(suite.name, case, todo, settings):
            if outcome.self_ratio is not None and all(earlier.self_ratio is None for earlier in outcomes):
                self._variation.learn_pair(outcome)
            outcome = self._variation.included(outcome)
            outcomes.append(outcome)
            record = record_of(outcome, self.journal.path.stem, self.id, self.checkout)
            if (release := self.releases.get(outcome.backend)) is not None:
                record["release"] = dataclasses.asdict(release)
            record["began"], record["ended"] = began, _now()
            with interrupts_wait():
                self.journal.append(record)
                self.records.append(record)
            observer.record(record)
        self.unfinished = None
        observer.end(time.monotonic() - start)
        self._variation.learn_times(outcomes)
        self._variation.learn_revisits(engine.revisit())

    def _todo(self, suite: Suite, case: Case, entries: Sequence[Row], settings: Settings) -> list[Row]:
        # An unavailable backend may have been installed since, and asking again costs nothing.
        done = {
            r["backend"]
            for r in self._resumed
            if r.get("suite") == suite.name
            and r["case"] == case.name
            and problem_of(r) == case.problem
            and r.get("threads") == settings.threads
            and isa_of(r) == (settings.isa or "")
            and data_of(r) == settings.data
            and r["status"] != Status.UNAVAILABLE
        }
        return [entry for entry in entries if entry.name not in done]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def resumable_run(
    folder: Path, suites: Sequence[Suite], settings: Sequence[Settings], releases: Mapping[str, Release]
) -> tuple[Journal, list[Record]] | None:
    """The newest run of one of these suites with these settings, and over the same library's releases if over any, with
    its records; None when there is none."""
    names = {suite.name for suite in suites}
    known_settings = [dataclasses.asdict(each) for each in settings]
    library = next((release.library for release in releases.values()), None)
    for path in reversed(journals(folder)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JournalWarning)
            named = (record for record in read_records(path) if record.get("suite") in names)
            records = [record for record in named if {**_DEFAULTS, **table(record, "settings")} in known_settings]
        here = this_hardware()  # this name may have been another machine's
        records = [r for r in records if not hardware_of(table(r, "machine")).is_other_than(here)]
        if matching := [r for r in records if (r.get("release") or {}).get("library") == library]:
            return Journal(path), matching
    return None


@contextlib.contextmanager
def journal_folder(results: Path | None, *, keep: bool, campaign: str | None = None) -> Iterator[Path]:
    """This machine's folder of journals, or one for a `campaign` in it; without `keep` one that disappears. Raises
    `ResultsError` if unwritable."""
    if keep:
        of_machine = machine_folder(results_folder(results), machine_name())
        yield of_machine if campaign is None else machine_folder(of_machine, campaign)
        return
    with tempfile.TemporaryDirectory(prefix="convbench-") as folder:
        yield Path(folder)
