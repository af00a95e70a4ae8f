"""Files of records in several formats, chosen by the file's suffix."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convbench.errors import ResultsError, did_you_mean
from convbench.store.formats.cells import read_csv, row_of, write_csv
from convbench.store.formats.parquet_file import read_parquet, write_parquet
from convbench.store.formats.pyperf_file import write_pyperf
from convbench.store.formats.row_types import check_types
from convbench.store.journal import SUFFIX, as_record, line_of, read_records
from convbench.store.line_file import JournalWarning
from convbench.store.locations import draft_of, machine_folder
from convbench.store.readings import machine_of, time_of
from convbench.store.records import records
from convbench.store.schema import Record

Records = Callable[[], Iterable[Record]]
"""Gives the records anew each time it is called."""


@dataclass(frozen=True)
class Format:
    """A file format: its suffix, and how it is written and read. `read` gives rows that may be records, or what is
    wrong with one."""

    name: str
    suffix: str
    write: Callable[[Path, Records], int]
    read: Callable[[Path], Iterable[Mapping[str, Any] | ValueError]] | None = None


def _write_lines(path: Path, records: Records) -> int:
    count = 0
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for count, record in enumerate(records(), 1):  # noqa: B007, the last one is how many
            file.write(line_of(record))
    return count


FORMATS = (
    Format("csv", ".csv", write_csv, read_csv),
    Format("parquet", ".parquet", write_parquet, read_parquet),
    Format("jsonl", SUFFIX, _write_lines, read_records),
    Format("pyperf", ".pyperf.json", write_pyperf),
)


def format_of(path: Path, name: str | None = None) -> Format:
    """The format called `name`, else the one of the file's suffix. Raises `ResultsError` for an unknown one."""
    if name is not None:
        known = {format_.name: format_ for format_ in FORMATS}
        if name not in known:
            raise ResultsError(
                f"--format is {name!r}; it should be one of {', '.join(known)}.{did_you_mean(name, known)}"
            )
        return known[name]
    for format_ in FORMATS:
        if path.name.lower().endswith(format_.suffix):
            return format_
    suffixes = ", ".join(format_.suffix for format_ in FORMATS)
    raise ResultsError(f"the format of {path.name!r} is unknown; its name should end in one of {suffixes}.")


def export_records(path: Path, format_: Format, records: Records) -> int:
    """Write records to `path`, whole or not at all; gives how many. Raises `ResultsError` when it cannot be written."""
    with draft_of(path) as draft:
        return format_.write(draft, records)


@dataclass(frozen=True)
class Imported:
    """A journal made of a file's records of one machine, and how many it has. `known` more were in the folder before
    and are not kept twice; if all were, `path` is the folder or the journal there."""

    path: Path
    records: int
    known: int = 0


def import_records(path: Path, format_: Format, results: Path) -> list[Imported]:
    """Make journals, one for each machine, of the records in a file that the machine's folder lacks. Other rows are
    passed over with a `JournalWarning`. Raises `ResultsError` when the file cannot be read or the folder not be
    written."""
    if format_.read is None:
        raise ResultsError(f"{path}: {format_.name} is written, and not read; its files lack what makes a record.")
    machines: dict[str, list[Record]] = {}
    for record in _records(path, format_.read(path)):
        machines.setdefault(_machine(record), []).append(record)
    return [_imported(machine_folder(results, machine), of_machine) for machine, of_machine in machines.items()]


def _imported(folder: Path, of_machine: list[Record]) -> Imported:
    here = {_identity(record) for record in records(folder, _IDENTITY)}
    new = [record for record in of_machine if not record.get("run") or _identity(record) not in here]
    if not new:
        return Imported(folder, 0, len(of_machine))
    return replace(_journal(folder, new), known=len(of_machine) - len(new))


_IDENTITY = ("run", "session", "time", "suite", "case", "case_id", "backend", "threads", "median_s")
"""Fields that together identify a record of a run, whatever file it came through."""


def _identity(record: Record) -> tuple[str, ...]:
    return tuple(str(record.get(name)) for name in _IDENTITY)


def _records(path: Path, rows: Iterable[Mapping[str, Any] | ValueError]) -> Iterator[Record]:
    for number, row in enumerate(rows, 1):
        try:
            if isinstance(row, ValueError):
                raise row
            check_types(row)
            yield as_record(row)
        except ValueError as error:
            warnings.warn(f"{path}, row {number}: passed over, since {error}.", JournalWarning, stacklevel=2)


def _machine(record: Record) -> str:
    """A folder's name: what a file from elsewhere calls a machine leads nowhere else."""
    name = machine_of(record)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:100].strip(".-") or "unknown-machine"


def _journal(folder: Path, records: list[Record]) -> Imported:
    """Named by the time of the first record, so that journals sort by time, and by a hash of the records."""
    rows = json.dumps([row_of(record) for record in records], sort_keys=True)
    time = time_of(records[0])
    stamp = f"{time:%Y%m%dT%H%M%SZ}" if time else "00000000T000000Z"
    path = folder / f"{stamp}-imported-{hashlib.sha256(rows.encode()).hexdigest()[:12]}{SUFFIX}"
    if path.exists():
        return Imported(path, 0)
    with draft_of(path) as draft:
        _write_lines(draft, lambda: records)
    return Imported(path, len(records))
