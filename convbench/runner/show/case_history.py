"""The past of a case: its records over all runs and machines, with what changed from each to the next, and steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from convbench.analysis.series import FIELDS as SERIES_FIELDS
from convbench.analysis.trend import Step, trend
from convbench.status import Status
from convbench.store.readings import (
    cache_of,
    data_of,
    hardware_of,
    implementation,
    isa_of,
    machine_of,
    median_s,
    number,
    table,
    time_of,
)
from convbench.store.records import records
from convbench.store.schema import Record

_FIELDS = (
    *SERIES_FIELDS,
    *"case_id reason layer versions convbench interval machine.os machine.python settings.handed_over".split(),
)
_THRESHOLD, _FEWEST_IN_SEGMENT = 0.03, 3  # as `convbench trend` has them
_COMMIT_DIGITS = 8


class Conditions(NamedTuple):
    """What two times of a case have in common when they may be compared."""

    suite: str
    case: str
    case_id: str
    machine: str
    threads: int
    dtype: str
    allocator: str
    cache: str
    """`warm`, `cold` or `pass of N bytes`."""
    isa: str
    """The widest instruction set that libraries could use; empty without a limit."""
    data: str
    """What was timed: `normal`, `denormal`, `zeros` or a file."""

    @classmethod
    def of(cls, record: Record) -> Conditions:
        settings = table(record, "settings")
        return cls(
            suite=str(record.get("suite") or ""),
            case=record["case"],
            case_id=str(record.get("case_id") or ""),
            machine=machine_of(record),
            threads=int(number(record, "threads") or 1),
            dtype=str(record.get("dtype") or ""),
            allocator=str(settings.get("allocator") or "steady"),
            cache=cache_of(record),
            isa=isa_of(record),
            data=data_of(record),
        )


@dataclass(frozen=True, eq=False)
class Visit:
    """One record of a backend: what changed since its earlier one, by name, and the step that begins here."""

    record: Record
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What was and what is, of versions, commit, hardware and status."""
    ratio: float | None = None
    """Its time over the earlier right answer's; None for the first."""
    step: Step | None = None


@dataclass(frozen=True, eq=False)
class Past:
    """The records of one backend under the same conditions, the oldest first."""

    conditions: Conditions
    backend: str
    visits: tuple[Visit, ...]

    @property
    def newest_s(self) -> float | None:
        """The time of its newest right answer."""
        return next((s for visit in reversed(self.visits) if (s := median_s(visit.record)) is not None), None)


@dataclass(frozen=True, eq=False)
class CaseHistory:
    """The records of a case: by conditions, in each the fastest backend first."""

    name: str
    pasts: tuple[Past, ...]

    @property
    def by_conditions(self) -> dict[Conditions, list[Past]]:
        grouped: dict[Conditions, list[Past]] = {}
        for past in self.pasts:
            grouped.setdefault(past.conditions, []).append(past)
        return grouped

    @property
    def cases(self) -> list[str]:
        """The cases of that name, as `suite/case`."""
        return list(dict.fromkeys(f"{past.conditions.suite}/{past.conditions.case}" for past in self.pasts))


def case_history(name: str, folder: Path, is_meant: Callable[[Record], bool]) -> CaseHistory:
    """The past of the records in the results folder that are meant; without any it has none."""
    meant = [record for record in records(folder, _FIELDS) if is_meant(record)] if folder.is_dir() else []
    return CaseHistory(name, tuple(_pasts(meant)))


def is_case(name: str) -> Callable[[Record], bool]:
    """Whether a record is of the case of that name, or of that `suite/case`."""
    return lambda record: name in (record["case"], f"{record.get('suite')}/{record['case']}")


def _pasts(meant: Sequence[Record]) -> list[Past]:
    by_backend: dict[tuple[Conditions, str], list[Record]] = {}
    for record in meant:
        backend = record["backend"].partition("@")[0] if table(record, "release") else record["backend"]
        by_backend.setdefault((Conditions.of(record), backend), []).append(record)
    steps = _steps(meant)
    pasts = [Past(key, backend, _visits(of_one, steps)) for (key, backend), of_one in by_backend.items()]
    return sorted(pasts, key=lambda past: (past.conditions, past.newest_s or float("inf"), past.backend))


_Whereabouts = tuple[str, str, str, str, str, float]


def _steps(meant: Sequence[Record]) -> dict[_Whereabouts, Step]:
    """The steps of `convbench trend`, by where and when they begin."""
    steps = trend(meant, _THRESHOLD, _FEWEST_IN_SEGMENT).steps
    return {(*step.series.key[:4], step.first_after.session[0], step.first_after.median_s): step for step in steps}


def _whereabouts(record: Record, seconds: float) -> _Whereabouts:
    backend = record["backend"].partition("@")[0] if table(record, "release") else record["backend"]
    machine, suite = machine_of(record), str(record.get("suite") or "")
    return machine, suite, record["case"], backend, str(record.get("run") or ""), seconds


def _visits(of_one: Iterable[Record], steps: Mapping[_Whereabouts, Step]) -> tuple[Visit, ...]:
    visits: list[Visit] = []
    before: Record | None = None
    timed_s: float | None = None
    for record in sorted(of_one, key=_order):
        seconds = median_s(record)
        visits.append(
            Visit(
                record,
                _changes(before, record) if before is not None else {},
                seconds / timed_s if seconds and timed_s else None,
                steps.get(_whereabouts(record, seconds)) if seconds else None,
            )
        )
        before, timed_s = record, seconds or timed_s
    return tuple(visits)


def _order(record: Record) -> tuple[str, str]:
    """Releases by their date; all else by the time of the record."""
    when = time_of(record)
    return str(table(record, "release").get("date") or ""), when.isoformat() if when else ""


def _changes(before: Record, after: Record) -> dict[str, tuple[str, str]]:
    """What is known of both and differs; a status that is not ok differs from none."""
    old, new = _facts(before), _facts(after)
    pairs = {name: (old.get(name, ""), new.get(name, "")) for name in dict.fromkeys([*new, *old])}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and (all(pair) or name == "status")}


def _facts(record: Record) -> dict[str, str]:
    """What a time may change with, by name."""
    machine = table(record, "machine")
    facts: dict[str, Any] = dict(table(record, "versions"))
    facts |= {"kernel": implementation(record), "convbench": record.get("convbench"), "commit": commit_of(record)}
    facts |= {"hardware": hardware_of(machine), "OS": machine.get("os"), "Python": machine.get("python")}
    if record["status"] != Status.OK:
        facts["status"] = record["status"]
    return {str(name): text for name, value in facts.items() if (text := str(value or ""))}


def commit_of(record: Record) -> str:
    """`1a2b3c4d`, with a `+` where the checkout had changes; empty if unknown."""
    commit = record.get("commit")
    return f"{commit[:_COMMIT_DIGITS]}{'+' if record.get('dirty') else ''}" if isinstance(commit, str) else ""
