"""conv2d of PyTorch on CUDA: in two memory formats, each in true float32, in TF32, and captured as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from convbench.backend import WITH_STEP, Arithmetic, Arrays, Instruments
from convbench.problem import ConvProblem

from ._torch.conv2d import TorchConv2d
from ._torch.cuda import captured, captured_for_any, instruments
from ._torch.script import torch_gradient_script, torch_script


class _Cuda(TorchConv2d):
    device = "cuda"
    # cuDNN may choose Winograd or FFT; TF32 is off. In half formats torch itself adds what comes back to repeated
    # elements, and computes what follows a convolution, in the half format.
    arithmetic = Arithmetic("auto", adds_gradients_in_dtype=True, epilogue_in_dtype=True)
    precision = "ieee"

    def unavailable(self) -> str | None:
        reason = super().unavailable()
        if reason is None:
            import torch

            if torch.version.cuda is None:
                return f"torch {torch.__version__} is built without CUDA; pytorch.org says how to install one with it"
            if not torch.cuda.is_available():
                return f"torch cannot use the GPU: it needs a driver for CUDA {torch.version.cuda} or newer"
        return reason

    def _convolution(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any], Any]:
        _set_up_cudnn()
        return super()._convolution(problem, x, w, b, padding)

    def _gradient(self, problem: ConvProblem, x: Any, w: Any, layout: Any) -> Callable[[Any], Any]:
        _set_up_cudnn()
        return super()._gradient(problem, x, w, layout)

    def _step(self, problem: ConvProblem, x: Any, w: Any, b: Any, g: Any) -> Callable[[Any], list[Any]]:
        _set_up_cudnn()
        return super()._step(problem, x, w, b, g)

    def _sync(self) -> Callable[[], None]:
        import torch

        return torch.cuda.synchronize

    def _instruments(self, x: Any, layout: Any) -> Instruments:
        return instruments(x, layout)

    def script(self, problem: ConvProblem) -> str | None:
        return torch_script(problem, device="cuda", channels_last=self.channels_last, settings=self._settings)

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self._fused_script(problem, self._settings)

    def gradient_script(self, problem: ConvProblem) -> str | None:
        return torch_gradient_script(problem, device="cuda", channels_last=self.channels_last, settings=self._settings)

    @property
    def _settings(self) -> list[str]:
        setting = f'torch.backends.cudnn.conv.fp32_precision = "{self.precision}"'
        return [f"{setting}  # before torch 2.9: cudnn.allow_tf32"]


class _Tf32(_Cuda):
    """torch's default: float32 is rounded to TF32 on GPUs that have it, so that tensor cores can multiply it."""

    supports = replace(WITH_STEP, dtypes={"float32"})  # in other dtypes it equals torch-cuda
    arithmetic = Arithmetic("auto", operand="tf32")
    precision = "tf32"
    thread_safe = False

    def _convolution(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any], Any]:
        return _in_tf32(super()._convolution(problem, x, w, b, padding))

    def _gradient(self, problem: ConvProblem, x: Any, w: Any, layout: Any) -> Callable[[Any], Any]:
        return _in_tf32(super()._gradient(problem, x, w, layout))

    def _step(self, problem: ConvProblem, x: Any, w: Any, b: Any, g: Any) -> Callable[[Any], list[Any]]:
        return _in_tf32(super()._step(problem, x, w, b, g))


class _Graph(_Cuda):
    """The same work in one launch: the time of the GPU without waits for the CPU."""

    thread_safe = False  # every call writes the same output

    def _call(self, compute: Callable[[Any], Any], x: Any) -> Callable[[], Any]:
        return captured(compute, x)

    def _on(self, compute: Callable[[Any], Any], x: Any, layout: Any) -> dict[Arrays, Callable[[Any], Any]]:
        return {"torch": captured_for_any(compute, x)}


def _set_up_cudnn() -> None:
    from torch.backends import cudnn

    # cuDNN's heuristic always picks the same algorithm. With benchmark=True timings pick it anew in every process, and
    # results of different days could not be compared.
    cudnn.benchmark = False
    _set_tf32(False)


def _in_tf32(compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        _set_tf32(True)  # the setting belongs to the process, so it is restored
        try:
            return compute(x)
        finally:
            _set_tf32(False)

    return run


def _set_tf32(allowed: bool) -> None:
    from torch.backends import cudnn

    if hasattr(cudnn, "conv"):  # from torch 2.9 on, where using allow_tf32 as well is an error
        cudnn.conv.fp32_precision = "tf32" if allowed else "ieee"
    else:
        cudnn.allow_tf32 = allowed


BACKENDS = (
    _Cuda("torch-cuda", "F.conv2d on CUDA"),
    _Cuda("torch-cuda-channels-last", "F.conv2d on CUDA in memory format channels_last", channels_last=True),
    _Tf32("torch-cuda-tf32", "F.conv2d on CUDA as torch comes, in TF32"),
    _Tf32("torch-cuda-channels-last-tf32", "F.conv2d on CUDA in channels_last, in TF32", channels_last=True),
    _Graph("torch-cuda-graph", "F.conv2d on CUDA, captured and replayed as a CUDA graph"),
    _Graph("torch-cuda-channels-last-graph", "F.conv2d on CUDA in channels_last, as a CUDA graph", channels_last=True),
)
