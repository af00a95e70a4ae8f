"""Floating-point operations: multiply-adds in registers, the clock they run at, and matrix products of a BLAS.

A loop is trusted only after it computed correctly: it first runs a few times on small integers, whose sums are exact.
Matrix products show what a library reaches without tuning. They are rarely the ceiling, because wheels contain kernels
for the CPUs of years ago. They are where a library uses a matrix unit that no loop here uses.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.linalg import blas

from convbench.measurement.ceilings.instruction_sets import Architecture, InstructionSet
from convbench.measurement.ceilings.machine_code import ADDITIONS, callable_code
from convbench.measurement.ceilings.side_by_side import Task, WrongResultError

_MULTIPLIED = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
_SUMMED = {"bfloat16": np.dtype(np.float32)}
_FEW = 7


def multiply_adds(isa: InstructionSet, dtype: str) -> Task:
    """The loop for `dtype`; its work is in floating-point operations, two per multiply-add. Raises `RefusedError` if
    machine code is refused, `WrongResultError` if the loop computes something else."""
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
    """Additions that wait for one another, one cycle each. Its work is in cycles of the CPU's clock. Raises as
    `multiply_adds` does."""
    loop = callable_code(loops.count_loop().code, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    if loop(_FEW, 3) != _FEW * 3 * ADDITIONS:
        raise WrongResultError("the loop that counts cycles does not count")
    return Task(lambda times: loop(times, 1), ADDITIONS)


DTYPES = ("float32", "float64")
_SIZE = 1024


def matrix_products(dtype: str) -> Iterator[tuple[str, Callable[[], Task]]]:
    """Ways to multiply: a name, and a function that makes the task. Its work is in floating-point operations. The
    environment must have limited the libraries to one thread before they were imported. One product per thread is the
    most that they could do, and other processes delay it less than a product shared by several threads."""
    multiply = blas.sgemm if dtype == "float32" else blas.dgemm
    yield _product_name(np), partial(_task, dtype, lambda a, b, out: np.matmul(b.T, a.T, out=out.T))
    yield _product_name(scipy), partial(_task, dtype, lambda a, b, out: multiply(1.0, a, b, 0.0, out, overwrite_c=1))


def _task(dtype: str, product: Callable[[Any, Any, Any], object]) -> Task:
    rng = np.random.default_rng(0)
    # In the order that SciPy's BLAS takes directly; for NumPy's it is the same product, transposed.
    a, b, out = (np.asfortranarray(rng.standard_normal((_SIZE, _SIZE)).astype(dtype)) for _ in range(3))

    def run(times: int) -> None:
        for _ in range(times):
            product(a, b, out)

    return Task(run, 2 * _SIZE**3)


def _product_name(library: Any) -> str:
    name = {"numpy": "NumPy", "scipy": "SciPy"}[library.__name__]
    try:
        built = library.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{name}, {_SIZE} x {_SIZE} ({built['name']} {'.'.join(built['version'].split('.')[:3])})"
    except (KeyError, TypeError):
        return f"{name}, {_SIZE} x {_SIZE} (BLAS)"
