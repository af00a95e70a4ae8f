"""In which layout a torch model would pass its tensors on, if it is to follow a plan.

A backend reads and writes one layout. Handed the other one, it copies its input first, in every call, and in a small
layer that takes longer than computing. A race times each backend on its own layout, as behind a layer by itself. So a
plan keeps to one layout: to that in which all layers together take the least time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from convbench.analysis.backend_times import BackendTime
from convbench.analysis.choice import LayerChoice
from convbench.analysis.model_total import LEFT_OUT_IS_BEHIND
from convbench.measurement.sampling.handing_over import LAYOUTS
from convbench.store.readings import table


@dataclass(frozen=True)
class InLayout:
    """The choices among backends that read and write this layout. A layer without one keeps its fastest backend."""

    layout: str
    choices: tuple[LayerChoice, ...]
    pass_s: float
    """Seconds per pass; a layer without such a backend counts as 1.2 times its fastest one."""
    without: int
    """How many distinct layers have no such backend."""

    @property
    def backends(self) -> tuple[str, ...]:
        """The fastest backends, each once."""
        return tuple(dict.fromkeys(choice.ranked[0].backend for choice in self.choices))


def by_layout(choices: Sequence[LayerChoice]) -> tuple[InLayout, ...]:
    """The choices in each layout that is some layer's, the fastest layout first; empty where no record names one. Each
    of `choices` has a time."""
    named = {layout_of(time) for choice in choices for time in choice.ranked}
    layouts = (_in_layout(layout, choices) for layout in LAYOUTS if layout in named)
    return tuple(sorted(layouts, key=lambda each: each.pass_s))


def layout_of(time: BackendTime) -> str | None:
    """The layout that a backend gave its output in when it was handed a tensor; None if that may be either."""
    layout = None if time.record is None else table(time.record, "declared").get("gives")
    return layout if layout in LAYOUTS else None


def _in_layout(layout: str, choices: Sequence[LayerChoice]) -> InLayout:
    chosen, pass_s, without = [], 0.0, 0
    for choice in choices:
        fitting = tuple(time for time in choice.ranked if layout_of(time) in (layout, None))
        calls_s = choice.case.count * choice.ranked[0].call_s
        if not fitting:
            chosen.append(choice)
            without, pass_s = without + 1, pass_s + LEFT_OUT_IS_BEHIND * calls_s
            continue
        over_fastest = choice.over_fastest(fitting[0].backend)
        pass_s += calls_s * (over_fastest.value if over_fastest else 1.0)
        chosen.append(choice if len(fitting) == len(choice.ranked) else replace(choice, ranked=fitting))
    return InLayout(layout, tuple(chosen), pass_s, without)
