"""Epilogues of oneDNN's convolution: its post-ops, an element-wise function and a binary addition."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from convbench.backend import Ready
from convbench.problem import ConvProblem

from .._fusion import SUM, implementation_with, parts_of
from . import library as dnnl
from .eltwise import CODES, function_of
from .execution import executed

if TYPE_CHECKING:
    import numpy as np

# Constants of oneapi/dnnl/dnnl_types.h.
_BINARY_ADD, _POST_OP, _SECOND_SOURCE = 0x1FFF0, 32768, 2


def attributes(problem: ConvProblem) -> dnnl.Owned | None:
    """The attributes of the primitive with the problem's epilogue as post-ops; None without one."""
    if problem.epilogue is None:
        return None
    library, ops = dnnl.library(), dnnl.Owned("post_ops", "dnnl_post_ops_create")
    for part in parts_of(problem.epilogue):
        if part == SUM:
            residual = dnnl.any_layout(problem.output_shape, problem.dtype)
            dnnl.check(library.dnnl_post_ops_append_binary(ops, _BINARY_ADD, residual))
        else:
            word, alpha, beta = function_of(problem.epilogue)
            numbers = ctypes.c_float(alpha), ctypes.c_float(beta)
            dnnl.check(library.dnnl_post_ops_append_eltwise(ops, CODES[word], *numbers))
    owned = dnnl.Owned("primitive_attr", "dnnl_primitive_attr_create")
    dnnl.check(library.dnnl_primitive_attr_set_post_ops(owned, ops))
    return owned


def prepared(
    problem: ConvProblem,
    description: dnnl.Owned,
    operands: Mapping[int, tuple[np.ndarray, tuple[int, ...]]],
    r: np.ndarray | None,
) -> Ready:
    """The convolution with its epilogue in one primitive, which reads the residual and writes elsewhere. `operands` are
    arrays by argument, each with the shape that the primitive gives it."""
    assert problem.epilogue is not None
    parts, residual = parts_of(problem.epilogue), None
    if r is not None:
        residual = _POST_OP * (parts.index(SUM) + 1) | _SECOND_SOURCE
        operands = {**operands, residual: (r, problem.output_shape)}
    ready = executed(problem, description, operands, residual)
    # The primitive computes all of it, or would not exist.
    return replace(ready, explain=lambda: implementation_with(ready.kernel, problem, parts))
