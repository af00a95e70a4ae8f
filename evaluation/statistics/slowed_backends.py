"""Backends for `power.py` and `bisect_steps.py`: a convolution in NumPy, a copy of it, and the same with 2 % and with
5 % more of the same computation.

It gathers the windows of some output rows and multiplies them by the filters. A slowed one does so again for the
first 2 % or 5 % of the rows, and throws that away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem

MORE = 0.02


class Conv(Backend):
    """One image, stride 1, no groups; a share `more` of the output rows twice."""

    requires = ("numpy",)
    supports = Supports(stride=False, dilation=False, groups=False)
    arithmetic = Arithmetic("gemm")

    def __init__(self, name: str, more: float = 0.0) -> None:
        self.name = name
        self.more = more

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        filters = w.reshape(len(w), -1)
        again = round(problem.out_height * self.more)
        kernel_rows = problem.kernel_size[0]

        def rows(padded: NDArray[Any]) -> NDArray[Any]:
            windows = sliding_window_view(padded, problem.kernel_size, (1, 2))
            gathered = windows.transpose(0, 3, 4, 1, 2).reshape(filters.shape[1], -1)
            out: NDArray[Any] = filters @ gathered
            return out

        def run() -> NDArray[Any]:
            padded = np.pad(x[0], ((0, 0), *problem.padding))
            if again:
                rows(padded[:, : again + kernel_rows - 1])
            out = rows(padded).reshape(problem.output_shape)
            return out if b is None else out + b[:, None, None]

        return Ready(run)


BACKENDS = (Conv("conv"), Conv("conv-copy"), Conv("conv-slowed", MORE), Conv("conv-slowed-more", 0.05))
