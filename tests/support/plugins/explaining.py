"""Backends that compute rightly and say which kernel ran, well or in a way that does harm. A plugin file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem


class Explaining(Backend):
    supports = Supports(dtypes={"float32"})
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str, explain: Callable[[], Any] | None, kernel: str | None = None) -> None:
        self.name, self.explain, self.kernel = name, explain, kernel

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        return Ready(lambda: convolve(problem, x, w, b).astype(x.dtype), explain=self.explain, kernel=self.kernel)


class WrongAndExplaining(Explaining):
    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        ready = super().prepare(problem, x, w, b)
        return replace(ready, run=lambda: ready.run() + 1)


def _crash() -> str:
    os.abort()


def _hang() -> str:
    while True:
        time.sleep(1)


def _exit() -> str:
    sys.exit(5)


def _raise() -> str:
    raise RuntimeError("no log")


def _print() -> str:
    sys.stdout.write("printed by Python\n")
    os.write(1, b"\xc0nv\x02 printed past Python")
    return "brg_conv:avx512_core"


def _by_environment() -> str:
    return os.environ.get("FAKE_KERNEL", "brg_conv:avx512_core")


BACKENDS = (
    Explaining("follows-the-environment", _by_environment),
    Explaining("explains", lambda: "brg_conv:avx512_core"),
    Explaining("names-a-kernel", None, "jit:avx2"),
    Explaining("explains-and-names", lambda: "winograd", "jit:avx2"),
    Explaining("says-nothing", None),
    Explaining("does-not-know", lambda: None, "jit:avx2"),
    Explaining("prints", _print),
    Explaining("raises", _raise),
    Explaining("exits", _exit),
    Explaining("crashes", _crash),
    Explaining("hangs", _hang),
    Explaining("says-a-number", lambda: 17),
    Explaining("says-too-much", lambda: "brg_conv" * 1000),
    Explaining("says-two-lines", lambda: "brg_conv\n[red]ref:any"),
    Explaining("says-markup", lambda: "<script>alert('x')</script>"),
    WrongAndExplaining("wrong", lambda: "ref:any"),
)
