"""A run under way: what is measured is recorded at once, and a run that was interrupted can be resumed."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text

from convbench.measurement.environments.releases import Release
from convbench.measurement.hazards.catalogue import Hazard
from convbench.measurement.hazards.of_machine import hazards_of_machine
from convbench.measurement.machine.state import counters, machine_activity, machine_state, other_runs
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.scheduling.race import Race
from convbench.measurement.settings import Settings
from convbench.registry import Row
from convbench.reporting.console import stderr
from convbench.reporting.progress import LiveProgress, PlainProgress
from convbench.runner.interrupts import interrupts_wait
from convbench.status import Status
from convbench.store.checkout import CheckoutState, checkout_state, find_checkout
from convbench.store.journal import Journal, JournalWarning, Record, journals, read_records
from convbench.store.records import record_of
from convbench.suite import Case, Suite


@dataclass
class Run:
    """A run: what it has recorded, earlier records that it resumes from included."""

    settings: Sequence[Settings]
    """One after the other, as with several numbers of threads."""
    journal: Journal
    records: list[Record] = field(default_factory=list)
    releases: Mapping[str, Release] = field(default_factory=dict)
    """Of which release of a library a backend is measured, by the backend's name, in a run over releases."""
    race: Race | None = None
    """Where only the fastest are looked for."""
    unfinished: str | None = None
    of_machine: list[Hazard] = field(default_factory=list)
    """What, besides its samples, makes the run less trustworthy; known at its end."""
    starting_s: float = 0.0
    """Seconds that went into starting workers."""
    checkout: CheckoutState = field(default_factory=lambda: checkout_state(find_checkout(Path.cwd())))
    session: str = field(default_factory=lambda: f"{time.time_ns():x}-{os.getpid():x}")
    """This process's part of the run: rounds of one session happened side by side, those of two did not."""

    def measure(
        self, pairs: Iterable[tuple[Suite, Case]], entries: Sequence[Row], shown: PlainProgress | LiveProgress
    ) -> Iterator[Record]:
        """Every record of the run as it is known and kept: first the ones it resumes from."""
        asked = {entry.name for entry in entries}
        self.records = [record for record in self.records if record["backend"] in asked]
        yield from list(self.records)
        before, others = counters(), other_runs()
        try:
            for settings in self.settings:
                with Engine(settings, shown, race=self.race) as engine:
                    yield from self._cases(engine, pairs, entries, shown)
                    self.starting_s += engine.starting_s
        finally:
            threads = max(settings.threads for settings in self.settings)
            others = tuple(sorted({*others, *other_runs()}))
            self.of_machine = hazards_of_machine(machine_state(), machine_activity(before, counters()), threads, others)

    def _cases(
        self,
        engine: Engine,
        pairs: Iterable[tuple[Suite, Case]],
        entries: Sequence[Row],
        shown: PlainProgress | LiveProgress,
    ) -> Iterator[Record]:
        for suite, case in pairs:
            todo = self._todo(suite, case, entries, engine.settings)
            shown.begin(suite.name, case)
            self.unfinished = case.name
            start = time.monotonic()
            for outcome in engine.measure(suite.name, case, todo):
                record = record_of(outcome, self.journal.path.stem, self.session, self.checkout)
                if (release := self.releases.get(outcome.backend)) is not None:
                    record["release"] = dataclasses.asdict(release)
                with interrupts_wait():
                    self.journal.append(record)
                    self.records.append(record)
                shown.record(record)
                yield record
            self.unfinished = None
            shown.end(time.monotonic() - start)

    def _todo(self, suite: Suite, case: Case, entries: Sequence[Row], settings: Settings) -> list[Row]:
        # What was unavailable may have been installed since; asking again costs nothing.
        done = {
            r["backend"]
            for r in self.records
            if r.get("suite") == suite.name
            and r["case"] == case.name
            and r.get("problem") == _as_json(case)
            and r.get("threads") == settings.threads
            and r["status"] != Status.UNAVAILABLE
        }
        return [entry for entry in entries if entry.name not in done]


def resumed(
    folder: Path, suites: Sequence[Suite], settings: Sequence[Settings], releases: Mapping[str, Release]
) -> Run | None:
    """The newest run of one of these suites with the same settings, with its records; None when there is none.

    A run over a library's releases resumes only such a one.
    """
    names = {suite.name for suite in suites}
    wanted = [dataclasses.asdict(one) for one in settings]
    library = next((release.library for release in releases.values()), None)
    for path in reversed(journals(folder)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JournalWarning)
            found = list(read_records(path))
        mine = [
            r
            for r in found
            if r.get("suite") in names
            and r.get("settings") in wanted
            and (r.get("release") or {}).get("library") == library
        ]
        if mine:
            return Run(settings, Journal(path), mine, releases)
    stderr().print(Text("There is no run to resume with this suite and these settings; this is a new one."))
    return None


def _as_json(case: Case) -> dict[str, Any]:
    def lists(value: Any) -> Any:
        return [lists(item) for item in value] if isinstance(value, tuple) else value

    return {key: lists(value) for key, value in case.problem.as_dict().items()}
