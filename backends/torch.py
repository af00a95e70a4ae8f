"""conv2d of PyTorch: on the CPU in two layouts, without oneDNN, with packed weights, and on MPS."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convbench.backend import WHOLE_OF_CONV2D, WITH_EPILOGUES, Arithmetic, Ready
from convbench.problem import DTYPES, ConvProblem, Scales

from ._onednn.log import LOSES_NAN
from ._torch.conv2d import TorchConv2d
from ._torch.fused import packed as packed_with
from ._torch.fused import packed_code
from ._torch.quantized import (
    ARITHMETIC,
    EAGER,
    EXPORTED,
    Engine,
    prepared_eager,
    prepared_exported,
    reason_against_eager,
)
from ._torch.quantized_script import eager_script, exported_script
from ._torch.script import torch_gradient_script, torch_script

if TYPE_CHECKING:
    import numpy as np

_NO_FLOAT64 = set(DTYPES) - {"float64"}
_OWN_KERNELS = ("torch._C._set_mkldnn_enabled(False)", "torch._C._set_nnpack_enabled(False)")


class _Eager(TorchConv2d):
    """F.conv2d, and for 8-bit integers `torch.ops.quantized.conv2d` by the engine x86, which is the default there."""

    supports = replace(TorchConv2d.supports, quantized=EAGER)
    arithmetic = replace(TorchConv2d.arithmetic, quantized=ARITHMETIC["x86"])
    engine: Engine = "x86"

    def unsupported(self, problem: ConvProblem) -> str | None:
        reason = super().unsupported(problem)
        if reason is None and problem.quantization is not None and self.unavailable() is None:
            return reason_against_eager(problem, self.engine)
        return reason

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        return prepared_eager(problem, x, w, b, scales, self.engine, channels_last=self.channels_last)

    def quantized_script(self, problem: ConvProblem) -> str | None:
        return eager_script(problem, self.engine, channels_last=self.channels_last)


class _Engine(_Eager):
    """`torch.ops.quantized.conv2d` by one engine, for 8-bit integers alone."""

    supports = replace(WHOLE_OF_CONV2D, dtypes=frozenset(), quantized=EAGER)

    def __init__(self, engine: Engine, summary: str) -> None:
        super().__init__(f"torch-{engine}", summary, channels_last=True)
        self.engine, self.arithmetic = engine, Arithmetic(quantized=ARITHMETIC[engine])

    def script(self, problem: ConvProblem) -> str | None:
        return None


class _Native(TorchConv2d):
    """ATen's own kernels, without oneDNN and without NNPACK, which uses Winograd or FFT for batches from 16 on."""

    def _convolution(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any], Any]:
        return _on_own_kernels(super()._convolution(problem, x, w, b, padding))

    def _gradient(self, problem: ConvProblem, x: Any, w: Any, layout: Any) -> Callable[[Any], Any]:
        return _on_own_kernels(super()._gradient(problem, x, w, layout))

    def _step(self, problem: ConvProblem, x: Any, w: Any, b: Any, g: Any) -> Callable[[Any], list[Any]]:
        return _on_own_kernels(super()._step(problem, x, w, b, g))

    def script(self, problem: ConvProblem) -> str | None:
        return torch_script(problem, settings=_OWN_KERNELS)

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self._fused_script(problem, _OWN_KERNELS)

    def gradient_script(self, problem: ConvProblem) -> str | None:
        return torch_gradient_script(problem, settings=_OWN_KERNELS)


