"""Backends for those who act on a plan: one that takes other inputs, one that does not, and each kind of trouble."""

from __future__ import annotations

from typing import Any

from convbench.backend import WHOLE_OF_CONV2D, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem

PREPARED: list[str] = []
"""The backends that were prepared, in order."""


class Reference(Backend):
    """The reference, given its input in the call."""

    supports = WHOLE_OF_CONV2D
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        PREPARED.append(self.name)
        w, b = w.copy(), None if b is None else b.copy()

        def on(x: Any) -> Any:
            return convolve(problem, x, w, b).astype(x.dtype)

        return Ready(lambda: on(x), on={"numpy": on})


class Bound(Reference):
    """The reference, which copies its input when it is prepared and takes no other."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        x = x.copy()
        on = super().prepare(problem, x, w, b).on["numpy"]
        return Ready(lambda: on(x))


class Spoilt(Reference):
    """The reference with something done to its answer."""

    def __init__(self, name: str, spoil: Any) -> None:
        super().__init__(name)
        self.spoil = spoil

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        ready = super().prepare(problem, x, w, b)
        return Ready(ready.run, on={"numpy": lambda x: self.spoil(ready.on["numpy"](x))})


class Impatient(Reference):
    """Breaks down when it is prepared."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise RuntimeError("no patience")


class Unavailable(Reference):
    requires = ("a_module_that_does_not_exist",)


class Pointwise(Reference):
    """Refuses all kernels but of one tap."""

    def unsupported(self, problem: ConvProblem) -> str | None:
        return None if problem.kernel_size == (1, 1) else "computes one tap only"


class Idle(Reference):
    """A wait before each answer, so that it is slower than anything."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        import time

        ready = super().prepare(problem, x, w, b)

        def on(x: Any) -> Any:
            time.sleep(2e-3)
            return ready.on["numpy"](x)

        return Ready(ready.run, on={"numpy": on})


BACKENDS = (
    Reference("reference"),
    Bound("bound"),
    Spoilt("off-by-one", lambda y: y + y.dtype.type(1)),
    Spoilt("misshapen", lambda y: y[..., :-1]),
    Impatient("impatient"),
    Unavailable("unavailable"),
    Pointwise("pointwise"),
    Idle("idle"),
)
