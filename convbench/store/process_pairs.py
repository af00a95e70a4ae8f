"""What was seen of between-process variation on a machine: ratios of two processes of one backend, kept for later runs.

One file of JSON lines beside the journals, which every run appends to. It has no suffix, so that neither asv nor a
reader of journals takes it for its own. A line that cannot be read is passed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from convbench.errors import ResultsError
from convbench.files.user_file import FileKind, opened
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.settings import Settings
from convbench.store.line_file import LineFile

NAME = "process-pairs"
_NEWEST = 200
_LARGEST = 10.0
_LONGEST_BYTES = 1 << 20


class ProcessPair(msgspec.Struct, frozen=True):
    """The logarithm of the ratio of two processes that ran one backend, on operands of so many bytes in all."""

    cpu: str
    threads: int
    allocator: str
    operand_bytes: int
    log_ratio: float


def pair_here(settings: Settings, operand_bytes: int, log_ratio: float) -> ProcessPair:
    return ProcessPair(machine_facts()["cpu"], settings.threads, settings.allocator, operand_bytes, log_ratio)


def keep_pairs(folder: Path, pairs: Sequence[ProcessPair]) -> None:
    """Append the pairs. Does nothing where that is not possible: the records are what counts."""
    keep_lines(folder / NAME, pairs)


def kept_pairs(folder: Path, settings: Settings) -> list[ProcessPair]:
    """The newest pairs of this CPU with these threads and this allocator, oldest first."""
    like = pair_here(settings, 0, 0.0)
    pairs = [
        pair
        for pair in kept_lines(folder / NAME, ProcessPair)
        if (pair.cpu, pair.threads, pair.allocator) == (like.cpu, like.threads, like.allocator)
        and abs(pair.log_ratio) < _LARGEST
    ]
    return pairs[-_NEWEST:]


_KIND = FileKind("a file of what a machine varies by", 2**30, "remove it", ResultsError)
Line = TypeVar("Line", bound=msgspec.Struct)


def keep_lines(path: Path, lines: Sequence[msgspec.Struct]) -> None:
    """Append a line of JSON for each. Does nothing where that is not possible."""
    with contextlib.suppress(OSError), LineFile(path) as file:
        file.write("".join(msgspec.json.encode(line).decode() + "\n" for line in lines), durable=False)


def kept_lines(path: Path, type_of_line: type[Line]) -> list[Line]:
    """The newest lines of a file, up to 1 MiB of them, oldest first, without those that are something else."""
    lines: list[bytes] = []
    with contextlib.suppress(ResultsError), opened(path, _KIND) as file:
        file.seek(max(0, file.seek(0, 2) - _LONGEST_BYTES))
        lines = file.read().splitlines()
    read: list[Line] = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            read.append(msgspec.json.decode(line, type=type_of_line))
    return read
