"""A shelf: arrays in a file in memory, where every worker fetches them, instead of being sent them through its pipe.

A case has three sets of operands, and each of them goes to every backend: through pipes the run would write all of it
anew for each, and wait meanwhile. On Linux the file has no name in any folder, so that it is gone with this process,
however that ends; elsewhere it is a temporary one.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.verification.operands import Operands

ArrayLocation = tuple[str, str, tuple[int, ...], int]
"""Of an array in a shelf: its name, dtype, shape and offset in bytes."""


class SharedArrays(Mapping[str, NDArray[Any]]):
    """`arrays` by name, as they are here, and a copy of them in the file at `path`, at `places`. Raises `OSError` where
    there can be no such file."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = dict(arrays)
        self._has_name = sys.platform != "linux"
        self._file, self.path = _temporary_file() if self._has_name else _memory_file()
        self.places: list[ArrayLocation] = []
        try:
            offset = 0
            for name, array in self._arrays.items():
                self.places.append((name, array.dtype.name, array.shape, offset))
                flat = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
                while flat.nbytes:
                    flat = flat[os.write(self._file, flat) :]
                offset += array.nbytes
        except OSError:
            self.clear()
            raise

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def clear(self) -> None:
        """Give the memory back. What was fetched stays with who fetched it."""
        os.close(self._file)
        if self._has_name:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()


class SharedArrayCache:
    """The shelves of a case. A context manager: leaving it clears them."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Operands, Mapping[str, NDArray[Any]]]] = {}

    def __enter__(self) -> SharedArrayCache:
        return self

    def __exit__(self, *_: object) -> None:
        for _operands, shelf in self._kept.values():
            if isinstance(shelf, SharedArrays):
                shelf.clear()
        self._kept.clear()

    def of(self, operands: Operands) -> Mapping[str, NDArray[Any]]:
        """`operands` by name, on a shelf; where there can be none, such as for want of memory, just so."""
        if id(operands) not in self._kept:
            arrays = {"x": operands.x, "w": operands.w} | ({} if operands.b is None else {"b": operands.b})
            shelf: Mapping[str, NDArray[Any]] = arrays
            with contextlib.suppress(OSError):
                shelf = SharedArrays(arrays)
            self._kept[id(operands)] = operands, shelf
        return self._kept[id(operands)][1]


def _memory_file() -> tuple[int, str]:
    file = os.memfd_create("convbench", os.MFD_CLOEXEC)
    return file, f"/proc/{os.getpid()}/fd/{file}"


def _temporary_file() -> tuple[int, str]:
    return tempfile.mkstemp(prefix="convbench-")
