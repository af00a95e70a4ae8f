"""Backends that compute gradients: rightly, wrongly, and not at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from convbench.backend import WITH_GRADIENTS, Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem
from convbench.verification.gradients import computed
from convbench.verification.operands import Operands


class Right(Backend):
    name = "right-gradients"
    supports = WITH_GRADIENTS
    arithmetic = Arithmetic("direct")

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        return self.ready(problem, Operands(x, w, b))

    def prepare_gradient(self, problem: ConvProblem, g: Any, x: Any, w: Any) -> Ready:
        return self.ready(problem, Operands(x=x, w=w, g=g))

    def ready(self, problem: ConvProblem, operands: Operands) -> Ready:
        def run() -> Any:
            with np.errstate(all="ignore"):
                return self.answer(problem, operands).astype(operands.dtype)

        return Ready(run)

    def answer(self, problem: ConvProblem, operands: Operands) -> Any:
        return computed(problem, operands)


class WrongWeights(Right):
    """The gradient of the weight of a strided convolution is that of its first image."""

    name = "wrong-weights"

    def answer(self, problem: ConvProblem, operands: Operands) -> Any:
        if problem.direction != "weight_gradient" or problem.stride == (1, 1):
            return computed(problem, operands)
        return computed(problem.replace(batch=1), operands.map(lambda array: array[:1]))


class ForwardOnly(Right):
    """As plugins from before there were gradients."""

    name = "forward-only"
    supports = Supports()


BACKENDS = (Right(), WrongWeights(), ForwardOnly())
