"""One number of threads measured: every loop and product there is, and what stood in the way of the others."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import scipy

from convbench.measurement.ceilings.bandwidth import extents, moves
from convbench.measurement.ceilings.executable import RefusedError, callable_code
from convbench.measurement.ceilings.figures import Figure, Level, figure
from convbench.measurement.ceilings.instruction_sets import InstructionSet, instruction_sets, without_a_loop
from convbench.measurement.ceilings.matrix_products import DTYPES, matrix_products
from convbench.measurement.ceilings.multiply_adds import cycles, multiply_adds
from convbench.measurement.ceilings.side_by_side import Task, WrongResultError, rates
from convbench.measurement.machine.facts import cpu_flags, memory_limit_bytes
from convbench.measurement.machine.topology import caches

_DISTURBED = 0.05


class Measurement:
    """What `threads` threads reach, each held to one of `cpus` if there are any, sampled for `seconds` a figure;
    `watch` is told what is being done."""

    def __init__(
        self, threads: int, cpus: tuple[int, ...] | None, seconds: float, watch: Callable[[str], None]
    ) -> None:
        self._threads, self._cpus, self._seconds, self._watch = threads, cpus, seconds, watch
        self._notes: list[str] = []
        self._lost_share = 0.0
        self._isas = self._usable()

    def everything(self) -> dict[str, Any]:
        """The fields of `Ceilings` that a measurement gives, JSON-ready."""
        found = {
            "threads": self._threads,
            "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
            "cpus": self._cpus,
            "clock": self._clock(),
            "multiply_adds": self._multiply_adds(),
            "matrix_products": self._matrix_products(),
            "levels": self._levels(),
            "unmeasured": without_a_loop(cpu_flags()),
        }
        if self._lost_share > _DISTURBED:
            self._notes.append(
                f"other processes had up to {100 * self._lost_share:.0f} % of the CPUs' time meanwhile, so caches and "
                "memory may do better; measure again when the machine is idle"
            )
        return dict(msgspec.to_builtins(found | {"notes": list(dict.fromkeys(self._notes))}))

    def _usable(self) -> list[InstructionSet]:
        found = instruction_sets(platform.machine(), cpu_flags())
        if not found:
            self._notes.append(f"no machine code: there is none here for this {platform.machine()} CPU")
            return []
        try:
            callable_code(found[0].loops.count_loop().code, None)
        except RefusedError as refused:
            self._notes.append(f"no machine code: {refused}")
            return []
        return found

    def _clock(self) -> Figure | None:
        if not self._isas:
            return None
        found = self._figure("clock", "additions that wait for one another", partial(cycles, self._isas[0].loops))
        return found and found.divided_by(self._threads)

    def _multiply_adds(self) -> dict[str, list[Figure]]:
        unmeasured = without_a_loop(cpu_flags())
        return self._fastest_first(
            (dtype, f"{isa.name} multiply-adds", partial(multiply_adds, isa, dtype))
            for isa in self._isas
            for dtype in isa.dtypes
            if dtype not in unmeasured
        )

    def _matrix_products(self) -> dict[str, list[Figure]]:
        return self._fastest_first((dtype, how, make) for dtype in DTYPES for how, make in matrix_products(dtype))

    def _fastest_first(self, tasks: Iterable[tuple[str, str, Callable[[], Task]]]) -> dict[str, list[Figure]]:
        found: dict[str, list[Figure]] = {}
        for dtype, how, make in tasks:
            if one := self._figure(dtype, how, make):
                found.setdefault(dtype, []).append(one)
        return {dtype: sorted(figures, key=lambda one: -one.value) for dtype, figures in found.items()}

    def _levels(self) -> list[Level]:
        levels = []
        for extent in extents(caches(self._cpus or ()), memory_limit_bytes()):
            tried = [self._figure(extent.name, how, make) for how, make in moves(self._isas, extent, self._threads)]
            found = tuple(one for one in tried if one is not None)
            levels.append(Level(name=extent.name, bytes=extent.holds, figures=found))
        return levels

    def _figure(self, what: str, how: str, make: Callable[[], Task]) -> Figure | None:
        """The figure of the task that `make` gives, in all threads; None, and a note, where it is wrong."""
        self._watch(f"{what}: {how}")
        held = self._cpus if self._cpus and len(self._cpus) == self._threads else None
        try:
            found = rates(make, held or [None] * self._threads, self._seconds)
        except (RefusedError, WrongResultError) as error:
            self._notes.append(f"{what}: {error}")
            return None
        self._lost_share = max(self._lost_share, 1 - found.cpu_share)
        return figure(how, found.samples)
