"""Multiply-adds in registers: what the arithmetic units do when nothing delays them, and the clock they run at.

A loop is trusted only after it computed correctly: it first runs a few times on small integers, whose sums are exact.
"""

from __future__ import annotations

import ctypes

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from convbench.measurement.ceilings.executable import callable_code
from convbench.measurement.ceilings.instruction_sets import Architecture, InstructionSet
from convbench.measurement.ceilings.listing import ADDITIONS
from convbench.measurement.ceilings.side_by_side import Task, WrongResultError

_MULTIPLIED = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
_SUMMED = {"bfloat16": np.dtype(np.float32)}
_FEW = 7


def multiply_adds(isa: InstructionSet, dtype: str) -> Task:
    """The loop for `dtype`; its work is in floating-point operations, two per multiply-add.

    Raises `RefusedError` if machine code is refused, `WrongResultError` if the loop computes something else.
    """
    size, sums = isa.vector_bytes, isa.loops.accumulators(isa.vector_bytes)
    loop = callable_code(isa.loops.multiply_add_loop(dtype, size).code, None, ctypes.c_int64, ctypes.c_void_p)
    block, expected = operands(dtype, size, sums, _FEW)
    loop(_FEW, block.ctypes.data)
    if block.tobytes() != expected.tobytes():
        raise WrongResultError(f"the {isa.name} loop in {dtype} does not compute what it should")
    products = size // _MULTIPLIED.get(dtype, np.dtype(dtype)).itemsize
    return Task(lambda times: loop(times, block.ctypes.data), 2 * products * sums)


def operands(dtype: str, size: int, sums: int, iterations: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The block for a multiply-add loop, with another number in every lane, and the block expected after `iterations`:
    vectors of `size` bytes, two factors and then `sums`."""
    multiplied, summed = _MULTIPLIED.get(dtype, np.dtype(dtype)), _SUMMED.get(dtype, np.dtype(dtype))
    products, lanes = size // multiplied.itemsize, size // summed.itemsize
    a, b = np.arange(products) % 5 + 1, np.arange(products) % 3 - 1
    start = np.arange(sums * lanes).reshape(sums, lanes) % 200
    end = start + iterations * (a * b).reshape(lanes, -1).sum(axis=1)

    def block(totals: NDArray[np.int64]) -> NDArray[np.uint8]:
        parts = (a.astype(multiplied), b.astype(multiplied), totals.astype(summed))
        return np.concatenate([part.reshape(-1).view(np.uint8) for part in parts])

    return block(start), block(end)


def cycles(loops: Architecture) -> Task:
    """Additions that wait for one another, one cycle each. Its work is in cycles of the CPU's clock.

    Raises as `multiply_adds` does.
    """
    loop = callable_code(loops.count_loop().code, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    if loop(_FEW, 3) != _FEW * 3 * ADDITIONS:
        raise WrongResultError("the loop that counts cycles does not count")
    return Task(lambda times: loop(times, 1), ADDITIONS)
