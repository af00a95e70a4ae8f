"""Backends to be verified: right ones, and ones that fail on some problems only. A plugin file, as anybody's is."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem


class Right(Backend):
    """The reference, which the verdicts are computed from, as a backend."""

    supports = Supports(
        dtypes={"float64", "float32", "float16", "bfloat16"},
        padding_modes={"zeros", "reflect", "replicate", "circular"},
        negative_padding=True,
    )
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        def run() -> Any:
            return self.spoilt(problem, convolve(problem, x, w, b).astype(x.dtype))

        return Ready(run)

    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        return output


class WrongInGroups(Right):
    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        return output[:, ::-1] if problem.groups > 1 else output


class WrongOnceMore(WrongInGroups):
    """Has a second bug where the environment says so: what an upgrade of a library may bring."""

    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        if problem.bias and os.environ.get("CONVBENCH_TEST_SECOND_BUG"):
            output = output + output.dtype.type(1)
        return super().spoilt(problem, output)


class CrashesWhenStrided(Right):
    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        if problem.stride != (1, 1):
            ctypes.string_at(0)
        return output


class RaisesWhenDilated(Right):
    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        if problem.dilation != (1, 1):
            raise RuntimeError("boom")
        return output


class RaisesMarkup(Right):
    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        raise RuntimeError("[bold]not markup[/bold]")


class Exits(Right):
    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        sys.exit(3)


class HangsOnBias(Right):
    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        if problem.bias and problem.dilation != (1, 1) and problem.stride != (1, 1) and problem.groups > 1:
            time.sleep(3600)
        return output


class Slow(Right):
    def spoilt(self, problem: ConvProblem, output: Any) -> Any:
        time.sleep(0.002)
        return output


BACKENDS = (
    Right("right"),
    WrongInGroups("wrong-in-groups"),
    WrongOnceMore("wrong-once-more"),
    CrashesWhenStrided("crashes-when-strided"),
    RaisesWhenDilated("raises-when-dilated"),
    RaisesMarkup("raises-markup"),
    Exits("exits"),
    HangsOnBias("hangs-on-bias"),
    Slow("slow"),
)
