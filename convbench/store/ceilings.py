"""A machine's ceilings as they are kept: a file for each time they were measured, a line of JSON per number of threads.

The name does not end like a journal's or asv's. Files are written whole under another name and then renamed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from convbench.errors import ResultsError
from convbench.files.user_file import FileKind, read_bytes
from convbench.measurement.ceilings.figures import Ceilings
from convbench.store.line_file import JournalWarning
from convbench.store.locations import draft_of
from convbench.store.readings import table
from convbench.store.schema import Record

SUFFIX = ".ceilings"
_REMEDY = "convbench machine --measure measures anew"
_KIND = FileKind("a file of ceilings", 2**20, _REMEDY, ResultsError)


def keep_ceilings(folder: Path, measured: Sequence[Ceilings]) -> Path:
    """Write what was measured together to a new file in `folder`. Raises `ResultsError` when that cannot be done."""
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    path = folder / f"{started}-{os.getpid()}{SUFFIX}"
    with draft_of(path) as draft:
        draft.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in measured))
    return path


def ceilings_of(records: Iterable[Record], results: Path) -> list[Ceilings]:
    """What the machines of `records` can do at most, as far as it is kept in the results folder."""
    machines = {str(table(record, "machine").get("machine")) for record in records}
    known = [path for path in results.iterdir() if path.name in machines] if results.is_dir() else []
    return [ceilings for path in known for ceilings in kept_ceilings(path)]


def kept_ceilings(folder: Path) -> list[Ceilings]:
    """The newest ceilings in `folder` for each CPU and number of threads, the fewest threads first. What is damaged is
    passed over with a `JournalWarning`."""
    newest: dict[tuple[str, int], Ceilings] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        for one in _read(path):
            newest[one.cpu, one.threads] = one
    return sorted(newest.values(), key=lambda one: (one.threads, one.cpu))


def _read(path: Path) -> list[Ceilings]:
    ceilings: list[Ceilings] = []
    try:
        lines = read_bytes(path, _KIND).splitlines()
    except ResultsError as error:
        warnings.warn(str(error), JournalWarning, stacklevel=3)
        return ceilings
    for number, line in enumerate(lines, 1):
        try:
            ceilings.append(msgspec.json.decode(line, type=Ceilings))
        except (ValueError, RecursionError) as error:
            message = f"{path}, line {number}: these are no ceilings ({error}), passed over; {_REMEDY}."
            warnings.warn(message, JournalWarning, stacklevel=3)
    return ceilings
