"""Records of many machines in one results folder: each in the journal that its machine has, and none twice."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

from convbench.errors import ResultsError
from convbench.measurement.hazards.catalogue import Hazard, Kind
from convbench.store.journal import SUFFIX, Journal, line_of, read_records
from convbench.store.line_file import JournalWarning
from convbench.store.readings import table
from convbench.store.schema import Record

_MOST_OPEN = 256


def record_id(record: Mapping[str, Any]) -> str:
    """A digest of all that a record says on its machine. Two records are never alike: they hold clock times and their
    session."""
    return _digest(line_of(_as_on_its_machine(record)))


def with_neighbours(record: Record, workers: Sequence[str]) -> Record:
    """The record with a hazard: these Dask workers had other work on its machine while it was timed. The coordinator
    sees that and the machine does not, so it is no part of the record's id."""
    hazard = Hazard(Kind.NEIGHBOUR, {"workers": ", ".join(workers)})
    return cast(Record, {**record, "hazards": [*(record.get("hazards") or ()), hazard.as_dict()]})


def _as_on_its_machine(record: Mapping[str, Any]) -> Mapping[str, Any]:
    hazards = record.get("hazards")
    if not isinstance(hazards, list) or not any(map(_is_of_neighbours, hazards)):
        return record
    return {**record, "hazards": [hazard for hazard in hazards if not _is_of_neighbours(hazard)]}


def _is_of_neighbours(hazard: object) -> bool:
    return isinstance(hazard, Mapping) and hazard.get("hazard") == Kind.NEIGHBOUR


def _digest(line: str) -> str:
    return hashlib.blake2b(line.encode(errors="backslashreplace"), digest_size=12).hexdigest()


class Collection:
    """The journals in the results folder `results`, by machine and run. A context manager. It remembers an id per
    record, not the records."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.ids: set[str] = set()
        self.written: dict[Path, int] = {}
        """How many records were added to each journal."""
        self._open: OrderedDict[Path, Journal] = OrderedDict()
        self._read: set[Path] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._close()

    def add(self, record: Record) -> bool:
        """Write a record unless it is there already; whether it was new. Its machine has it on disk, so a crash of this
        system loses nothing that `--resume` does not fetch. Raises `ResultsError` when it cannot be written, and
        `ValueError` for a record that names no machine or run."""
        path = self.path_of(record)
        self._know(path)
        line, on_its_machine = line_of(record), _as_on_its_machine(record)
        number = _digest(line if on_its_machine is record else line_of(on_its_machine))
        if number in self.ids:
            return False
        self._journal(path).append_line(line, durable=False)
        self.ids.add(number)
        self.written[path] = self.written.get(path, 0) + 1
        return True

    @staticmethod
    def machine_of(record: Record) -> object:
        """The name of the machine in a record."""
        return table(record, "machine").get("machine")

    def path_of(self, record: Record) -> Path:
        """The journal of a record. Raises `ValueError` for a record that names no machine or run."""
        names = [self.machine_of(record), record.get("run")]
        for name in names:
            if not isinstance(name, str) or not name or Path(name).name != name or name.startswith("."):
                raise ValueError(f"a record of a machine {names[0]!r} and a run {names[1]!r}")
        return self.results / str(names[0]) / f"{names[1]}{SUFFIX}"

    def _know(self, path: Path) -> None:
        """Read what an earlier coordinator has written."""
        if path in self._read:
            return
        self._read.add(path)
        if path.is_file():
            with warnings.catch_warnings(action="ignore", category=JournalWarning):
                self.ids.update(map(record_id, read_records(path)))

    def _journal(self, path: Path) -> Journal:
        if path not in self._open:
            if len(self._open) >= _MOST_OPEN:
                self._close()
            self._make(path.parent)
            self._open[path] = Journal(path)
        self._open.move_to_end(path)
        return self._open[path]

    @staticmethod
    def _make(folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(f"the folder {folder} cannot be made: {error.strerror or error}.") from None

    def _close(self) -> None:
        _, journal = self._open.popitem(last=False)
        with contextlib.suppress(OSError), journal:
            pass
