"""A machine's limits with a number of threads, as plain values that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from convbench.stats.estimates import estimate_median

Rate = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(gt=0)]


@dataclass(frozen=True)
class Figure:
    """A rate per second: the median of the samples, a 95 % interval for it, and how it was found."""

    how: str
    value: Rate
    low: Rate
    high: Rate
    samples: Count


def figure_of(how: str, rates: Sequence[float]) -> Figure:
    """The figure from samples of a rate. Raises `ValueError` without samples."""
    estimate = estimate_median(rates)
    return Figure(how, estimate.median, estimate.low, estimate.high, len(rates))


@dataclass(frozen=True, kw_only=True)
class Level:
    """A cache or main memory: the bytes it holds for all threads together, and bytes per second read and written there.
    `bytes` is None for main memory. A write counts once; the fetch of its cache line before does not."""

    name: str
    bytes: Count | None
    figures: tuple[Figure, ...] = ()

    @property
    def fastest(self) -> Figure | None:
        """The fastest way of moving bytes; None if this level was not measured."""
        return max(self.figures, key=lambda figure: figure.value, default=None)


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """The most that `threads` threads of this machine can do."""

    threads: Count
    time: str  # ISO 8601, UTC
    cpu: str
    convbench: str
    versions: Mapping[str, str]
    cpus: tuple[int, ...] | None  # the CPUs that the threads were pinned to; None where the system cannot pin
    clock: Figure | None  # cycles per second of one CPU while all of them work
    multiply_adds: Mapping[str, tuple[Figure, ...]]
    """Operations per second in registers, by the dtype that is multiplied, the fastest way first; int8 is added up in
    int32."""
    matrix_products: Mapping[str, tuple[Figure, ...]]
    """Floating-point operations per second in matrix products, likewise."""
    levels: tuple[Level, ...]  # from the innermost cache to main memory; empty if the caches are unknown
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    """Dtypes without a ceiling, because this CPU multiplies them with instructions that were not measured, and the
    names of those."""
    further: tuple[str, ...] | None = None
    """The multiply-adds for narrow formats that were tried, by their keys; None in files that are older than those."""
    notes: tuple[str, ...] = ()  # what prevented a measurement, in sentences

    def peak(self, dtype: str) -> Figure | None:
        """The fastest multiply-add of `dtype`; None if it was not measured, or something faster may exist."""
        if dtype in self.unmeasured:
            return None
        figures = (*self.multiply_adds.get(dtype, ()), *self.matrix_products.get(dtype, ()))
        return max(figures, key=lambda figure: figure.value, default=None)

    def per_cycle(self, figure: Figure) -> float | None:
        """A rate as work of one thread per cycle of its clock; None if the clock is unknown."""
        return figure.value / self.threads / self.clock.value if self.clock else None
