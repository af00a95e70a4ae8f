"""A forward convolution of oneDNN, ready to be called: its operands in the layouts that oneDNN chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from convbench.backend import Ready
from convbench.problem import ConvProblem

from . import library as dnnl

if TYPE_CHECKING:
    import numpy as np


def executed(
    problem: ConvProblem,
    description: dnnl.Owned,
    operands: Mapping[int, tuple[np.ndarray, tuple[int, ...]]],
    residual: int | None = None,
) -> Ready:
    """`operands` are arrays by argument, each with the shape that the primitive gives it. The input, and the operand
    that is the `residual`, can be given anew."""
    import numpy as np

    memory = {dnnl.DST: dnnl.chosen_memory(description, dnnl.DST)}
    images = [dnnl.SRC] if residual is None else [dnnl.SRC, residual]
    plain: dict[int, np.ndarray] = {}
    loads: dict[int, Callable[[], None]] = {}
    for argument, (operand, shape) in operands.items():
        row_major = np.array(operand, order="C")  # a copy, which a new image overwrites
        # oneDNN reads the residual in the layout that it chose for the output, and tells that of the output only.
        memory[argument] = dnnl.chosen_memory(description, dnnl.DST if argument == residual else argument)
        load = dnnl.reordering(dnnl.row_major(shape, problem.dtype, row_major.ctypes.data), memory[argument])
        load()
        if argument in images:
            plain[argument], loads[argument] = row_major, load
    dtype = plain[dnnl.SRC].dtype

    def to_numpy(_: Any) -> np.ndarray:
        output = np.empty(problem.output_shape, dtype)
        dnnl.reorder(memory[dnnl.DST], dnnl.row_major(output.shape, problem.dtype, output.ctypes.data))
        return output

    run = dnnl.execution(description, memory)

    def on(*arrays: np.ndarray) -> np.ndarray:
        for argument, array in zip(images, arrays, strict=True):
            plain[argument][...] = array
            loads[argument]()
        run()
        return to_numpy(None)

    def touch() -> None:
        to_numpy(None)  # reads the output's memory
        for argument in images:
            loads[argument]()

    return Ready(run, to_numpy=to_numpy, on={"numpy": on}, touch=touch, kernel=dnnl.implementation(description))
