"""Epilogues of oneDNN's convolution: its post-ops, an element-wise function and a binary addition."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from convbench.backend import Ready
from convbench.problem import Activation, ConvProblem, Epilogue

from . import _onednn_library as dnnl
from ._fusion import SUM, implementation_with, parts_of

if TYPE_CHECKING:
    import numpy as np

# Constants of oneapi/dnnl/dnnl_types.h.
_BINARY_ADD, _POST_OP, _SECOND_SOURCE = 0x1FFF0, 32768, 2
_CLIP = 0x2E
_ELTWISE: dict[Activation, tuple[int, float, float]] = {
    "relu": (0x20, 0.0, 0.0),
    "relu6": (_CLIP, 0.0, 6.0),
    "hard_swish": (0x34, 1 / 6, 1 / 2),
    "silu": (0x2C, 1.0, 0.0),
    "sigmoid": (0x29, 0.0, 0.0),
    "gelu": (0x31, 0.0, 0.0),
    "gelu_tanh": (0x2B, 0.0, 0.0),
}
"""The algorithm, alpha and beta of each activation; those of the others are the epilogue's own numbers."""


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
            kind, alpha, beta = _function(problem.epilogue)
            numbers = ctypes.c_float(alpha), ctypes.c_float(beta)
            dnnl.check(library.dnnl_post_ops_append_eltwise(ops, kind, *numbers))
    owned = dnnl.Owned("primitive_attr", "dnnl_primitive_attr_create")
    dnnl.check(library.dnnl_primitive_attr_set_post_ops(owned, ops))
    return owned


def _function(epilogue: Epilogue) -> tuple[int, float, float]:
    assert epilogue.activation is not None
    if epilogue.activation == "leaky_relu":
        return (0x20, epilogue.slope or 0.0, 0.0)
    if epilogue.activation == "clip":
        return (_CLIP, epilogue.low or 0.0, epilogue.high or 0.0)
    return _ELTWISE[epilogue.activation]


def prepared(
    problem: ConvProblem,
    description: dnnl.Owned,
    shapes: Mapping[int, tuple[int, ...]],
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    r: np.ndarray | None,
) -> Ready:
    """The convolution with its epilogue in one primitive, which reads the residual and writes elsewhere."""
    import numpy as np

    assert problem.epilogue is not None
    memory = {dnnl.DST: dnnl.chosen_memory(description, dnnl.DST)}
    residual = 0
    if r is not None:
        residual = _POST_OP * (parts_of(problem.epilogue).index(SUM) + 1) | _SECOND_SOURCE
    plain: dict[int, np.ndarray] = {}
    loads: dict[int, Callable[[], None]] = {}
    for argument, operand in ((dnnl.SRC, x), (dnnl.WEIGHTS, w), (dnnl.BIAS, b), (residual, r)):
        if operand is None:
            continue
        plain[argument] = np.ascontiguousarray(operand).copy()
        # oneDNN reads the residual in the layout that it chose for the output, and tells that of the output only.
        memory[argument] = dnnl.chosen_memory(description, dnnl.DST if argument == residual else argument)
        shape = problem.output_shape if argument == residual else shapes[argument]
        source = dnnl.row_major(shape, problem.dtype, plain[argument].ctypes.data)
        loads[argument] = dnnl.reordering(source, memory[argument])
        loads[argument]()

    def to_numpy(_: Any) -> np.ndarray:
        output = np.empty(problem.output_shape, x.dtype)
        dnnl.reorder(memory[dnnl.DST], dnnl.row_major(output.shape, problem.dtype, output.ctypes.data))
        return output

    run = dnnl.execution(description, memory)
    images = (dnnl.SRC, residual) if residual else (dnnl.SRC,)

    def load() -> None:
        for argument in images:
            loads[argument]()

    def on(*arrays: np.ndarray) -> np.ndarray:
        for argument, array in zip(images, arrays, strict=True):
            plain[argument][...] = array
        load()
        run()
        return to_numpy(None)

    def touch() -> None:
        to_numpy(None)  # reads the output's memory
        load()

    kernel = dnnl.implementation(description)
    # The primitive computes all of it, or would not exist.
    explain = lambda: implementation_with(kernel, problem, parts_of(problem.epilogue))  # noqa: E731
    return Ready(run, to_numpy=to_numpy, on={"numpy": on}, touch=touch, kernel=kernel, explain=explain)
