"""A plugin file as anybody's would be: of convbench it needs `convbench.backend` alone."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from convbench.backend import Arithmetic, Backend, Ready, Supports


def convolve(problem: Any, x: Any, w: Any, b: Any) -> Any:
    """Summed in float64, a kernel tap at a time."""
    (sh, sw), (dh, dw), groups = problem.stride, problem.dilation, problem.groups
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *problem.padding))
    n, oc, oh, ow = problem.output_shape
    _, _, kh, kw = w.shape
    xs = padded.reshape(n, groups, -1, *padded.shape[2:])
    ws = w.astype(np.float64).reshape(groups, oc // groups, -1, kh, kw)
    total = np.zeros((n, groups, oc // groups, oh, ow))
    for i in range(kh):
        for j in range(kw):
            seen = xs[:, :, :, i * dh : i * dh + sh * (oh - 1) + 1 : sh, j * dw : j * dw + sw * (ow - 1) + 1 : sw]
            total += np.einsum("ngchw,goc->ngohw", seen, ws[:, :, :, i, j])
    total = total.reshape(n, oc, oh, ow)
    if b is not None:
        total += b.astype(np.float64)[None, :, None, None]
    return total.astype(x.dtype)


class Fake(Backend):
    """Right, and then something with it."""

    arithmetic = Arithmetic("direct")

    def __init__(self, name: str, act: Callable[[Any, Any], Any] = lambda y, problem: y) -> None:
        self.name, self.act = name, act

    def prepare(self, problem: Any, x: Any, w: Any, b: Any) -> Ready:
        return Ready(lambda: self.act(convolve(problem, x, w, b), problem))


class Only64(Fake):
    supports = Supports(dtypes={"float64"})


class Missing(Fake):
    requires = ("a_module_that_does_not_exist",)


class Sleeper(Fake):
    """Takes as long as it is told to."""

    def prepare(self, problem: Any, x: Any, w: Any, b: Any) -> Ready:
        y = convolve(problem, x, w, b)
        seconds = float(os.environ.get("STORED_FAKES_SLEEP_MS", "1")) / 1e3

        def run() -> Any:
            time.sleep(seconds)
            return y.copy()

        return Ready(run)


class Plain(Fake):
    """Supports little, so that a sweep is short."""

    supports = Supports(dilation=False, groups=False, asymmetric_padding=False)


def _strided_wrong(y: Any, problem: Any) -> Any:
    if problem.stride != (1, 1) and problem.bias:
        y[0, -1, -1, -1] += 1
    return y


def _wrong(y: Any, problem: Any) -> Any:
    y[0, -1, -1, -1] += 1
    return y


def _raise(y: Any, problem: Any) -> Any:
    raise RuntimeError("this backend raises, always")


BACKENDS = (
    Fake("fixture-right"),
    Fake("fixture-wrong", _wrong),
    Plain("fixture-wrong-stride", _strided_wrong),
    Fake("fixture-crash", lambda y, problem: ctypes.string_at(0)),
    Fake("fixture-raises", _raise),
    Only64("fixture-only64"),
    Missing("fixture-missing"),
    Sleeper("fixture-sleeper"),
)
