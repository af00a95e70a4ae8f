"""Everything that makes a measurement less trustworthy: one enumeration, with a sentence and a remedy in `texts.toml`.

A hazard is not a verdict: the measurement stands, and its reader is warned.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any


class Kind(StrEnum):
    """The name of a hazard, as records have it. The gravest come first."""

    QUOTA_STOPS = "quota stops"
    QUOTA = "quota"
    CPUSET = "cpuset"
    OVERLAP = "overlap"
    NEIGHBOUR = "neighbour"
    BUSY = "busy"
    LOAD = "load"
    STEAL = "steal"
    HEAT = "heat"
    SWAP = "swap"
    BATTERY = "battery"
    SIBLINGS = "siblings"
    GOVERNOR = "governor"
    BOOST = "boost"
    HUGE_PAGES = "huge pages"
    CLOCK = "clock"
    GPU_SLOWED = "gpu slowed"
    GPU_CLOCK = "gpu clock"
    LAUNCH_BOUND = "launch bound"
    PROCESS_LUCK = "process luck"
    PROCESS_GROUPS = "process groups"
    DRIFT = "drift"
    PROCESSES_DIFFER = "processes differ"
    SLOW_SWITCH = "slow switch"
    NOISY_LEVEL = "noisy level"
    SLOW_CACHE = "slow cache"
    CLOCK_DOUBT = "clock doubt"
    STOOD_STILL = "stood still"
    WAITING = "waiting"
    STALLS = "stalls"
    SPREAD = "spread"
    SETTLING = "settling"
    APPROXIMATE_PASS = "approximate pass"
    SHORT_SAMPLES = "short samples"
    PAGE_FAULTS = "page faults"
    OWN_PAGE_FAULTS = "own page faults"
    MORE_THREADS = "more threads"
    FEWER_THREADS = "fewer threads"


@cache
def _texts() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Hazard:
    """A hazard that was seen, with the figures for its sentence."""

    kind: Kind
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What was seen, without a capital letter or a full stop."""
        return _texts()[self.kind]["seen"].format_map(self.figures).replace("%", " %")  # Python writes 3%

    @property
    def remedy(self) -> str:
        """What to do about it, in one or two sentences."""
        return _texts()[self.kind]["remedy"].format_map(self.figures)

    def as_dict(self) -> dict[str, Any]:
        return {"hazard": str(self.kind), **self.figures}

    @classmethod
    def from_dict(cls, fields: Any) -> Hazard | None:
        """The hazard in a record; None for other data, or a hazard of another version with other figures."""
        try:
            figures = {name: value for name, value in fields.items() if name != "hazard"}
            hazard = cls(Kind(fields["hazard"]), figures)
            return hazard if hazard.sentence and hazard.remedy else None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None


def in_order(hazards: Iterable[Hazard]) -> list[Hazard]:
    """The gravest first, and the first of each kind only."""
    first: dict[Kind, Hazard] = {}
    for hazard in hazards:
        first.setdefault(hazard.kind, hazard)
    return [first[kind] for kind in Kind if kind in first]
