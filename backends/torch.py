"""conv2d of PyTorch: on the CPU in two layouts, without oneDNN and with packed weights, on CUDA and on MPS."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convbench.backend import WHOLE_OF_CONV2D, Algorithm, Arithmetic, Arrays, Backend, Ready
from convbench.problem import DTYPES, ConvProblem

from ._torch_script import torch_script
from ._torch_tensors import on_both, padding, tensor, to_numpy

if TYPE_CHECKING:
    import numpy as np

_NO_FLOAT64 = replace(WHOLE_OF_CONV2D, dtypes=set(DTYPES) - {"float64"})
# On x86 torch asks oneDNN for its direct algorithm, and multiplies matrices without it; on Arm it may use Winograd.
_CPU_ALGORITHM: Algorithm = "direct" if platform.machine() in ("x86_64", "AMD64") else "auto"


class _Torch(Backend):
    """F.conv2d. No operand asks for a gradient, so no guard is needed in the call; one would cost 2 microseconds."""

    requires = ("torch",)
    supports = WHOLE_OF_CONV2D
    thread_safe = True
    # oneDNN multiplies pairs of bfloat16, some of them of zero weights with whatever lies beside the window.
    arithmetic = Arithmetic(_CPU_ALGORITHM, taints=("bfloat16",))

    def __init__(self, name: str, summary: str, *, channels_last: bool = False) -> None:
        self.name, self.summary, self.channels_last = name, summary, channels_last
        if channels_last:
            self.prepacks = ("input", "weight", "output")
        if name in ("torch", "torch-cuda", "torch-mps"):
            self.stands_in_for = "torch"

    def limit_threads(self, n: int) -> None:
        import torch

        torch.set_num_threads(n)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        import torch

        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        input_, weight = (tensor(a).to(self.device, memory_format=layout) for a in (x, w))
        bias = None if b is None else tensor(b).to(self.device)
        padded, sides = padding(problem)
        convolve = self._convolution(problem, input_, weight, bias, sides)
        on = self._on(convolve if padded is None else lambda x: convolve(padded(x)), layout)
        if padded is None:
            return Ready(lambda: convolve(input_), self._sync(), to_numpy, on)
        return Ready(lambda: convolve(padded(input_)), self._sync(), to_numpy, on)

    def _on(self, convolve: Callable[[Any], Any], layout: Any) -> dict[Arrays, Callable[[Any], Any]]:
        on_tensor = (lambda x: convolve(x.contiguous(memory_format=layout))) if self.channels_last else convolve
        return on_both(on_tensor) if self.device == "cpu" else {"torch": on_tensor}

    def _convolution(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any], Any]:
        """From the input, padded already where conv2d itself cannot, to the output."""
        from torch.nn.functional import conv2d

        stride, dilation, groups = problem.stride, problem.dilation, problem.groups
        return lambda x: conv2d(x, w, b, stride, padding, dilation, groups)

    def _sync(self) -> Callable[[], None]:
        return lambda: None

    def script(self, problem: ConvProblem) -> str | None:
        return torch_script(problem, device=self.device, channels_last=self.channels_last)


class _Native(_Torch):
    """ATen's own kernels. oneDNN is off, and NNPACK too, which would take batches of 16 and more by Winograd or FFT."""

    def _convolution(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any], Any]:
        from torch import _C

        convolve = super()._convolution(problem, x, w, b, padding)

        def run(x: Any) -> Any:
            # The flags belong to the process: set back for whoever computes next, at 0.2 microseconds a call. The
            # public torch.backends.mkldnn.flags() sets more, takes 8 and warns about TF32 on Intel GPUs.
            before = _C._get_mkldnn_enabled(), _C._get_nnpack_enabled()
            _C._set_mkldnn_enabled(False)
            _C._set_nnpack_enabled(False)
            try:
                return convolve(x)
            finally:
                _C._set_mkldnn_enabled(before[0])
                _C._set_nnpack_enabled(before[1])

        return run

    def script(self, problem: ConvProblem) -> str | None:
        return torch_script(
            problem, settings=["torch._C._set_mkldnn_enabled(False)", "torch._C._set_nnpack_enabled(False)"]
        )


