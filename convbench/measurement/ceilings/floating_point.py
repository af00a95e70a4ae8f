"""Operations a second: multiply-adds in registers, the clock they run at, and matrix products of a BLAS.

A loop is trusted only after it computed correctly: it first runs a few times on small integers, whose sums are exact.
Matrix products show what a library reaches without tuning. They are rarely the ceiling, because wheels contain kernels
for the CPUs of years ago.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy
from scipy.linalg import blas

from convbench.measurement.ceilings.instruction_sets import Architecture, MultiplyAdd
from convbench.measurement.ceilings.machine_code import ADDITIONS, callable_code, permit_tiles
from convbench.measurement.ceilings.side_by_side import Task, WrongResultError

_FEW = 7


def multiply_adds(loop: MultiplyAdd) -> Task:
    """The loop as a task, whose work is in operations, two per multiply-add. Raises `RefusedError` if machine code or
    its instructions are refused, `WrongResultError` if the loop computes something else."""
    if loop.on_tiles:
        permit_tiles()
    run = callable_code(loop.listing().code, None, ctypes.c_int64, ctypes.c_void_p)
    header = np.frombuffer(loop.header, np.uint8)
    block, expected = (np.concatenate([header, part]) for part in loop.product.block(loop.sums, _FEW))
    run(_FEW, block.ctypes.data)
    if block.tobytes() != expected.tobytes():
        raise WrongResultError(f"the loop of {loop.name} in {loop.dtype} does not compute what it should")
    return Task(lambda times: run(times, block.ctypes.data), loop.product.operations * loop.sums)


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
