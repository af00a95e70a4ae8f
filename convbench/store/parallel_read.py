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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from convbench.measurement.machine.facts import usable_cpus
from convbench.store.journal import Span
from convbench.store.line_file import JournalWarning

WORTH_A_PROCESS_BYTES = 64 << 20
_BOOT = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from convbench.store.parallel_read import serve; serve()"
)

Read = TypeVar("Read")
Reader = Callable[[Sequence[Span]], Iterator[Read]]
"""Reads a part; it and what it reads can be pickled."""


def read_parts(paths: Sequence[Path], reader: Reader[Read]) -> Iterator[Iterator[Read]]:
    """What `reader` reads from the journals, part by part; each part has to be read to its end before the next.

    Parts, and what is in them, are in the order of `paths` and of the lines. Raises `ResultsError` when a journal
    cannot be read.
    """
    first, *others = _parts(paths)
    processes = [_started(part, reader) for part in others]
    try:
        yield reader(first)
        for process, part in zip(processes, others, strict=True):
            yield _received(process, part, reader)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


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


def _started(part: Sequence[Span], reader: Reader[Read]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-P", "-c", _BOOT]  # without the modules of the current folder
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        pickle.dump(sys.path, process.stdin)
        pickle.dump((part, reader), process.stdin)
        process.stdin.flush()
    return process


def _received(process: subprocess.Popen[bytes], part: Sequence[Span], reader: Reader[Read]) -> Iterator[Read]:
    """What the process has read; if it ended before it sent all, the part is read here."""
    assert process.stdout is not None
    try:
        messages, packages = pickle.load(process.stdout)
    except (OSError, EOFError, pickle.PickleError):
        yield from reader(part)
        return
    for message in messages:
        warnings.warn(message, JournalWarning, stacklevel=2)
    yield from map(pickle.loads, packages)


def serve() -> None:
    """Read the part that standard input names, and write it to standard output."""
    part, reader = pickle.load(sys.stdin.buffer)
    # Read all before writing: the parent reads a part of its own meanwhile and would block the pipe.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JournalWarning)
        packages = [pickle.dumps(item, pickle.HIGHEST_PROTOCOL) for item in reader(part)]
    messages = [str(warning.message) for warning in caught if warning.category is JournalWarning]
    pickle.dump((messages, packages), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()
