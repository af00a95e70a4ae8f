"""Earlier records of a machine under the same conditions as a run: the newest of each backend and problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convbench.errors import ResultsError, did_you_mean
from convbench.measurement.settings import Cache
from convbench.store.readings import table
from convbench.store.records import records
from convbench.store.schema import Record

_FIELDS = (
    "status low_s high_s problem threads case_id time machine.cpu settings.allocator settings.cache versions declared"
).split()


@dataclass(frozen=True)
class Conditions:
    """The conditions under which times are comparable. `cpu` None means any, if the folder says which machine."""

    threads: int
    allocator: str = "steady"
    cache: Cache = "warm"
    cpu: str | None = None

    def hold(self, record: Record) -> bool:
        """Whether `record` was taken under these conditions."""
        settings, machine = table(record, "settings"), table(record, "machine")
        return (
            record.get("threads") == self.threads
            and settings.get("allocator") == self.allocator
            and settings.get("cache") == self.cache
            and (self.cpu is None or machine.get("cpu") == self.cpu)
            and isinstance(record.get("problem"), Mapping)
            and isinstance(record.get("case_id"), str)
        )


def machine_with_results(results: Path, machine: str) -> Path:
    """The folder of a machine's results. Raises `ResultsError`, with the known machines, if it does not exist."""
    folder = results / machine
    known = sorted(path.name for path in results.iterdir() if path.is_dir()) if results.is_dir() else []
    if machine in known:
        return folder
    there = f"There are: {', '.join(known)}." if known else "It has no results at all; convbench run makes some."
    raise ResultsError(f"{results} has no machine {machine!r}.{did_you_mean(machine, known)} {there}")


def earlier_records(folder: Path, conditions: Conditions, *, whole: bool) -> list[Record]:
    """The newest record of each backend and problem in `folder` under these `conditions`, oldest first; unless `whole`,
    only with the fields about its time."""
    newest: dict[tuple[Any, ...], Record] = {}
    candidates = records(folder, None if whole else _FIELDS)
    for record in candidates if folder.is_dir() else ():
        if conditions.hold(record):
            key = record["case_id"], record["backend"]
            newest.pop(key, None)  # so that the order is that of the newest
            newest[key] = record
    return list(newest.values())


def by_case_id(candidates: Iterable[Record]) -> dict[str, list[Record]]:
    grouped: dict[str, list[Record]] = {}
    for record in candidates:
        grouped.setdefault(record["case_id"], []).append(record)
    return grouped
