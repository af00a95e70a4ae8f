"""Matrix products with the BLAS of NumPy and SciPy: what a library reaches without tuning.

They are rarely the ceiling, because wheels contain kernels for the CPUs of years ago. They are where a library uses a
matrix unit that no loop here uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy
from scipy.linalg import blas

from convbench.measurement.ceilings.side_by_side import Task

DTYPES = ("float32", "float64")
_SIZE = 1024
_Product = Callable[[Any, Any, Any], object]


def matrix_products(dtype: str) -> Iterator[tuple[str, Callable[[], Task]]]:
    """Ways to multiply: a name, and a function that makes the task. Its work is in floating-point operations.

    The environment must have limited the libraries to one thread before they were imported. One product per thread is
    the most that they could do, and other processes delay it less than a product shared by several threads.
    """
    by_scipy = partial(_by_scipy, blas.sgemm if dtype == "float32" else blas.dgemm)
    for name, library, product in (("NumPy", np, _by_numpy), ("SciPy", scipy, by_scipy)):
        yield f"{name}, {_SIZE} x {_SIZE} ({_blas_of(library)})", partial(_task, product, dtype)


def _task(product: _Product, dtype: str) -> Task:
    rng = np.random.default_rng(0)
    # In the order that SciPy's BLAS takes directly; for NumPy's it is the same product, transposed.
    a, b, out = (np.asfortranarray(rng.standard_normal((_SIZE, _SIZE)).astype(dtype)) for _ in range(3))

    def run(times: int) -> None:
        for _ in range(times):
            product(a, b, out)

    return Task(run, 2 * _SIZE**3)


def _by_numpy(a: Any, b: Any, out: Any) -> None:
    np.matmul(b.T, a.T, out=out.T)


def _by_scipy(multiply: Callable[..., object], a: Any, b: Any, out: Any) -> None:
    multiply(1.0, a, b, 0.0, out, overwrite_c=1)


def _blas_of(library: Any) -> str:
    """The BLAS that a library reports it was built with."""
    try:
        built = library.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{built['name']} {'.'.join(built['version'].split('.')[:3])}"
    except (KeyError, TypeError):
        return "BLAS"
