"""What was found of a machine's limits with a number of threads: plain values, as they are stored."""

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

    def divided_by(self, number: int) -> Figure:
        """The share of one of so many that found it together."""
        return Figure(self.how, self.value / number, self.low / number, self.high / number, self.samples)


def figure(how: str, rates: Sequence[float]) -> Figure:
    """The figure that samples of a rate give. Raises `ValueError` without samples."""
    estimate = estimate_median(rates)
    return Figure(how, estimate.median, estimate.low, estimate.high, len(rates))


@dataclass(frozen=True, kw_only=True)
class Level:
    """A cache, or the memory: what it holds for all threads together, and bytes a second read and written there.

    `bytes` is None for the memory. Writing counts once: that a cache fetches a line before it is written does not.
    """

    name: str
    bytes: Count | None
    figures: tuple[Figure, ...] = ()

    @property
    def fastest(self) -> Figure | None:
        """The fastest way of moving bytes that was found; None where this level was not measured."""
        return max(self.figures, key=lambda one: one.value, default=None)


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """What `threads` threads of this machine can do at most."""

    threads: Count
    time: str
    """ISO 8601, UTC."""
    cpu: str
    convbench: str
    versions: Mapping[str, str]
    cpus: tuple[int, ...] | None
    """The CPUs that the threads were held to; None where the system does not hold any."""
    clock: Figure | None
    """Cycles a second of one CPU, all of them at work."""
    multiply_adds: Mapping[str, tuple[Figure, ...]]
    """Floating-point operations a second in registers, by dtype that is multiplied, the fastest way first."""
    matrix_products: Mapping[str, tuple[Figure, ...]]
    """Floating-point operations a second in matrix products, likewise."""
    levels: tuple[Level, ...]
    """From the innermost cache to the memory; empty where the system does not tell its caches."""
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    """Dtypes that this CPU multiplies by instructions that no loop here uses, and which."""
    notes: tuple[str, ...] = ()
    """What stood in the way, in sentences."""

    def peak(self, dtype: str) -> Figure | None:
        """The fastest that `dtype` was multiplied and added; None where it was not."""
        found = (*self.multiply_adds.get(dtype, ()), *self.matrix_products.get(dtype, ()))
        return max(found, key=lambda one: one.value, default=None)

    def per_cycle(self, figure: Figure) -> float | None:
        """A rate as what one thread does in a cycle of its clock; None where the clock is not known."""
        return figure.value / self.threads / self.clock.value if self.clock else None
