"""Backends that misbehave, each in one way: what a run has to survive. A plugin file, as anybody's would be."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem

_ALL = Supports(
    dtypes={"float64", "float32", "float16", "bfloat16"},
    padding_modes={"zeros", "reflect", "replicate", "circular"},
    negative_padding=True,
)

KEPT, TAKEN = 48 * 2**20, 40 * 2**20  # more than glibc ever keeps of what is freed, without settings of ours


class Right(Backend):
    """The reference, which the verdicts are computed from, as a backend: always right."""

    supports = _ALL
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str = "right") -> None:
        self.name = name

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        def run() -> Any:
            return self.misbehave(convolve(problem, x, w, b).astype(x.dtype), x)

        return Ready(run)

    def misbehave(self, output: Any, x: Any) -> Any:
        return output


class Misbehaving(Right):
    """A right answer, and then something with it, from the `after`-th call on."""

    def __init__(self, name: str, act: Callable[[Any, Any], Any], after: int = 0) -> None:
        super().__init__(name)
        self.act, self.after, self.calls = act, after, 0

    def misbehave(self, output: Any, x: Any) -> Any:
        self.calls += 1
        return self.act(output, x) if self.calls > self.after else output


class Unavailable(Right):
    requires = ("a_module_that_does_not_exist",)


class BrokenImport(Right):
    requires = ("broken_library",)

    def unavailable(self) -> str | None:
        return None


class Narrow(Right):
    supports = Supports()


class AsksForTooMuch(Right):
    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        kept = [np.ones(2**40, np.uint8) for _ in range(64)]
        return Ready(lambda: kept)


class KeepsMemory(Right):
    """Packs `KEPT` bytes when it is made ready, and takes `TAKEN` more for as long as a call lasts."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        kept = np.ones(KEPT, np.uint8)
        right = super().prepare(problem, x, w, b)

        def run() -> Any:
            taken = np.ones(TAKEN, np.uint8)
            output = right.run()
            return output * (taken[0] * kept[0])

        return Ready(run)


class HangsInPrepare(Right):
    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        time.sleep(3600)
        raise AssertionError


def _off_by_one(output: Any, x: Any) -> Any:
    output[0, -1, -1, -1] += 1
    return output


def _write_input(output: Any, x: Any) -> Any:
    x.flat[0] += 1
    return output


def _print(output: Any, x: Any) -> Any:
    print("chatter on standard output")  # noqa: T201
    os.write(1, b"and from below Python\n")
    return output


def _raise(output: Any, x: Any) -> Any:
    raise RuntimeError("[bold]markup[/bold] and\nmore than one line")


BACKENDS = (
    Right(),
    Right("right-twin"),
    Misbehaving("wrong", _off_by_one),
    Misbehaving("wrong-later", _off_by_one, after=20),
    Misbehaving("not-a-number", lambda y, x: y * np.nan),
    Misbehaving("wrong-shape", lambda y, x: y[:, :, :, :0]),
    Misbehaving("wrong-dtype", lambda y, x: y.astype(np.float64)),
    Misbehaving("not-an-array", lambda y, x: "forty-two"),
    Misbehaving("slow", lambda y, x: (time.sleep(0.05), y)[1]),
    Misbehaving("segfault", lambda y, x: ctypes.string_at(0)),
    Misbehaving("segfault-later", lambda y, x: ctypes.string_at(0), after=20),
    Misbehaving("hang", lambda y, x: time.sleep(3600)),
    Misbehaving("exit", lambda y, x: os._exit(3)),
    Misbehaving("sys-exit", lambda y, x: sys.exit(4)),
    Misbehaving("prints", _print),
    Misbehaving("writes-input", _write_input),
    Misbehaving("raises", _raise),
    AsksForTooMuch("asks-for-too-much"),
    KeepsMemory("keeps-memory"),
    HangsInPrepare("hangs-in-prepare"),
    Unavailable("unavailable"),
    BrokenImport("broken-import"),
    Narrow("narrow"),
)
