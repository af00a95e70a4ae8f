"""What a whole model takes: with one backend for all its layers, and with the best of each.

A total is the sum over the layers of count times the seconds of a call: the fastest one's median, and for the others
that times their ratio, which is paired by rounds and so is not of another moment. Handing a tensor from one library to
another, and from one layout to another, is in no call and in no total: the best of each layer is a bound, no promise.

The interval of a ratio of totals comes from those of the layers' ratios; half-widths of independent errors add up as
their squares do (the delta method). What a process has for luck is in all of its layers, so it is added whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convbench.analysis.choice import LayerChoice, Timed
from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ratio import Ratio

LEFT_OUT_IS_BEHIND = 1.2
"""How many times the fastest's time a backend takes at least where a race left it out."""


@dataclass(frozen=True)
class Total:
    """One backend over the layers of a model."""

    backend: str
    layers: int
    """Distinct ones that it has a time on."""
    without: tuple[LayerChoice, ...]
    """The others."""
    known_s: float
    """Seconds a pass for the layers that it has a time on."""
    first_s: float | None
    """Seconds to make ready and call for the first time, over the distinct layers; None where that is not known."""
    peak_bytes: int | None
    """The most memory of its process on any layer."""

    @property
    def is_whole(self) -> bool:
        return not self.without

    @property
    def expected_s(self) -> float | None:
        """Seconds a pass at best, if it was but left out of the layers that it has no time on; None if it failed on one
        or cannot compute it."""
        if not all(self.backend in c.left_out for c in self.without):
            return None
        return self.known_s + LEFT_OUT_IS_BEHIND * sum(c.case.count * c.ranked[0].call_s for c in self.without)


@dataclass(frozen=True)
class Difference:
    """A layer's share of what choosing for each layer would save."""

    choice: LayerChoice
    saved_s: float


@dataclass(frozen=True)
class ModelChoice:
    """The choices for all layers that have one, and what they add up to."""

    choices: tuple[LayerChoice, ...]
    totals: tuple[Total, ...]
    """Those that have a time on every layer first; the fastest first, or who is expected to be."""

    @property
    def single(self) -> Total | None:
        """The best backend for all layers; None where none has a time on every one."""
        return next((total for total in self.totals if total.is_whole), None)

    @property
    def best_s(self) -> float:
        """Seconds a pass with the fastest backend of each layer."""
        return sum(c.case.count * c.ranked[0].call_s for c in self.choices)

    def lead(self, backend: str, other: str | None = None) -> Ratio | None:
        """How many times longer `backend` takes for a pass than `other`, or than the best of each layer; None where one
        lacks a layer."""
        above, above_half = self._relative(backend)
        below, below_half = self._relative(other) if other else (self.best_s, 0.0)
        if not above or not below:
            return None
        half = math.hypot(above_half / above, below_half / below)
        covers = all(self._covers(c, backend) and (other is None or self._covers(c, other)) for c in self.choices)
        luck = half_width_of_process_variation(
            c.ranked[0].record for c in self.choices if c.ranked[0].record is not None
        )
        plain = Ratio(above / below, above / below * math.exp(-half), above / below * math.exp(half), covers)
        return plain.widened(luck)

    def _relative(self, backend: str) -> tuple[float, float]:
        """Seconds a pass, and half of the interval of what its ratios leave open; nothing without a layer."""
        total, variance = 0.0, 0.0
        for c in self.choices:
            if (between := c.over_fastest(backend)) is None:
                return 0.0, 0.0
            seconds = pass_s(c, between)
            total += seconds
            variance += (seconds * math.log(between.high / between.low) / 2) ** 2
        return total, math.sqrt(variance)

    def _covers(self, choice: LayerChoice, backend: str) -> bool:
        between = choice.over_fastest(backend)
        return between is not None and between.covers

    def differences(self) -> tuple[Difference, ...]:
        """Where the best single backend loses time, the most first; nothing where there is no single one."""
        if (single := self.single) is None:
            return ()
        found = [
            Difference(c, pass_s(c, between) - c.case.count * c.ranked[0].call_s)
            for c in self.choices
            if (between := c.over_fastest(single.backend)) is not None
        ]
        return tuple(sorted((one for one in found if one.saved_s > 0), key=lambda one: -one.saved_s))

    def contender(self) -> tuple[str, tuple[LayerChoice, ...]] | None:
        """Who might be the best single backend, or the next, if it were asked on the layers that it was left out of,
        with these layers; None where both are known."""
        likely = [(total.expected_s, total) for total in self.totals if total.expected_s is not None]
        likely.sort(key=lambda one: one[0])
        return next(((total.backend, total.without) for _, total in likely[:2] if not total.is_whole), None)


def pass_s(choice: LayerChoice, over_fastest: Ratio) -> float:
    """Seconds a pass spends in this layer with a backend that takes so many times as long as the fastest."""
    return choice.case.count * choice.ranked[0].call_s * over_fastest.value


def add_up(choices: Sequence[LayerChoice]) -> ModelChoice:
    """The totals over those of `choices` that have a time at all."""
    known = tuple(choice for choice in choices if choice.ranked)
    names = dict.fromkeys(timed.backend for choice in known for timed in choice.ranked)
    totals = [_total(name, known) for name in names]
    totals.sort(key=lambda total: (not total.is_whole, total.expected_s or math.inf, -total.layers))
    return ModelChoice(known, tuple(totals))


def _total(backend: str, choices: Sequence[LayerChoice]) -> Total:
    timed = [one for c in choices if (one := c.of(backend)) is not None]
    records = [one.record for one in timed if one.record is not None]
    firsts = [_first_answer_s(one) for one in timed]
    known = [first for first in firsts if first is not None]
    return Total(
        backend=backend,
        layers=len(timed),
        without=tuple(c for c in choices if c.of(backend) is None),
        known_s=sum(pass_s(c, between) for c in choices if (between := c.over_fastest(backend)) is not None),
        first_s=sum(known) if len(known) == len(timed) else None,
        peak_bytes=max((r["peak_bytes"] for r in records if r.get("peak_bytes")), default=None),
    )


def _first_answer_s(timed: Timed) -> float | None:
    record = timed.record or {}
    prepare_s, first_call_s = record.get("prepare_s"), record.get("first_call_s")
    return None if prepare_s is None or first_call_s is None else prepare_s + first_call_s
