"""What `convbench.apply` did to a model, and whether it was worth it, as text and as values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convbench.plans.equivalence import Agreement


@dataclass(frozen=True)
class LayerChange:
    """A layer that follows the plan: its backend for each of its case ids, and its seconds per pass through the model,
    before and after."""

    layer: str
    backends: tuple[tuple[str, str], ...]
    before_s: float
    after_s: float


@dataclass(frozen=True)
class LayerLeft:
    """A layer that computes as before, and why."""

    layer: str
    why: str


@dataclass(frozen=True)
class Report:
    """The best changed model against the unchanged one.

    It is `ratio` times as fast, with a 95 % interval [low, high] over the rounds, which had no part in choosing it.
    `kept` says whether the result is the changed model. `tried` are the variants that were compared, each with how many
    times as fast as the unchanged model it seemed in the rounds that chose the best. `way` is the chosen one.
    """

    before_s: float
    after_s: float
    ratio: float
    low: float
    high: float
    rounds: int
    kept: bool
    way: str
    channels_last: bool
    layers_changed: tuple[LayerChange, ...]
    layers_left: tuple[LayerLeft, ...]
    agreement: Agreement | None
    tried: tuple[tuple[str, float], ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"before  {_ms(self.before_s)} ms"
        yield f"after   {_ms(self.after_s)} ms   {self.way}"
        yield f"ratio   {self.ratio:.3f}x    95 % interval [{self.low:.3f}, {self.high:.3f}], {self.rounds} rounds"
        if self.agreement is not None:
            yield f"output  {_agreement_text(self.agreement)}"
        by: dict[str, list[LayerChange]] = {}
        for change in self.layers_changed:
            by.setdefault(" and ".join(dict.fromkeys(name for _, name in change.backends)), []).append(change)
        for names, changes in by.items():
            before_s, after_s = sum(c.before_s for c in changes), sum(c.after_s for c in changes)
            number = f"{len(changes)} layer{'s' if len(changes) > 1 else ''}"
            yield f"changed {number} to {names}: {_ms(before_s)} to {_ms(after_s)} ms where they stand"
        reasons: dict[str, list[str]] = {}
        for left in self.layers_left:
            reasons.setdefault(left.why, []).append(left.layer)
        for why, layers in reasons.items():
            others = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
            yield f"left    {', '.join(layers[:3])}{others}: {why}"
        for note in self.notes:
            yield f"note    {note}"
        yield self.sentence

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        interval = f"{self.ratio:.2f}x [{self.low:.2f}, {self.high:.2f}]"
        if self.way == "unchanged":
            return "Nothing that the plan says makes this model faster: it is given unchanged."
        if self.low > 1:
            result = f"The changed model is faster, {interval}"
        elif self.high < 1:
            result = f"The changed model is slower, {interval}"
        else:
            result = f"The two are level, {interval}"
        return f"{result}, and the {'changed' if self.kept else 'unchanged'} one is given."


@dataclass(frozen=True)
class Applied:
    """The model to use, and the report on it."""

    model: Any
    report: Report


def _agreement_text(agreement: Agreement) -> str:
    changed = f"{agreement.changed:.1e} of the largest element"
    if agreement.unchanged is None:
        return f"differs by {changed} from the unchanged model's, allowed {agreement.allowed:.1e}"
    return f"off by {changed}, the unchanged model's by {agreement.unchanged:.1e}, allowed {agreement.allowed:.1e}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:,.0f}"
