"""Backends with one mistake each, of the kinds that authors make; and ones that have two."""

from __future__ import annotations

from typing import Any

import numpy as np

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem
from convbench.verification.reference import NUMPY_MODES, convolve


class Sound(Backend):
    """Computes as the reference does; what a subclass does wrong is in `conv`."""

    supports = Supports(
        dtypes={"float64", "float32", "float16", "bfloat16"},
        padding_modes={"zeros", "reflect", "replicate", "circular"},
        negative_padding=True,
    )
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        def run() -> Any:
            with np.errstate(all="ignore"):
                return self.conv(problem, x, w, b).astype(x.dtype)

        return Ready(run, kernel=self.kernel(problem))

    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        return convolve(problem, x, w, b)

    def kernel(self, problem: ConvProblem) -> str | None:
        return None


def _fitted(output: Any, problem: ConvProblem) -> Any:
    result = np.zeros(problem.output_shape)
    rows, columns = (min(a, b) for a, b in zip(output.shape[2:], result.shape[2:], strict=True))
    result[:, :, :rows, :columns] = output[:, :, :rows, :columns]
    return result


class OneStride(Sound):
    """The stride of the rows for both axes."""

    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        step = problem.stride[0]
        return _fitted(convolve(problem.replace(stride=1), x, w, b)[:, :, ::step, ::step], problem)


class NoDilation(Sound):
    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        return _fitted(convolve(problem.replace(dilation=1), x, w, b), problem)


class FirstBiasOnly(Sound):
    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        output = convolve(problem, x, w, None)
        if b is not None:
            output[:, :1] += b[0].astype(float)
        return output


class LastRowMissing(Sound):
    """Of outputs with an odd number of rows above 4, however they come about: no parameter says so."""

    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        output = convolve(problem, x, w, b)
        if problem.out_height > 4 and problem.out_height % 2:
            output[:, :, -1] = 0
        return output


class ReflectsTheEdge(Sound):
    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        if problem.padding_mode != "reflect":
            return convolve(problem, x, w, b)
        padded = np.pad(x.astype(float), ((0, 0), (0, 0), *problem.padding), mode="symmetric")
        size = {"height": padded.shape[2], "width": padded.shape[3], "padding": 0, "padding_mode": "zeros"}
        return convolve(problem.replace(**size), padded, w, b)


class PadsByTheFirstSide(Sound):
    """The answer gets another shape where the sides differ, and np.pad raises where they are negative."""

    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        (top, _), (left, _) = problem.padding
        sides = ((0, 0), (0, 0), (top, top), (left, left))
        padded = np.pad(x.astype(float), sides, mode=NUMPY_MODES[problem.padding_mode])
        size = {"height": padded.shape[2], "width": padded.shape[3], "padding": 0, "padding_mode": "zeros"}
        return convolve(problem.replace(**size), padded, w, b)


class SharesItsOutput(Sound):
    """One buffer for all preparations of a shape."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        buffers = self.__dict__.setdefault("buffers", {})
        buffer = buffers.setdefault((problem.output_shape, x.dtype), np.empty(problem.output_shape, x.dtype))

        def run() -> Any:
            with np.errstate(all="ignore"):
                buffer[...] = convolve(problem, x, w, b).astype(x.dtype)
            return buffer

        return Ready(run)


class KeepsItsWeights(Sound):
    """By problem, so that other weights of the same shape are never seen."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        kept = self.__dict__.setdefault("kept", {}).setdefault(problem, (w.copy(), None if b is None else b.copy()))
        return super().prepare(problem, x, *kept)


class RaisesTwice(Sound):
    """Two mistakes, each in a line of its own, with numbers in what they say."""

    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        if not x.flags.c_contiguous:
            raise ValueError(f"x has strides {x.strides}")
        if problem.dilation != (1, 1):
            _refuse(problem)
        return convolve(problem, x, w, b)


def _refuse(problem: ConvProblem) -> None:
    raise NotImplementedError(f"dilation {problem.dilation}")


class WrongInTwoDtypes(Sound):
    """In bfloat16 with channels in threes and strides above 2; in float32 in wide kernels over tall images."""

    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        output = convolve(problem, x, w, b)
        in_half = problem.dtype == "bfloat16" and problem.in_channels % 3 == 0 and problem.stride[1] > 2
        in_full = problem.dtype == "float32" and problem.kernel_size[1] > 2 and problem.height > 8
        return 2 * output + 1 if in_half or in_full else output


class WrongInTwoKernels(Sound):
    """The library takes one kernel for many channels and another for few, and either is wrong in its own way."""

    def kernel(self, problem: ConvProblem) -> str:
        return "many" if problem.in_channels >= 8 else "few"

    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        output = convolve(problem, x, w, b)
        if problem.stride[0] == 1:
            return output
        return -output if self.kernel(problem) == "many" else 2 * output


class DropsNan(Sound):
    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        bias = None if b is None else np.nan_to_num(b.astype(float))
        return convolve(problem, np.nan_to_num(x.astype(float)), w, bias)


class DropsNanAndStrides(DropsNan):
    """Besides, plain numbers are wrong where the stride is above 2."""

    def conv(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        output = super().conv(problem, x, w, b)
        return 2 * output + 1 if max(problem.stride) > 2 else output


ONE_MISTAKE = (
    OneStride("one-stride"),
    NoDilation("no-dilation"),
    FirstBiasOnly("first-bias-only"),
    LastRowMissing("last-row-missing"),
    ReflectsTheEdge("reflects-the-edge"),
    SharesItsOutput("shares-its-output"),
    KeepsItsWeights("keeps-its-weights"),
    DropsNan("drops-nan"),
)
BACKENDS = (
    *ONE_MISTAKE,
    PadsByTheFirstSide("pads-by-the-first-side"),
    RaisesTwice("raises-twice"),
    WrongInTwoDtypes("wrong-in-two-dtypes"),
    WrongInTwoKernels("wrong-in-two-kernels"),
    DropsNanAndStrides("drops-nan-and-strides"),
)