class _Packed(_Torch):
    """oneDNN called as a compiled model does: the weight lies in the blocks that oneDNN chose for this very problem.

    The operators are those that inductor's freezing calls. Their output is channels-last whatever the input is.
    """

    supports = _NO_FLOAT64  # oneDNN has no float64: "itensor_view_from_dense expects float/bfloat16/half/..."

    def unavailable(self) -> str | None:
        if platform.system() == "Darwin":
            return "torch is built without oneDNN on macOS"
        return super().unavailable()

    def unsupported(self, problem: ConvProblem) -> str | None:
        reason = super().unsupported(problem)
        short = {"float16": "fp16", "bfloat16": "bf16"}.get(problem.dtype)
        if reason is None and short and self.unavailable() is None:
            import torch

            if not getattr(torch.ops.mkldnn, f"_is_mkldnn_{short}_supported")():
                return f"oneDNN computes {problem.dtype} only on a CPU with instructions for it, and this one has none"
        return reason

    def _convolution(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any], Any]:
        import torch

        settings = [list(padding), list(problem.stride), list(problem.dilation), problem.groups]
        extent = zip(x.shape[2:], problem.padding, padding, strict=True)
        arriving = [size + sum(sides) - 2 * own for size, sides, own in extent]  # padded, but for what conv2d pads
        packed = torch.ops.mkldnn._reorder_convolution_weight(w, *settings, [*x.shape[:2], *arriving])
        convolve = torch.ops.mkldnn._convolution_pointwise.default
        return lambda x: convolve(x, packed, b, *settings, "none", [], "")

    def script(self, problem: ConvProblem) -> str | None:
        settings = "{padding}, {stride}, {dilation}, {groups}"
        return torch_script(
            problem,
            channels_last=True,
            made_ready=[
                "ops = torch.ops.mkldnn",
                f"packed = ops._reorder_convolution_weight(w, {settings}, list({{x}}.shape))",
            ],
            call=f'ops._convolution_pointwise({{x}}, packed, b, {settings}, "none", [], "")',
        )


class _Cuda(_Torch):
    device = "cuda"
    arithmetic = Arithmetic("auto")  # cuDNN may choose Winograd or FFT; TF32 is off

    def unavailable(self) -> str | None:
        reason = super().unavailable()
        if reason is None:
            import torch

            if torch.version.cuda is None:
                return f"torch {torch.__version__} is built without CUDA; pytorch.org says how to install one with it"
            if not torch.cuda.is_available():
                return f"torch cannot use the GPU: it wants a driver for CUDA {torch.version.cuda} or newer"
        return reason

    def _convolution(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any], Any]:
        from torch.backends import cudnn

        # cuDNN's heuristic picks the algorithm, and the same one every time. With benchmark=True a race of timings
        # picks it, in every process anew, and what is measured today could not be held against yesterday.
        cudnn.benchmark = False
        if hasattr(cudnn, "conv"):  # torch 2.9; reading or writing allow_tf32 as well would be an error there
            cudnn.conv.fp32_precision = "ieee"
        else:
            cudnn.allow_tf32 = False
        return super()._convolution(problem, x, w, b, padding)

    def _sync(self) -> Callable[[], None]:
        import torch

        return torch.cuda.synchronize

    def script(self, problem: ConvProblem) -> str | None:
        ieee = 'torch.backends.cudnn.conv.fp32_precision = "ieee"  # before torch 2.9: cudnn.allow_tf32 = False'
        return torch_script(problem, device="cuda", channels_last=self.channels_last, settings=[ieee])


class _Mps(_Torch):
    device = "mps"
    supports = _NO_FLOAT64  # Metal has no float64
    arithmetic = Arithmetic("auto")

    def unavailable(self) -> str | None:
        reason = super().unavailable()
        if reason is None:
            import torch

            if not torch.backends.mps.is_available():
                return "torch cannot use Metal: it wants macOS 12.3 and a GPU that Metal knows"
        return reason

    def _sync(self) -> Callable[[], None]:
        import torch

        return torch.mps.synchronize


BACKENDS = (
    _Torch("torch", "F.conv2d"),
    _Torch("torch-channels-last", "F.conv2d in memory format channels_last", channels_last=True),
    _Native("torch-native", "F.conv2d on ATen's own kernels, oneDNN and NNPACK off"),
    _Packed("torch-packed", "oneDNN with weights packed beforehand, as in a compiled model", channels_last=True),
    _Cuda("torch-cuda", "F.conv2d on CUDA"),
    _Cuda("torch-cuda-channels-last", "F.conv2d on CUDA in memory format channels_last", channels_last=True),
    _Mps("torch-mps", "F.conv2d on Apple's Metal"),
)
