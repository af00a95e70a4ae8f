"""The journal: one file of JSON lines per run, each record appended and flushed as soon as it is known.

An interrupted write leaves a torn last line. Readers pass it over and say so; before anything is appended it is moved
to a file beside the journal, so that nothing is lost and nothing is glued to it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from convbench.errors import ResultsError

Record = dict[str, Any]
SUFFIX = ".jsonl"
_TEXTS = ("case", "backend", "status")
_TABLES = ("problem", "settings", "machine", "samples")


class JournalWarning(UserWarning):
    """Something in a journal is not a record; what it was, where it is kept, and that the rest was read."""


class Journal:
    """One run's journal, open for appending. A context manager; the file appears with the first record."""

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        self.path = path
        self._is_new = is_new
        self.written = 0
        self._file: IO[str] | None = None

    @classmethod
    def new(cls, folder: Path, label: str) -> Journal:
        """A new journal in `folder`, named by the time and `label`."""
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        stem = f"{started}-{''.join(c if c.isalnum() or c in '._+-' else '-' for c in label)[:60]}"
        return cls(folder / f"{stem}{SUFFIX}", is_new=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record, whole and on disk before this returns. Raises `ResultsError` when that cannot be done."""
        line = json.dumps(_jsonable(record), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(line + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ResultsError(
                f"the journal {self.path} cannot be written: {error.strerror or error}. "
                f"The {self.written} records before are kept; go on with --resume when that is mended."
            ) from None
        self.written += 1

    def _open(self) -> IO[str]:
        if self._is_new:
            self.path = _made(self.path)
        # A lone surrogate, as from a file name that is no UTF-8, becomes JSON's own escape for it.
        file = self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n")
        _lock(file, self.path)
        set_torn_line_aside(self.path)
        return file


def _made(path: Path) -> Path:
    """`path`, or with a number where that is there already, made as an empty file that is nobody else's."""
    again = 1
    wanted = path
    while True:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            again += 1
            path = wanted.with_stem(f"{wanted.stem}-{again}")
        else:
            return path


def set_torn_line_aside(path: Path) -> Path | None:
    """Move an unfinished last line of the journal to a file beside it; gives that file, None when there was none.

    A record that lacks but the end of its line is whole, and stays.
    """
    if not path.is_file():
        return None  # such as a pipe, which has no end to look at
    with path.open("rb+") as file:
        content = file.read()
        end = content.rfind(b"\n") + 1
        torn = content[end:]
        if not torn:
            return None
        if _parsed(torn) is not None:
            file.write(b"\n")
            return None
        aside = path.with_suffix(".torn")
        with aside.open("ab") as kept:
            kept.write(torn + b"\n")
            kept.flush()
            os.fsync(kept.fileno())
        file.truncate(end)
    warnings.warn(
        f"{path.name} ended in an unfinished line of {len(torn)} bytes; it is kept in {aside.name}.",
        JournalWarning,
        stacklevel=2,
    )
    return aside


def read_records(path: Path) -> Iterator[Record]:
    """The records of one journal. Lines that are none are passed over with a `JournalWarning`; the file stays as it is.

    Raises `ResultsError` when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                record = _parsed(line)
                if record is None:
                    kind = "an unfinished line" if not line.endswith(b"\n") else "not a record"
                    message = f"{path}, line {number}: {kind}, passed over ({len(line)} bytes)."
                    warnings.warn(message, JournalWarning, stacklevel=2)
                else:
                    yield record
    except OSError as error:
        raise ResultsError(f"the journal {path} cannot be read: {error.strerror or error}.") from None


def journals(folder: Path) -> list[Path]:
    """The journals in `folder` and below, oldest first."""
    # By the stem: "...-sizes-2.jsonl" is after "...-sizes.jsonl".
    return sorted(folder.rglob(f"*{SUFFIX}"), key=lambda path: (path.stem, path))


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in _TEXTS):
        return None
    return record if all(isinstance(record.get(key) or {}, dict) for key in _TABLES) else None


def _jsonable(value: Any) -> Any:
    """`value` with what JSON has no number for (NaN, infinities) as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value


def _lock(file: IO[str], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two runs resuming one journal at once are not kept apart
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        told = f"another run is writing {path}; wait for it, or start a new run without --resume."
        raise ResultsError(told) from None
    except OSError:  # a file system without locks: likewise
        return
