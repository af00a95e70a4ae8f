"""conv2d of PyTorch compiled by torch.compile: inductor's code around oneDNN's convolution, weights frozen and packed.

Inductor keeps the C++ code that it compiled on disk (TORCHINDUCTOR_CACHE_DIR): a later run prepares faster than the
first one.
"""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from typing import TYPE_CHECKING, Any

from convbench.backend import WHOLE_OF_CONV2D, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem

if TYPE_CHECKING:
    import numpy as np

_COMPILER = {"Darwin": "clang++", "Windows": "cl"}  # elsewhere g++; what inductor calls when CXX names none


class TorchCompile(Backend):
    name = "torch-compile"
    requires = ("torch",)
    summary = "F.conv2d through torch.compile (inductor) with frozen weights, in channels_last"
    supports = WHOLE_OF_CONV2D
    arithmetic = Arithmetic("direct" if platform.machine() in ("x86_64", "AMD64") else "auto", taints=("bfloat16",))
    prepacks = ("input", "weight", "output")

    def unavailable(self) -> str | None:
        compiler = os.environ.get("CXX") or _COMPILER.get(platform.system(), "g++")
        if shutil.which(compiler) is None:
            return f"torch.compile wants a C++ compiler, and there is no {compiler}: install it, or name one in CXX"
        return super().unavailable()

    def limit_threads(self, n: int) -> None:
        import torch
        from torch._inductor import config

        torch.set_num_threads(n)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)
        config.compile_threads = 1  # more are processes that import torch as well, and stay

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        import torch
        from torch._inductor import config
        from torch.nn.functional import conv2d

        from ._torch_tensors import on_both, padding, tensor, to_numpy

        input_, weight = (tensor(a).to(memory_format=torch.channels_last) for a in (x, w))
        # Parameters that a function refers to are frozen; other tensors would be passed to the code as arguments.
        weight = torch.nn.Parameter(weight, requires_grad=False)
        bias = None if b is None else torch.nn.Parameter(tensor(b), requires_grad=False)
        padded, sides = padding(problem)
        stride, dilation, groups = problem.stride, problem.dilation, problem.groups

        def convolve(x: Any) -> Any:
            return conv2d(x if padded is None else padded(x), weight, bias, stride, sides, dilation, groups)

        # Compiled versions are kept with the code object, and no more than 8: every convolution has its own.
        convolve.__code__ = convolve.__code__.replace()
        compiled = torch.no_grad()(torch.compile(convolve, fullgraph=True, dynamic=False))
        # Frozen weights are packed for oneDNN, which is twice as fast at 512 channels of 7x7. It has no float64, and
        # inductor does not ask: "itensor_view_from_dense expects float/bfloat16/half/int8/fp8 tensor inputDouble".
        freezing = config.patch(freezing=problem.dtype != "float64")
        with freezing, warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # torch's, of itself
            compiled(input_)  # torch.compile compiles when it is first called
        on = on_both(lambda x: compiled(x.contiguous(memory_format=torch.channels_last)))
        return Ready(lambda: compiled(input_), to_numpy=to_numpy, on=on)

    def script(self, problem: ConvProblem) -> str | None:
        from ._torch_script import torch_script

        freezing = problem.dtype != "float64"
        return torch_script(
            problem,
            channels_last=True,
            settings=["from torch._inductor import config"],
            made_ready=[
                "w, b = (a if a is None else torch.nn.Parameter(a, requires_grad=False) for a in (w, b))",
                "conv = lambda x: conv2d({x}, w, b, {stride}, {padding}, {dilation}, {groups})",
                "conv = torch.no_grad()(torch.compile(conv, fullgraph=True, dynamic=False))",
                f"with config.patch(freezing={freezing}):",
                "    conv(x)",
            ],
            call="conv(x)",
        )


BACKENDS = (TorchCompile(),)
