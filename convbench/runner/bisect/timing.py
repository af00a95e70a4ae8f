"""Time members of a series side by side, each with the backend in an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from convbench.analysis.paired_ratio import ratio
from convbench.measurement.environments.releases import Release
from convbench.registry import Entry
from convbench.runner import run
from convbench.runner.bisect.changed_answer import Skipped
from convbench.runner.bisect.log import Answered, History, Lost, Timed
from convbench.runner.bisect.series import Environments
from convbench.runner.bisect.slow_down import Ratios
from convbench.runner.observer import Observer
from convbench.runner.run import measure, requested_suites
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.schema import Record


@dataclass
class SideBySide:
    """Called with members, it times them in one run, or gives the ratios that the log has of such a run."""

    request: run.Request
    environments: Environments
    history: History
    observer: Observer
    releases: Mapping[int, Release]
    """Where the day is known, which a record of a release has to have."""
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By label, what the last run of it says besides the time."""
    journals: list[str] = field(default_factory=list)

    def __call__(self, members: tuple[int, ...]) -> Ratios | tuple[int, Skipped]:
        labels = tuple(self.environments.series.labels[member] for member in members)
        look = self.history.known(*labels) or self.history.add(self._look(members, labels))
        by_label = dict(zip(labels, members, strict=True))
        if isinstance(look, Lost):
            return by_label.get(look.label, members[0]), Skipped(look.reason)
        if isinstance(look, Answered):
            raise AssertionError("a question was asked where times were taken")
        self.facts |= look.facts
        pairs = {
            (by_label[one], by_label[other]): Ratio(value, low, high, covers)
            for one, other, value, low, high, covers in look.ratios
            if {one, other} <= by_label.keys()
        }
        return Ratios(pairs)

    def _look(self, members: tuple[int, ...], labels: tuple[str, ...]) -> Timed | Lost:
        entries: dict[str, Entry] = {}
        for member, label in zip(members, labels, strict=True):
            entry = self.environments.entry(member)
            if isinstance(entry, Skipped):
                return Lost(labels=labels, label=label, reason=entry.reason)
            entries[label] = entry
        records = self._records(entries, members)
        ratios = []
        for label in labels:
            if (record := records.get(label)) is None or record["status"] != Status.OK:
                reason = f"{record['status']}: {record.get('reason')}" if record else "it was not measured"
                return Lost(labels=labels, label=label, reason=reason)
        for one, other in permutations(labels, 2):
            if (times := ratio(records[one], records[other])) is None:
                return Lost(labels=labels, label=labels[len(labels) // 2], reason="its samples share no round")
            ratios.append((one, other, times.value, times.low, times.high, times.covers))
        return Timed(labels=labels, ratios=tuple(ratios), facts={k: _facts(r) for k, r in records.items()})

    def _records(self, entries: Mapping[str, Entry], members: tuple[int, ...]) -> dict[str, Record]:
        """The records of one run, by label."""
        names = {entry.name: label for label, entry in entries.items()}
        dated = {e.name: self.releases[m] for e, m in zip(entries.values(), members, strict=True) if m in self.releases}
        suites = requested_suites(self.request)
        measured = measure(self.request, suites, list(entries.values()), self.observer, dated)
        self.journals += [str(measured.journal)] if measured.journal else []
        if measured.interrupted:
            raise KeyboardInterrupt
        if measured.error is not None:
            raise measured.error
        return {names[record["backend"]]: record for record in measured.records}


def _facts(record: Record) -> dict[str, Any]:
    return {"median_s": record.get("median_s"), "implementation": record.get("implementation")}
