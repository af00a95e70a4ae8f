"""Journals read in as many parts as there are CPUs; every part but the first is read by a process of its own.

These are plain processes, not `multiprocessing`, which would import the caller's script again. A part whose process
fails, for whatever reason, is read here. Small journals are one part.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

import msgspec

from convbench.measurement.machine.facts import usable_cpus
from convbench.store.columns import Block, BlockReader
from convbench.store.journal import JournalWarning, read_records
from convbench.store.schema import Kind, Record

WORTH_A_PROCESS_BYTES = 64 << 20
_BOOT = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from convbench.store.parallel_read import serve; serve()"
)
_AT_A_TIME = 1000

Read = TypeVar("Read")


class Span(NamedTuple):
    """The lines of a journal that begin at byte `start` or later and before `stop`."""

    path: Path
    start: int
    stop: int


class Reader(Protocol[Read]):
    """Reads a part, and packs the result for another process."""

    def read(self, part: Sequence[Span]) -> Iterator[Read]: ...

    def packed(self, read: Iterator[Read]) -> Iterator[Any]: ...

    def unpacked(self, package: Any) -> Iterable[Read]: ...


@dataclass(frozen=True)
class Columns:
    """Blocks of columns. Codes go on from block to block within a part."""

    fields: Mapping[str, Kind]

    def read(self, part: Sequence[Span]) -> Iterator[Block]:
        reader = BlockReader(self.fields)
        for span in part:
            yield from reader.read(*span)

    def packed(self, read: Iterator[Block]) -> Iterator[Block]:
        return read

    def unpacked(self, package: Block) -> Iterable[Block]:
        return (package,)


@dataclass(frozen=True)
class Records:
    """Records of at least the fields `only`."""

    only: tuple[str, ...]

    def read(self, part: Sequence[Span]) -> Iterator[Record]:
        for span in part:
            yield from read_records(span.path, self.only, span.start, span.stop)

    def packed(self, read: Iterator[Record]) -> Iterator[tuple[bytes, list[str]]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", JournalWarning)
            while some := list(islice(read, _AT_A_TIME)):
                yield msgspec.msgpack.encode(some), []
        yield msgspec.msgpack.encode([]), [str(warning.message) for warning in caught]

    def unpacked(self, package: tuple[bytes, list[str]]) -> Iterable[Record]:
        some, messages = package
        for message in messages:
            warnings.warn(message, JournalWarning, stacklevel=2)
        return cast(list[Record], msgspec.msgpack.decode(some))


def read_parts(paths: Sequence[Path], reader: Reader[Read]) -> Iterator[Iterator[Read]]:
    """What `reader` reads from the journals, part by part; each part has to be read to its end before the next.

    Parts, and what is in them, are in the order of `paths` and of the lines. Raises `ResultsError` when a journal
    cannot be read.
    """
    first, *others = _parts(paths)
    processes = [_OtherProcess(part, reader) for part in others]
    try:
        yield reader.read(first)
        for process in processes:
            yield process.read()
    finally:
        for process in processes:
            process.end()


def _parts(paths: Sequence[Path]) -> list[list[Span]]:
    """The bytes of the journals, in order, cut into parts of equal size; at least one part."""
    sizes = {path: _size(path) for path in paths}
    total = sum(sizes.values())
    count = max(1, min(usable_cpus(), total // WORTH_A_PROCESS_BYTES)) if sys.executable else 1
    cuts = iter([total * number // count for number in range(1, count + 1)])
    parts: list[list[Span]] = [[]]
    done, cut = 0, next(cuts)
    for path, size in sizes.items():
        start = 0
        while done + size - start > cut and len(parts) < count:
            parts[-1].append(Span(path, start, start + cut - done))
            start, done, cut = start + cut - done, cut, next(cuts)
            parts.append([])
        parts[-1].append(Span(path, start, size))
        done += size - start
    return parts


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 1  # reading it will say what is wrong


class _OtherProcess(Generic[Read]):
    """A process that reads a part."""

    def __init__(self, part: Sequence[Span], reader: Reader[Read]) -> None:
        self._part, self._reader = part, reader
        words = [sys.executable, "-c", _BOOT]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            pickle.dump(sys.path, self._process.stdin)
            pickle.dump((part, reader), self._process.stdin)
            self._process.stdin.flush()

    def read(self) -> Iterator[Read]:
        packages = self._packages()
        if packages is None:
            yield from self._reader.read(self._part)
        else:
            for package in packages:
                yield from self._reader.unpacked(package)

    def _packages(self) -> list[Any] | None:
        """All that the process has read; None if it ended before it sent the end mark."""
        try:
            return list(iter(lambda: pickle.load(self._process.stdout), None))  # type: ignore[arg-type]
        except (OSError, EOFError, pickle.PickleError):
            return None

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def serve() -> None:
    """Read the part that standard input names, and write it to standard output."""
    part, reader = pickle.load(sys.stdin.buffer)
    # Read all before writing: the parent reads a part of its own meanwhile and would block the pipe.
    for package in list(reader.packed(reader.read(part))):
        pickle.dump(package, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    pickle.dump(None, sys.stdout.buffer)
    sys.stdout.buffer.flush()
