"""What a whole model takes: with one backend for all its layers, and with the best backend for each.

A total is the sum over the layers of count times the seconds of a call: the fastest backend's median, for others times
their ratio, which is paired by rounds. Converting tensors between libraries or layouts is in no total: the best of each
layer is a bound, not a promise. In the interval of a ratio of totals the half-widths of the layers' ratios add up as
their squares do (the delta method); between-process variation is in all layers of a process, so it is added once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convbench.analysis.backend_times import BackendTime
from convbench.analysis.choice import LayerChoice
from convbench.stats.ratio import Ratio
from convbench.store.readings import half_width_between_processes, number

LEFT_OUT_IS_BEHIND = 1.2
"""How many times longer than the fastest a backend takes at least, on a layer that a race left it out of."""


@dataclass(frozen=True)
class Total:
    """One backend over the layers of a model."""

    backend: str
    layers: int
    """How many distinct layers it has a time on."""
    without: tuple[LayerChoice, ...]
    known_s: float
    """Seconds per pass for the layers that it has a time on."""
    first_s: float | None
    """Seconds to prepare and make the first call, over the distinct layers; None if unknown."""
    peak_bytes: int | None

    @property
    def is_whole(self) -> bool:
        return not self.without

    @property
    def expected_s(self) -> float | None:
        """Seconds per pass at best, if a race left it out of all layers that it has no time on; else None."""
        if not all(self.backend in c.left_out for c in self.without):
            return None
        return self.known_s + LEFT_OUT_IS_BEHIND * sum(c.case.count * c.ranked[0].call_s for c in self.without)


@dataclass(frozen=True)
class Saving:
    """What choosing a backend for this layer alone would save, in seconds per pass."""

    choice: LayerChoice
    saved_s: float


@dataclass(frozen=True)
class ModelChoice:
    """The choices for all layers that have one, and what they add up to."""

    choices: tuple[LayerChoice, ...]
    totals: tuple[Total, ...]
    """Backends with a time on every layer first; then by their (expected) time."""

    @property
    def single(self) -> Total | None:
        """The best backend for all layers; None if no backend has a time on every one."""
        return next((total for total in self.totals if total.is_whole), None)

    @property
    def best_s(self) -> float:
        """Seconds per pass with the fastest backend of each layer."""
        return sum(c.case.count * c.ranked[0].call_s for c in self.choices)

    def lead(self, backend: str, other: str | None = None) -> Ratio | None:
        """How many times longer a pass takes with `backend` than with `other`, or the best of each layer, if known. The
        process of a backend computes all layers, so what processes differ by is included once, for all of them."""
        above, below = self._pass(backend), self._pass(other)
        if above is None or below is None:
            return None
        value, half = above[0] / below[0], math.hypot(above[1] / above[0], below[1] / below[0])
        plain = Ratio(value, value * math.exp(-half), value * math.exp(half), above[2] and below[2])
        return plain.widened(max(map(_between_processes, self.choices)))

    def _pass(self, backend: str | None) -> tuple[float, float, bool] | None:
        """Seconds per pass with `backend`, or the best of each layer, half of their interval, and whether it is one."""
        ratios = [c.over_fastest(backend or c.ranked[0].backend) for c in self.choices]
        known = [between for between in ratios if between is not None]
        if not known or len(known) < len(ratios):
            return None
        seconds = list(map(pass_s, self.choices, known))
        within = [between.narrowed(_between_processes(c)) for c, between in zip(self.choices, known, strict=True)]
        halves = [s * math.log(between.high / between.low) / 2 for s, between in zip(seconds, within, strict=True)]
        return sum(seconds), math.hypot(*halves), all(between.covers for between in known)

    def differences(self) -> tuple[Saving, ...]:
        """Where the best single backend loses time, the most first; empty if there is no single backend."""
        if (single := self.single) is None:
            return ()
        savings = [
            Saving(c, pass_s(c, between) - c.case.count * c.ranked[0].call_s)
            for c in self.choices
            if (between := c.over_fastest(single.backend)) is not None
        ]
        return tuple(sorted((saving for saving in savings if saving.saved_s > 0), key=lambda saving: -saving.saved_s))

    def contender(self) -> tuple[str, tuple[LayerChoice, ...]] | None:
        """A backend that might be the best single one or the next but was left out of layers, with these."""
        expected = [(total.expected_s, total) for total in self.totals if total.expected_s is not None]
        expected.sort(key=lambda entry: entry[0])
        return next(((total.backend, total.without) for _, total in expected[:2] if not total.is_whole), None)


def _between_processes(choice: LayerChoice) -> float:
    """Half of the 95 % interval, of a logarithm, that the ratios of this layer include for what processes differ by."""
    record = choice.ranked[0].record
    if record is None:
        return 0.0
    return half_width_between_processes([record]) / math.sqrt(max(1.0, number(record, "processes") or 1.0))


def pass_s(choice: LayerChoice, over_fastest: Ratio) -> float:
    """Seconds per pass in this layer with a backend that takes this many times as long as the fastest."""
    return choice.case.count * choice.ranked[0].call_s * over_fastest.value


def add_up(choices: Sequence[LayerChoice]) -> ModelChoice:
    """The totals over the `choices` that have any time."""
    known = tuple(choice for choice in choices if choice.ranked)
    names = dict.fromkeys(time.backend for choice in known for time in choice.ranked)
    totals = [_total(name, known) for name in names]
    totals.sort(key=lambda total: (not total.is_whole, total.expected_s or math.inf, -total.layers))
    return ModelChoice(known, tuple(totals))


def _total(backend: str, choices: Sequence[LayerChoice]) -> Total:
    times = [time for c in choices if (time := c.of(backend)) is not None]
    firsts = [first for time in times if (first := _first_result_s(time)) is not None]
    peaks = [number(time.record, "peak_bytes") for time in times if time.record is not None]
    return Total(
        backend=backend,
        layers=len(times),
        without=tuple(c for c in choices if c.of(backend) is None),
        known_s=sum(pass_s(c, between) for c in choices if (between := c.over_fastest(backend)) is not None),
        first_s=sum(firsts) if len(firsts) == len(times) else None,
        peak_bytes=max((int(peak) for peak in peaks if peak), default=None),
    )


def _first_result_s(time: BackendTime) -> float | None:
    if time.record is None:
        return None
    prepare_s, first_call_s = (number(time.record, name) for name in ("prepare_s", "first_call_s"))
    return None if prepare_s is None or first_call_s is None else prepare_s + first_call_s
