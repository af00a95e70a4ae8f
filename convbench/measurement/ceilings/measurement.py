"""Measures one number of threads: every loop and product, and notes on those that cannot be measured."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import scipy

from convbench.measurement.ceilings.bandwidth import Extent, extents, moves
from convbench.measurement.ceilings.figures import Figure, Level, figure_of
from convbench.measurement.ceilings.floating_point import DTYPES, cycles, matrix_products, multiply_adds
from convbench.measurement.ceilings.instruction_sets import (
    InstructionSet,
    MultiplyAdd,
    further_multiply_adds,
    instruction_sets,
)
from convbench.measurement.ceilings.machine_code import RefusedError, callable_code
from convbench.measurement.ceilings.side_by_side import Task, WrongResultError, rates
from convbench.measurement.machine.facts import cpu_flags, memory_limit_bytes
from convbench.measurement.machine.topology import caches

_DISTURBED = 0.05


def _how(loop: MultiplyAdd) -> str:
    return f"{loop.name} multiply-adds"


class Measurement:
    """What `threads` threads reach, each pinned to one of `cpus` if any are given, sampled for `seconds` per figure.
    `on_step` is called with what is measured next."""

    def __init__(
        self, threads: int, cpus: tuple[int, ...] | None, seconds: float, on_step: Callable[[str], None]
    ) -> None:
        self._threads, self._cpus, self._seconds, self._on_step = threads, cpus, seconds, on_step
        self._notes: list[str] = []
        self._lost_share = 0.0
        self._isas = self._usable()

    def everything(self) -> dict[str, Any]:
        """The measured fields of `Ceilings`, JSON-ready."""
        loops = [loop for isa in self._isas for loop in isa.multiply_adds]
        ceilings = {
            "threads": self._threads,
            "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
            "cpus": self._cpus,
            "clock": self._clock(),
            "multiply_adds": self._fastest_first(
                (loop.dtype, _how(loop), partial(multiply_adds, loop)) for loop in loops
            ),
            "matrix_products": self._fastest_first(
                (dtype, how, make) for dtype in DTYPES for how, make in matrix_products(dtype)
            ),
            "levels": self._levels(),
        }
        if self._lost_share > _DISTURBED:
            self._notes.append(
                f"other processes used up to {100 * self._lost_share:.0f} % of the CPUs' time meanwhile, so caches and "
                "memory may be faster; measure again when the machine is idle"
            )
        return dict(msgspec.to_builtins(ceilings | {"notes": list(dict.fromkeys(self._notes))}))

    def _usable(self) -> list[InstructionSet]:
        isas = instruction_sets(platform.machine(), cpu_flags())
        try:
            if not isas:
                raise RefusedError(f"convbench has no loops for this {platform.machine()} CPU")
            callable_code(isas[0].loops.count_loop().code, None)
        except RefusedError as refused:
            self._notes.append(f"no machine code: {refused}")
            return []
        return isas

    def _clock(self) -> Figure | None:
        if not self._isas:
            return None
        make = partial(cycles, self._isas[0].loops)
        return self._figure("clock", "additions that wait for one another", make, self._threads)

    def _fastest_first(self, tasks: Iterable[tuple[str, str, Callable[[], Task]]]) -> dict[str, list[Figure]]:
        by_dtype: dict[str, list[Figure]] = {}
        for dtype, how, make in tasks:
            if figure := self._figure(dtype, how, make):
                by_dtype.setdefault(dtype, []).append(figure)
        return {dtype: sorted(figures, key=lambda figure: -figure.value) for dtype, figures in by_dtype.items()}

    def further(self, key: str) -> dict[str, Any]:
        """The `figure` of the further multiply-add of that key, or `why` there is none; JSON-ready."""
        loop = next(one for one in further_multiply_adds(platform.machine(), cpu_flags()) if one.key == key)
        figure = self._figure(key, _how(loop), partial(multiply_adds, loop))
        return dict(msgspec.to_builtins({"figure": figure, "why": "".join(self._notes).removeprefix(f"{key}: ")}))

    def reading(self) -> dict[str, float]:
        """Bytes per second that are read, by level; of levels without a loop that reads, nothing."""
        rates_by_level = {}
        for extent in self._extents():
            for how, make in moves(self._isas[:1], extent, self._threads):
                if how.endswith("read") and (figure := self._figure(extent.name, how, make)):
                    rates_by_level[extent.name] = figure.value
        return rates_by_level

    def _extents(self) -> list[Extent]:
        return extents(caches(self._cpus or ()), memory_limit_bytes())

    def _levels(self) -> list[Level]:
        levels = []
        for extent in self._extents():
            tried = [self._figure(extent.name, how, make) for how, make in moves(self._isas, extent, self._threads)]
            levels.append(Level(name=extent.name, bytes=extent.holds, figures=tuple(filter(None, tried))))
        return levels

    def _figure(self, what: str, how: str, make: Callable[[], Task], sharers: int = 1) -> Figure | None:
        """What all threads, or each of `sharers`, reach at the task that `make` returns; a note if that is wrong."""
        self._on_step(f"{what}: {how}")
        cpus = self._cpus if self._cpus and len(self._cpus) == self._threads else [None] * self._threads
        try:
            result = rates(make, cpus, self._seconds)
        except (RefusedError, WrongResultError) as error:
            self._notes.append(f"{what}: {error}")
            return None
        self._lost_share = max(self._lost_share, 1 - result.cpu_share)
        return figure_of(how, [rate / sharers for rate in result.samples])
