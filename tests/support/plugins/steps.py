"""Backends that compute training steps: rightly, part by part and at once, and wrongly; and one from before."""

from __future__ import annotations

from typing import Any

import numpy as np

from convbench.backend import WITH_GRADIENTS, WITH_STEP, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem
from convbench.verification.gradients import computed
from convbench.verification.operands import Operands


class InParts(Backend):
    """Its step calls its parts in turn, which is what the base class does."""

    name = "in-parts"
    supports = WITH_STEP
    arithmetic = Arithmetic("direct")

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        return Ready(lambda: self.answer(problem, Operands(x, w, b)))

    def prepare_gradient(self, problem: ConvProblem, g: Any, x: Any, w: Any) -> Ready:
        return Ready(lambda: self.answer(problem, Operands(x=x, w=w, g=g)))

    def answer(self, problem: ConvProblem, operands: Operands) -> Any:
        with np.errstate(all="ignore"):
            return computed(problem, operands).astype(operands.dtype)


class AtOnce(InParts):
    name = "at-once"

    def prepare_step(self, problem: ConvProblem, x: Any, w: Any, b: Any, g: Any) -> Ready:
        operands = Operands(x, w, b, g)
        return Ready(lambda: [self.answer(part, operands.of(part)) for part in problem.parts], to_numpy=tuple)


class WrongTogether(AtOnce):
    """Its parts are right. In a step with a stride, the gradient of the weight is that of the first image."""

    name = "wrong-together"

    def prepare_step(self, problem: ConvProblem, x: Any, w: Any, b: Any, g: Any) -> Ready:
        ready = super().prepare_step(problem, x, w, b, g)
        if problem.stride == (1, 1):
            return ready
        part = problem.replace(batch=1, direction="weight_gradient")

        def run() -> Any:
            results = ready.run()
            results[2] = self.answer(part, Operands(x=x[:1], g=g[:1]))
            return results

        return Ready(run, to_numpy=tuple)


class FromBefore(InParts):
    """As plugins from before there were steps."""

    name = "from-before"
    supports = WITH_GRADIENTS


BACKENDS = (InParts(), AtOnce(), WrongTogether(), FromBefore())
