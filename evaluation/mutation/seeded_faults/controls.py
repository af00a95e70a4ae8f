"""Backends that are right in ways that a careless checker takes for wrong: none of them may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convbench.backend import WHOLE_OF_CONV2D, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem
from seeded_faults.changes import image_and_kernel, output
from seeded_faults.convolution import SOUND, Array, Steps, convolve
from seeded_faults.precision import BFLOAT16, significant


def _backwards_by_tap(problem: ConvProblem, filters: Array, patches: Array) -> Array:
    sums: Any = filters.dtype.type(0)
    for k in reversed(range(filters.shape[2])):
        sums = sums + filters[:, :, k, None] * patches[:, :, None, k]
    return np.asarray(sums)


def _bias_first(problem: ConvProblem, sums: Array, b: Array) -> Array:
    return np.asarray(b[:, None, None] + sums)


@dataclass(eq=False)
class Control(Backend):
    """The correct convolution, done and declared in another way."""

    name: str
    summary: str
    arithmetic: Arithmetic = Arithmetic("gemm")  # noqa: RUF009 - frozen
    steps: Steps = SOUND
    thread_safe: bool = True
    requires = ("numpy",)
    supports = WHOLE_OF_CONV2D

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        return Ready(lambda: convolve(problem, x, w, b, self.steps))


class ReusesItsOutput(Control):
    """Each prepared convolution has one output, written anew by every call."""

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        out = np.empty(problem.output_shape, x.dtype)

        def run() -> Array:
            out[...] = convolve(problem, x, w, b, self.steps)
            return out

        return Ready(run)


class PacksBeforehand(Control):
    """Copies of the operands are made when it is prepared."""

    prepacks = ("input", "weight")

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        packed = x.copy(), w.copy(), None if b is None else b.copy()
        return Ready(lambda: convolve(problem, *packed, self.steps))


class Lazy(Control):
    """The library's own output is only a promise, which `sync` makes good."""

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        promised: list[list[Array]] = []

        def run() -> list[Array]:
            promised.append([])
            return promised[-1]

        def sync() -> None:
            while promised:
                promised.pop().append(convolve(problem, x, w, b, self.steps))

        return Ready(run, sync, lambda promise: promise[0])


CONTROLS = (
    Control("sound", "the correct convolution that the faults are seeded into"),
    Control(
        "sound-backwards",
        "sums from the last product to the first, the bias before them",
        Arithmetic("direct"),
        Steps(multiply=_backwards_by_tap, add_bias=_bias_first),
    ),
    Control("sound-in-float64", "sums in float64", Arithmetic(accumulate="float64"), Steps(accumulate=np.float64)),
    Control(
        "sound-in-tf32",
        "operands rounded to tf32 where they have more bits, and declared so",
        Arithmetic(operand="tf32"),
        image_and_kernel(lambda array: significant(array, 11) if array.itemsize > 2 else array),
    ),
    Control(
        "sound-in-bfloat16",
        "operands rounded to bfloat16, and declared so",
        Arithmetic(operand="bfloat16"),
        image_and_kernel(lambda array: array.astype(BFLOAT16).astype(array.dtype)),
    ),
    Control("sound-fortran", "outputs in Fortran's order", steps=output(np.asfortranarray)),
    Control(
        "sound-output-strided",
        "outputs that are a view of a larger array",
        steps=output(lambda out: np.repeat(out, 2, axis=3)[..., ::2]),
    ),
    ReusesItsOutput("sound-reusing-its-output", "one output, written anew by every call", thread_safe=False),
    PacksBeforehand("sound-packed", "operands copied beforehand"),
    Lazy("sound-lazy", "outputs computed when they are waited for"),
)
