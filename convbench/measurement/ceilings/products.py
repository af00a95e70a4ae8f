"""What one multiply-add instruction computes: which factors it multiplies, and which sums it adds them to.

A vector instruction works in lanes, each of which adds up one product or several. A matrix instruction multiplies the
rows of its first operand by those of its second. Every loop is checked against this on small integers, whose products
and sums are exact in each format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

_EXTENDED = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
TILE_ROWS = 16
_TILE_LANE_BYTES = 4

Integers = NDArray[np.int64]


def _dtype(name: str) -> np.dtype[np.generic]:
    return _EXTENDED.get(name) or np.dtype(name)


@dataclass(frozen=True)
class Product:
    """Registers of `size` bytes: two with factors of dtype `multiplied`, one with sums of dtype `summed`.

    * "lanes": sum j adds up a * b over the factors in its lane.
    * "rows": the first half of a register is one row, the second another; sums are 2 x 2.
    * "tiles": 16 rows; those of the second operand are cut into pieces of 4 bytes, which lie one below the other (AMX).
    """

    multiplied: str
    summed: str
    size: int
    kind: Literal["lanes", "rows", "tiles"] = "lanes"

    @property
    def factors(self) -> int:
        """Of each operand in one register."""
        return self.size // _dtype(self.multiplied).itemsize

    @property
    def sums(self) -> int:
        return self.size // _dtype(self.summed).itemsize

    @property
    def operations(self) -> int:
        """Of one instruction: two per multiply-add."""
        depth = {"lanes": self.factors // self.sums, "rows": self.factors // 2, "tiles": self.factors // TILE_ROWS}
        return 2 * self.sums * depth[self.kind]

    def of(self, a: Integers, b: Integers) -> Integers:
        """What one instruction adds to the sums, for factors in the order in which they lie in the registers."""
        if self.kind == "lanes":
            lanes: Integers = (a * b).reshape(self.sums, -1).sum(axis=1)
            return lanes
        rows = 2
        if self.kind == "tiles":
            rows = TILE_ROWS
            pieces = b.reshape(-1, rows, _TILE_LANE_BYTES // _dtype(self.multiplied).itemsize)
            b = np.ascontiguousarray(pieces.transpose(1, 0, 2))
        sums: Integers = a.reshape(rows, -1) @ b.reshape(rows, -1).T
        return sums.ravel()

    def block(self, sums: int, iterations: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The memory that a multiply-add loop reads and writes, and what it should be after `iterations`: a register of
        factors, another one, then `sums` registers of sums. Neighbours have different numbers."""
        a, b = np.arange(self.factors) % 5 + 1, np.arange(self.factors) % 3 - 1
        start = np.arange(sums * self.sums).reshape(sums, self.sums) % 200
        end = start + iterations * self.of(a, b)

        def memory(totals: Integers) -> NDArray[np.uint8]:
            multiplied, summed = _dtype(self.multiplied), _dtype(self.summed)
            parts = (a.astype(multiplied), b.astype(multiplied), totals.astype(summed))
            return np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts])

        return memory(start), memory(end)
