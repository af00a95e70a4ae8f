"""Backends that treat denormal numbers in one way each. A plugin file, as anybody's is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convbench.backend import Arithmetic, Backend, Ready
from convbench.problem import ConvProblem

SMALLEST = float(np.finfo(np.float32).smallest_normal)


class Small(Backend):
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str, change: Callable[[Any], Any]) -> None:
        self.name, self.change = name, change

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        return Ready(lambda: self.change(convolve(problem, x, w, b).astype(x.dtype)))


def _flushed(y: Any) -> Any:
    return np.where(np.abs(y) < SMALLEST, np.float32(0), y)


def _wrong_when_small(y: Any) -> Any:
    """Right for everything that is verified with other data, and not a number where values are denormal."""
    return np.where((y != 0) & (np.abs(y) < SMALLEST), np.float32("nan"), y)


def _too_large_when_small(y: Any) -> Any:
    return np.where((y != 0) & (np.abs(y) < SMALLEST), np.float32(1e-30), y)


BACKENDS = (
    Small("keeping", lambda y: y),
    Small("flushing", _flushed),
    Small("wrong", lambda y: y * np.float32(1.5)),
    Small("wrong-when-small", _wrong_when_small),
    Small("too-large-when-small", _too_large_when_small),
)
