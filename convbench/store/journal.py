"""The journal: one file of JSON lines per run; each record is appended and flushed as soon as it is known.

An interrupted write leaves a torn last line. Readers pass it over with a warning; before anything is appended it is
moved to a file beside the journal.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, Required, TypedDict, cast

import msgspec

from convbench.errors import ResultsError
from convbench.files.user_file import FileKind, opened
from convbench.store.line_file import JournalWarning, LineFile
from convbench.store.schema import REQUIRED, TABLES, Record

SUFFIX = ".jsonl"
BUFFER_BYTES = 1 << 20
JOURNAL = FileKind("a journal", 64 * 2**30, "give a journal, or a folder of journals", ResultsError)


class Journal(LineFile):
    """One run's journal, open for appending."""

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        super().__init__(path, _is_record)
        self._is_new = is_new
        self.written = 0

    @classmethod
    def new(cls, folder: Path, label: str) -> Journal:
        """A new journal in `folder`, named by the time and `label`."""
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        stem = f"{started}-{''.join(c if c.isalnum() or c in '._+-' else '-' for c in label)[:60]}"
        return cls(folder / f"{stem}{SUFFIX}", is_new=True)

    def append(self, record: Mapping[str, Any], *, durable: bool = True) -> None:
        """Write one record; it is on disk when this returns or, unless `durable`, with the system, which writes it
        soon. Raises `ResultsError` when that cannot be done."""
        self.append_line(line_of(record), durable=durable)

    def append_line(self, line: str, *, durable: bool = True) -> None:
        """The same of a record as `line_of` writes it."""
        try:
            self.write(line, durable=durable)
            self.flush()
        except OSError as error:
            raise ResultsError(
                f"the journal {self.path} cannot be written: {error.strerror or error}. "
                f"The {self.written} records before are kept; go on with --resume when that is mended."
            ) from None
        self.written += 1

    def _open(self) -> IO[str]:
        if self._is_new:
            self.path = _made(self.path)
        file = super()._open()
        _lock(file, self.path)
        return file


def _made(path: Path) -> Path:
    """A new empty file at `path`; with a number in its name if `path` exists already."""
    again = 1
    first = path
    while True:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            again += 1
            path = first.with_stem(f"{first.stem}-{again}")
        else:
            return path


def _is_record(line: bytes) -> bool:
    return parse_line(line) is not None


class Span(NamedTuple):
    """The lines of a journal that begin at byte `start` or later and before `stop`."""

    path: Path
    start: int
    stop: int


def read_records(
    path: Path, only: Iterable[str] | None = None, start: int = 0, stop: int | None = None
) -> Iterator[Record]:
    """The records of one journal. Other lines are passed over with a `JournalWarning`; the file stays as it is.

    With `only`, each has at least these fields (`samples.wall_s` is a member of a table), which takes half the time.
    Only lines that begin at byte `start` or later and before `stop` are read. Raises `ResultsError` for an unreadable
    file.
    """
    decode = _decode_whole if only is None else _decoder(tuple(only))
    with opened(path, JOURNAL, BUFFER_BYTES) as file:
        at = begin = seek_line(file, start)
        for number, line in enumerate(file, 1):
            if stop is not None and at >= stop:
                break
            at += len(line)
            if not line.strip():
                continue
            if (record := parse_line(line, decode)) is None:
                warn_of_line(path, begin, number, line)
            else:
                yield record


def seek_line(file: IO[bytes], start: int) -> int:
    """Go to the first line that begins at byte `start` or after it; gives where that is."""
    if not start:
        return 0
    file.seek(start - 1)
    return start - 1 + len(file.readline())


@functools.lru_cache(maxsize=1)
def _lines_before(path: Path, end: int) -> int:
    """How many lines of `path` end before byte `end`."""
    lines = 0
    with path.open("rb") as file:
        while end > 0 and (piece := file.read(min(BUFFER_BYTES, end))):
            lines += piece.count(b"\n")
            end -= len(piece)
    return lines


def journals(folder: Path) -> list[Path]:
    """The journals in `folder` and below, oldest first."""
    # By the stem: "...-sizes-2.jsonl" is after "...-sizes.jsonl".
    return sorted(folder.rglob(f"*{SUFFIX}"), key=lambda path: (path.stem, path))


def _decode_whole(line: bytes) -> Record:
    return as_record(msgspec.json.decode(line))


def parse_line(line: bytes, decode: Callable[[bytes], Record] = _decode_whole) -> Record | None:
    """The record in a line of a journal; None if the line is not a record."""
    with contextlib.suppress(ValueError, RecursionError):
        if not line.isascii():
            line.decode()  # msgspec does not look into the texts that it skips
        return decode(line)
    # What msgspec refuses, such as NaN or half a surrogate, `json` reads in four times the time.
    with contextlib.suppress(ValueError, RecursionError):
        return as_record(json.loads(line))
    return None


def line_of(record: Mapping[str, Any]) -> str:
    """A record as a line of a journal, with its line end."""
    return json.dumps(jsonable(record), allow_nan=False, separators=(",", ":"), ensure_ascii=False) + "\n"


def warn_of_line(path: Path, begin: int, number: int, line: bytes) -> None:
    """Warn that line `number` (from 1) of those from byte `begin` on is not a record."""
    kind = "an unfinished line" if not line.endswith(b"\n") else "not a record"
    place = f"{path}, line {_lines_before(path, begin) + number}"
    warnings.warn(f"{place}: {kind}, passed over ({len(line)} bytes).", JournalWarning, stacklevel=3)


def as_record(value: Any) -> Record:
    """`value` as a record. Raises `ValueError`, with the reason, if it is not a record."""
    if not isinstance(value, dict):
        raise ValueError("a record is an object")
    for key in REQUIRED:
        if not isinstance(value.get(key), str):
            raise ValueError(f"a record has a text {key!r}")
    for key in TABLES:
        if not isinstance(value.get(key) or {}, dict):
            raise ValueError(f"a record's {key!r} is an object")
    return cast(Record, value)


@functools.cache
def _decoder(only: tuple[str, ...]) -> Callable[[bytes], Record]:
    """A decoder of lines to records with only these fields and members; it raises `ValueError` for other lines."""
    types: dict[str, Any] = {}
    members: dict[str, dict[str, Any]] = {}
    for name in only:
        field, _, member = name.partition(".")
        types[field] = Any
        if member:
            members.setdefault(field, {})[member] = Any
    for field, inner in members.items():
        types[field] = TypedDict(field, inner, total=False) | None  # type: ignore[operator]
    types |= dict.fromkeys(REQUIRED, Required[str])
    wanted = TypedDict("Only", types, total=False)  # type: ignore[misc]
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(wanted).decode
    return decode


def jsonable(value: Any) -> Any:
    """`value` with null for the numbers that JSON lacks (NaN, infinities), and a set as a list in order."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(jsonable, value))
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
        message = f"another run is writing {path}; wait for it, or start a new run without --resume."
        raise ResultsError(message) from None
    except OSError:  # a file system without locks: likewise
        return
