"""Backends that are only asked what they support: a sweep and a search compute nothing."""

from __future__ import annotations

from typing import Any

from convbench.backend import WHOLE_OF_CONV2D, Backend, Supports
from convbench.problem import ConvProblem


class Idle(Backend):
    name = "idle"

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        raise AssertionError("nothing is to be computed")


class Whole(Idle):
    supports = WHOLE_OF_CONV2D
    thread_safe = True


class Narrow(Idle):
    supports = Supports(dtypes={"float16"}, groups=False, stride=False, asymmetric_padding=False)
