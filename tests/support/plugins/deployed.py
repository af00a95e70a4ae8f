"""Backends that compute epilogues: one that is right, and each kind of mistake."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convbench.backend import WHOLE_OF_CONV2D, Arithmetic, Backend, Ready
from convbench.problem import ACTIVATIONS, RESIDUALS, ConvProblem, Epilogue

CALLS: list[str] = []
"""The backends that were called with an input of the caller's, in order."""


class Fused(Backend):
    """The reference, with all epilogues."""

    supports = replace(WHOLE_OF_CONV2D, activations=set(ACTIVATIONS), residuals=set(RESIDUALS))
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        return self._ready(problem, x, w, b, None, None)

    def prepare_fused(self, problem: ConvProblem, x: Any, w: Any, b: Any, r: Any) -> Ready:
        return self._ready(problem, x, w, b, r, problem.epilogue)

    def answer(self, epilogue: Epilogue | None, y: Any, r: Any) -> Any:
        from convbench.verification.fused.truth import result

        return y if epilogue is None else result(epilogue, y, r)

    def _ready(self, problem: ConvProblem, x: Any, w: Any, b: Any, r: Any, epilogue: Epilogue | None) -> Ready:
        from convbench.verification.reference import convolve

        w, b = w.copy(), None if b is None else b.copy()

        def on(x: Any, *residual: Any) -> Any:
            CALLS.append(self.name)
            y = convolve(problem.replace(epilogue=None), x, w, b)
            return self.answer(epilogue, y, residual[0] if residual else None).astype(x.dtype)

        given = (x,) if r is None else (x, r)
        return Ready(lambda: on(*given), on={"numpy": on})


class WithoutActivation(Fused):
    """Forgets the activation."""

    def answer(self, epilogue: Epilogue | None, y: Any, r: Any) -> Any:
        return y if r is None else y + r


class WithoutResidual(Fused):
    """Forgets the residual."""

    def answer(self, epilogue: Epilogue | None, y: Any, r: Any) -> Any:
        return super().answer(epilogue, y, None if r is None else r * 0)


BACKENDS = (Fused("fused"), WithoutActivation("no-activation"), WithoutResidual("no-residual"))
