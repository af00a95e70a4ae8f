"""A backend whose library is a module of the test's own, so that releases of it can differ."""

from __future__ import annotations

from typing import Any

from convbench.backend import Arithmetic, Backend, Ready
from convbench.problem import ConvProblem


class ByLibrary(Backend):
    name = "fake-conv"
    requires = ("fake_conv",)
    arithmetic = Arithmetic("direct")

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        import fake_conv  # type: ignore[import-not-found]

        from convbench.verification.reference import convolve

        return Ready(lambda: fake_conv.finish(convolve(problem, x, w, b).astype(x.dtype)))


BACKENDS = (ByLibrary(),)
