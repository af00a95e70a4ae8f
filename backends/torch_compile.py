"""conv2d of PyTorch compiled by torch.compile: inductor's code around oneDNN's convolution, with packed weights.

Inductor's cache of compiled C++ code is kept, so later runs prepare faster than the first. Gradients and training steps
are compiled, too, without freezing: in training weights change. Inductor has no kernel of its own for them on the CPU,
so its code calls `convolution_backward`, and what it compiles itself is the padding that conv2d does not do.
"""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convbench.backend import WITH_EPILOGUES, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem

from ._issue_forms import PYTORCH
from ._onednn.log import LOSES_NAN
from ._torch.conv2d import CPU_ALGORITHM, ISA_SWITCHES, limit_torch_threads
from ._torch.fused import epilogue_code
from ._torch.script import CALL, torch_gradient_script, torch_script

if TYPE_CHECKING:
    import numpy as np

_COMPILER = {"Darwin": "clang++", "Windows": "cl"}  # what inductor calls without CXX; elsewhere g++


class TorchCompile(Backend):
    name = "torch-compile"
    requires = ("torch",)
    issue_form = PYTORCH
    summary = "F.conv2d through torch.compile (inductor) with frozen weights, in channels_last"
    supports = WITH_EPILOGUES
    # Inductor's own vector code for minima and maxima keeps NaN, and oneDNN's post-ops do not. Parts of gradients are
    # added as in torch's own call, because it is that.
    arithmetic = Arithmetic(
        CPU_ALGORITHM,
        adds_gradients_in_dtype=True,
        epilogue_in_dtype=True,
        loses_nan=LOSES_NAN,
        taints=("bfloat16",),
    )
    prepacks = ("input", "weight", "output")
    kept_caches = ("TORCHINDUCTOR_CACHE_DIR",)
    isa_switches = ISA_SWITCHES

    def unavailable(self) -> str | None:
        compiler = os.environ.get("CXX") or _COMPILER.get(platform.system(), "g++")
        if shutil.which(compiler) is None:
            return f"torch.compile needs a C++ compiler, and there is no {compiler}: install it, or name one in CXX"
        return super().unavailable()

    def limit_threads(self, n: int) -> None:
        from torch._inductor import config

        limit_torch_threads(n)
        config.compile_threads = 1  # others are processes that import torch, too, and stay

    def isa_in_use(self) -> str | None:
        import torch

        return torch.backends.cpu.get_cpu_capability()

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self.prepare_fused(problem, x, w, b, None)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        import torch
        from torch._inductor import config
        from torch.nn.functional import conv2d

        from ._torch.fused import separately
        from ._torch.kernels import explained
        from ._torch.tensors import on_both, padding, tensor, to_numpy, touch_of

        input_, weight = (tensor(a).to(memory_format=torch.channels_last) for a in (x, w))
        # Parameters that a function refers to are frozen. Other tensors become arguments of the compiled code.
        weight = torch.nn.Parameter(weight, requires_grad=False)
        bias = None if b is None else torch.nn.Parameter(tensor(b), requires_grad=False)
        padded, sides = padding(problem)
        stride, dilation, groups = problem.stride, problem.dilation, problem.groups

        end = None if problem.epilogue is None else separately(problem.epilogue)
        residual = [] if r is None else [tensor(r).to(memory_format=torch.channels_last)]

        def convolve(x: Any, *residual: Any) -> Any:
            y = conv2d(x if padded is None else padded(x), weight, bias, stride, sides, dilation, groups)
            return y if end is None else end(y, residual[0] if residual else None)

        compiled = torch.no_grad()(_compiled(convolve))
        # Frozen weights are packed for oneDNN, twice as fast at 512 channels of 7x7. oneDNN has no float64, which
        # inductor does not check: "itensor_view_from_dense expects float/bfloat16/half/int8/fp8 tensor inputDouble".
        freezing = config.patch(freezing=problem.dtype != "float64")
        with freezing:
            _compile_by_calling(compiled, input_, *residual)
        on = on_both(lambda *images: compiled(*(a.contiguous(memory_format=torch.channels_last) for a in images)))
        run = lambda: compiled(input_, *residual)  # noqa: E731
        explain = explained(run, "cpu", problem)
        return Ready(run, to_numpy=to_numpy, on=on, touch=touch_of(input_, *residual), explain=explain)

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        import torch

        from ._torch.gradients import gradient, operand
        from ._torch.kernels import explained
        from ._torch.tensors import tensor, to_numpy, touch_of

        layout = torch.channels_last
        upstream = tensor(g).to(memory_format=layout)
        input_, weight = (
            operand(array, shape, upstream.dtype).to(memory_format=layout)
            for array, shape in ((x, problem.input_shape), (w, problem.weight_shape))
        )
        compiled = _compiled(gradient(problem, input_, weight, layout))
        _compile_by_calling(compiled, upstream)
        run = lambda: compiled(upstream)  # noqa: E731
        return Ready(run, to_numpy=to_numpy, touch=touch_of(upstream), explain=explained(run, "cpu"))

    def prepare_step(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, g: np.ndarray
    ) -> Ready:
        import torch
        from torch.nn.functional import conv2d

        from ._torch.gradients import step_in_one_graph
        from ._torch.kernels import explained
        from ._torch.tensors import padding, results_to_numpy, tensor, touch_of

        input_, weight, upstream = (tensor(a).to(memory_format=torch.channels_last) for a in (x, w, g))
        leaves = [input_, weight] if b is None else [input_, weight, tensor(b)]
        padded, sides = padding(problem)
        stride, dilation, groups = problem.stride, problem.dilation, problem.groups

        def convolve(x: Any, w: Any, b: Any = None) -> Any:
            return conv2d(x if padded is None else padded(x), w, b, stride, sides, dilation, groups)

        compiled = _compiled(step_in_one_graph(convolve))
        _compile_by_calling(compiled, upstream, *leaves)
        run = lambda: compiled(upstream, *leaves)  # noqa: E731
        return Ready(run, to_numpy=results_to_numpy, touch=touch_of(input_), explain=explained(run, "cpu"))

    def script(self, problem: ConvProblem) -> str | None:
        return self._script(problem, CALL)

    def fused_script(self, problem: ConvProblem) -> str | None:
        assert problem.epilogue is not None
        return self._script(problem, epilogue_code(problem.epilogue, CALL))

    def _script(self, problem: ConvProblem, computed: str) -> str:
        freezing, images = problem.dtype != "float64", "x, r" if "r" in problem.operand_shapes else "x"
        return torch_script(
            problem,
            channels_last=True,
            settings=["from torch._inductor import config", "from torch.nn import functional"],
            preparation=[
                "w, b = (a if a is None else torch.nn.Parameter(a, requires_grad=False) for a in (w, b))",
                f"conv = lambda {images}: {computed}",
                "conv = torch.no_grad()(torch.compile(conv, fullgraph=True, dynamic=False))",
                f"with config.patch(freezing={freezing}):",
                f"    conv({images})",
            ],
            call=f"conv({images})",
        )

    def gradient_script(self, problem: ConvProblem) -> str | None:
        return torch_gradient_script(problem, channels_last=True, compiled=True)


def _compiled(compute: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    # torch keeps at most 8 compiled versions per code object, so every problem gets its own object.
    compute.__code__ = compute.__code__.replace()
    compiled: Callable[..., Any] = torch.compile(compute, fullgraph=True, dynamic=False)
    return compiled


def _compile_by_calling(compiled: Callable[..., Any], *operands: Any) -> None:
    """The first call compiles."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # within torch itself
        compiled(*operands)


BACKENDS = (TorchCompile(),)
