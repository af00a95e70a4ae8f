"""Bytes per second from each cache and from memory: reading alone, and a triad, a = b + s * c.

The bytes that the program reads and writes count. The fetch of a line before it is written does not.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from convbench.measurement.ceilings.instruction_sets import InstructionSet
from convbench.measurement.ceilings.machine_code import callable_code
from convbench.measurement.ceilings.side_by_side import Task, WrongResultError

_PAGE = 4096
_CHUNK = 4 << 20
_LEAST_OF_MEMORY, _MOST_OF_MEMORY = 128 << 20, 1 << 30
_WORTH_NUMPY = 1 << 20  # bytes of an array beyond which NumPy's own cost per call no longer shows

Move = Callable[[int, int, int], object]
"""Moves bytes for a number of passes, from an offset in each of its arrays and over a length in bytes."""


@dataclass(frozen=True)
class Extent:
    """A level of the memory: its name, the bytes it holds for all threads together (None for main memory), and how many
    bytes are read and written to measure it."""

    name: str
    holds: int | None
    measured: int


def extents(caches: Mapping[str, int], memory_limit: int) -> list[Extent]:
    """The levels to measure: half of each cache, or more if the caches inside it are as large. Of main memory, four
    times the caches (twice if that is much), provided that there is enough. Empty if the caches are unknown, because
    then nothing shows where data lies."""
    levels, inside = [], 0
    for name, size in caches.items():
        # A cache for data evicted from smaller ones adds their size to its own.
        levels.append(Extent(name, size, size // 2 if inside < size // 4 else inside + size // 4))
        inside += size
    enough = max(min(max(4 * inside, _LEAST_OF_MEMORY), _MOST_OF_MEMORY), 2 * inside)
    if caches and enough <= memory_limit // 4:
        levels.append(Extent("memory", None, enough))
    return levels


def moves(isas: Sequence[InstructionSet], extent: Extent, threads: int) -> Iterator[tuple[str, Callable[[], Task]]]:
    """Ways to move bytes within `extent`: a name, and a function that makes the task for each of `threads`, whose work
    is in bytes. NumPy moves them only without instruction sets and on long arrays. Raises as `multiply_adds`."""
    share, in_parts = extent.measured // threads, extent.holds is None
    for isa in isas:
        yield f"{isa.name} read", partial(read, isa, share, in_parts)
        yield f"{isa.name} triad", partial(triad, isa, share, in_parts)
    if not isas and share // 3 >= _WORTH_NUMPY:
        yield "NumPy add", partial(add, share, in_parts)


def read(isa: InstructionSet, share: int, in_parts: bool) -> Task:
    """Read `share` bytes; `in_parts` if they exceed the caches, so that no chunk is still in one."""
    size, step = isa.vector_bytes, isa.step_bytes
    loop = callable_code(
        isa.loops.read_loop(size).code, None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
    )
    sums, values = np.arange(step // 4, dtype=np.float32), np.arange(3 * step // 4, dtype=np.float32)
    expected = sums + 2 * values.reshape(3, -1).sum(axis=0)
    loop(2, values.nbytes, values.ctypes.data, sums.ctypes.data)
    if (sums != expected).any():
        raise WrongResultError(f"the {isa.name} loop that reads does not add up what it should")
    source = buffer(share)

    def move(passes: int, at: int, length: int) -> None:
        loop(passes, length, source.ctypes.data + at, sums.ctypes.data)

    return _task(move, share, step, 1, in_parts)


def triad(isa: InstructionSet, share: int, in_parts: bool) -> Task:
    """a = b + s * c in float32, on three arrays of `share` bytes together; `in_parts` as for `read`."""
    size, step = isa.vector_bytes, isa.step_bytes
    loop = callable_code(isa.loops.triad_loop(size).code, None, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * 4)
    factors = np.full(size // 4, 4, np.float32)
    b, c = np.arange(3 * step // 4, dtype=np.float32), np.arange(3 * step // 4, dtype=np.float32) % 7
    a = np.zeros_like(b)
    loop(2, b.nbytes, *(array.ctypes.data for array in (a, b, c, factors)))
    if (a != b + 4 * c).any():
        raise WrongResultError(f"the {isa.name} triad does not compute what it should")
    arrays = _thirds(share)

    def move(passes: int, at: int, length: int) -> None:
        loop(passes, length, *(array.ctypes.data + at for array in arrays), factors.ctypes.data)

    return _task(move, arrays[0].nbytes, step, 3, in_parts)


def add(share: int, in_parts: bool) -> Task:
    """a = b + c with NumPy, without machine code; arguments as for `triad`."""
    a, b, c = _thirds(share)

    def move(passes: int, at: int, length: int) -> None:
        part = slice(at // 4, (at + length) // 4)
        for _ in range(passes):
            np.add(b[part], c[part], out=a[part])

    return _task(move, a.nbytes, _PAGE, 3, in_parts)


def _task(move: Move, size: int, step: int, moved: int, in_parts: bool) -> Task:
    """`move` over arrays of `size` bytes in multiples of `step`; `moved` arrays are moved at once. In parts, it
    continues chunk by chunk, so that a chunk has left every cache when its turn comes again."""
    if not in_parts:
        whole = size // step * step
        return Task(lambda passes: move(passes, 0, whole), moved * whole)
    chunk = min(_CHUNK, size // 4) // step * step
    at = 0

    def run(times: int) -> None:
        nonlocal at
        for _ in range(times):
            move(1, at, chunk)
            at = at + chunk if at + 2 * chunk <= size else 0

    return Task(run, moved * chunk)


def _thirds(share: int) -> list[NDArray[np.float32]]:
    """Three arrays in one buffer of about `share` bytes. Each starts at another offset in its page, because CPUs may
    otherwise make a load wait for an unrelated store."""
    third = share // 3 // _PAGE * _PAGE + _PAGE // 4
    return np.split(buffer(3 * third), 3)


def buffer(size: int) -> NDArray[np.float32]:
    """An array of float32 ones in `size` bytes of private memory, in huge pages if the system has any."""
    memory = mmap.mmap(-1, size, **_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    values = np.frombuffer(memory, np.float32, size // 4)
    values[:] = 1
    return values


_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
