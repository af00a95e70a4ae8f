"""Arrays in a file in memory, from which every worker reads them, instead of a copy through each worker's pipe.

A case has three sets of operands, and each set goes to every backend. Through pipes the run would write all of it once
per backend, and wait meanwhile. On Linux the file has no name in any folder, so it vanishes with this process however
that ends; elsewhere it is a temporary file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections import UserDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.verification.operands import Operands

ArrayLocation = tuple[str, str, tuple[int, ...], int]
"""An array in such a file: its name, dtype, shape and offset in bytes."""


class SharedArrays(UserDict[str, NDArray[Any]]):
    """`arrays` by name, and a copy in the file at `path`, at `locations`. Raises `OSError` if there can be none."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(arrays)
        self._has_name = sys.platform != "linux"
        if self._has_name:
            self._file, self.path = tempfile.mkstemp(prefix="convbench-")
        else:
            self._file = os.memfd_create("convbench", os.MFD_CLOEXEC)
            self.path = f"/proc/{os.getpid()}/fd/{self._file}"
        self.locations: list[ArrayLocation] = []
        try:
            offset = 0
            for name, array in self.items():
                self.locations.append((name, array.dtype.name, array.shape, offset))
                rest = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
                while rest.nbytes:
                    rest = rest[os.write(self._file, rest) :]
                offset += array.nbytes
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Give the memory back. A worker keeps the copy that it read."""
        os.close(self._file)
        if self._has_name:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()


class SharedArrayCache(contextlib.ExitStack):
    """The shared arrays of one case. A context manager: leaving it closes them."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: dict[int, tuple[Operands, Mapping[str, NDArray[Any]]]] = {}

    def of(self, operands: Operands) -> Mapping[str, NDArray[Any]]:
        """`operands` by name, shared if there is memory for it; otherwise they are sent through the pipe."""
        if id(operands) not in self._shared:
            arrays: Mapping[str, NDArray[Any]] = operands.named()
            with contextlib.suppress(OSError):
                arrays = self.enter_context(contextlib.closing(SharedArrays(arrays)))
            self._shared[id(operands)] = operands, arrays
        return self._shared[id(operands)][1]
