"""Backends whose library has a switch for instruction sets, and what becomes of it. A plugin file, as anybody's is."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from convbench.backend import Arithmetic, Backend, Ready
from convbench.problem import ConvProblem

SWITCH = "FAKE_MAX_ISA"
_SWITCHES = {"avx2": {SWITCH: "AVX2", "FAKE_FLAGS": "--narrow"}, "avx512": {SWITCH: "AVX512"}}


class Held(Backend):
    """Obeys its switch, and says so."""

    arithmetic = Arithmetic("direct")
    isa_switches = _SWITCHES

    def __init__(self, name: str) -> None:
        self.name = name

    def isa_in_use(self) -> str | None:
        return os.environ.get(SWITCH, "AVX512")

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        return Ready(lambda: self.answer(convolve(problem, x, w, b).astype(x.dtype)))

    def answer(self, output: Any) -> Any:
        return output


class Ignoring(Held):
    """Goes on as before, and says so."""

    def isa_in_use(self) -> str | None:
        return "jit:avx512_core"


class Silent(Held):
    """Does not tell what it uses, like most libraries."""

    def isa_in_use(self) -> str | None:
        return None


class Telling(Held):
    """Its kernel tells of wider instructions, which the library did not say before."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        return replace(super().prepare(problem, x, w, b), explain=lambda: "brg_conv:avx512_core")


class Crashing(Held):
    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        if SWITCH in os.environ:
            os.abort()
        return super().prepare(problem, x, w, b)


class WrongBelow(Held):
    """Right with all instructions, wrong with fewer."""

    def answer(self, output: Any) -> Any:
        return output + 1 if SWITCH in os.environ else output


class Narrower(Held):
    """Supports less with fewer instructions, which only a process that is held to them can tell."""

    def unsupported(self, problem: ConvProblem) -> str | None:
        return "computes nothing without AVX-512" if SWITCH in os.environ else None


class Unswitched(Held):
    isa_switches = {}  # noqa: RUF012 - as its author would write it
    without_isa_switch = "it was forgotten"


BACKENDS = (
    Held("held"),
    Ignoring("ignoring"),
    Silent("silent"),
    Telling("telling"),
    Crashing("crashing"),
    WrongBelow("wrong-below"),
    Narrower("narrower"),
    Unswitched("unswitched"),
)