def _on_own_kernels(compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`compute` with oneDNN and NNPACK off."""
    from torch import _C

    def run(x: Any) -> Any:
        # The flags belong to the process, so they are restored, at 0.2 microseconds a call. The public
        # torch.backends.mkldnn.flags() sets more, takes 8 and warns about TF32 on Intel GPUs.
        before = _C._get_mkldnn_enabled(), _C._get_nnpack_enabled()
        _C._set_mkldnn_enabled(False)
        _C._set_nnpack_enabled(False)
        try:
            return compute(x)
        finally:
            _C._set_mkldnn_enabled(before[0])
            _C._set_nnpack_enabled(before[1])

    return run


class _InPlace(TorchConv2d):
    """F.conv2d and then the epilogue, part by part, in the memory of the convolution's output."""

    epilogue_in_place = True

    def unsupported(self, problem: ConvProblem) -> str | None:
        if problem.epilogue is None:
            return "without an epilogue it equals torch"
        return super().unsupported(problem)


_SETTINGS = "{padding}, {stride}, {dilation}, {groups}"
"""Of a packed convolution, in its script."""


class _Packed(TorchConv2d):
    """oneDNN called as in a compiled model: the weight has the blocked layout that oneDNN chose for this problem.

    The operators are those that inductor's freezing calls. Their output is channels-last for any input.
    """

    # oneDNN's post-ops are vector instructions for minima and maxima, which make numbers of NaN.
    arithmetic = replace(TorchConv2d.arithmetic, loses_nan=LOSES_NAN, quantized=ARITHMETIC["onednn"])
    # oneDNN has no float64: "itensor_view_from_dense expects float/bfloat16/half/..."
    supports = replace(WITH_EPILOGUES, dtypes=_NO_FLOAT64, directions={"forward"}, quantized=EXPORTED)

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

        packed, settings = self._packed(problem, x, w, padding)
        convolve = torch.ops.mkldnn._convolution_pointwise.default
        return lambda x: convolve(x, packed, b, *settings, "none", [], "")

    def _fused(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any, Any], Any]:
        assert problem.epilogue is not None
        packed, settings = self._packed(problem, x, w, padding)
        return packed_with(problem.epilogue, packed, b, *settings)

    def _packed(self, problem: ConvProblem, x: Any, w: Any, padding: tuple[int, int]) -> tuple[Any, list[Any]]:
        """The weight in oneDNN's layout for this problem, and the convolution's settings."""
        import torch

        settings = [list(padding), list(problem.stride), list(problem.dilation), problem.groups]
        extent = zip(x.shape[2:], problem.padding, padding, strict=True)
        arriving = [size + sum(sides) - 2 * own for size, sides, own in extent]  # without the padding of conv2d
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        return reorder(w, *settings, [*x.shape[:2], *arriving]), settings

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        return prepared_exported(problem, x, w, b, scales)

    def quantized_script(self, problem: ConvProblem) -> str | None:
        return exported_script(problem)

    def script(self, problem: ConvProblem) -> str | None:
        return self._script(problem, f'ops._convolution_pointwise({{x}}, packed, b, {_SETTINGS}, "none", [], "")')

    def fused_script(self, problem: ConvProblem) -> str | None:
        assert problem.epilogue is not None
        return self._script(problem, packed_code(problem.epilogue, _SETTINGS))

    def _script(self, problem: ConvProblem, call: str) -> str:
        preparation = [
            "from torch.nn import functional",
            "ops = torch.ops.mkldnn",
            f"packed = ops._reorder_convolution_weight(w, {_SETTINGS}, list({{x}}.shape))",
        ]
        return torch_script(problem, channels_last=True, preparation=preparation, call=call)


class _Mps(TorchConv2d):
    device = "mps"
    supports = replace(WITH_EPILOGUES, dtypes=_NO_FLOAT64)  # Metal has no float64
    arithmetic = Arithmetic("auto")

    def unavailable(self) -> str | None:
        reason = super().unavailable()
        if reason is None:
            import torch

            if not torch.backends.mps.is_available():
                return "torch cannot use Metal: it needs macOS 12.3 and a GPU that Metal supports"
        return reason

    def _sync(self) -> Callable[[], None]:
        import torch

        return torch.mps.synchronize


BACKENDS = (
    _Eager("torch", "F.conv2d"),
    _InPlace("torch-inplace", "F.conv2d, with an epilogue computed in place"),
    _Eager("torch-channels-last", "F.conv2d in memory format channels_last", channels_last=True),
    _Native("torch-native", "F.conv2d on ATen's own kernels, oneDNN and NNPACK off"),
    _Packed("torch-packed", "oneDNN with weights packed beforehand, as in a compiled model", channels_last=True),
    _Engine("fbgemm", "quantized.conv2d by FBGEMM"),
    _Engine("onednn", "quantized.conv2d by oneDNN"),
    _Engine("qnnpack", "quantized.conv2d by QNNPACK, the engine for phones"),
    _Mps("torch-mps", "F.conv2d on Apple's Metal"),
)
