"""Which member of a series became slower: noisy binary search, each member side by side with both ends in one run.

A member on which the runs cannot decide is measured again, with fresh processes each time. What stays undecided is
left out, like what cannot be installed, and the answer becomes a range. Before a member is blamed it is measured beside
the one before it, and the difference has to hold there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from convbench.runner.bisect.changed_answer import Skipped
from convbench.stats.bisection.levels import Decision, Observation, Pooled, decision, evidence, lies_between, pooled
from convbench.stats.bisection.search import Bisection
from convbench.stats.ratio import Ratio

MOST_LOOKS = 20
"""Runs of one member, or of one pair, at most."""


class LostEndError(Exception):
    """A member that everything is compared with cannot be measured."""

    def __init__(self, member: int, reason: str) -> None:
        super().__init__(reason)
        self.member = member


@dataclass(frozen=True)
class Ratios:
    """One run of some members: how many times slower the first of a pair is than the second."""

    pairs: Mapping[tuple[int, int], Ratio]

    def of(self, slower: int, faster: int) -> Ratio:
        return self.pairs[slower, faster]


SideBySide = Callable[[tuple[int, ...]], Ratios | tuple[int, Skipped]]
"""Measure these members in one run; or which of them cannot be measured, and why."""


@dataclass(frozen=True)
class Step:
    """The time changed from `before` to `after`, by their `ratio`; what lies between was skipped or stayed
    undecided."""

    before: int
    after: int
    ratio: Ratio | None


@dataclass(frozen=True)
class TimeChange:
    """What was found between two ends, in the direction that was searched for: `ends` is `SLOWER` where they differ in
    it. `undecided` are ranges that hold a step that no member can be blamed for, and `rest` ranges that hold a further
    one."""

    low: int
    high: int
    ends: Decision
    ratio: Ratio | None
    """The last member's time over the first one's; None where no run had samples enough for an interval."""
    steps: tuple[Step, ...] = ()
    undecided: tuple[tuple[int, int], ...] = ()
    rest: tuple[Step, ...] = ()


@dataclass
class SlowDownSearch:
    """Finds slow-downs by about `threshold` (0.05 is 5 %) or more."""

    side_by_side: SideBySide
    threshold: float
    most_looks: int = MOST_LOOKS
    _steps: list[Step] = field(default_factory=list)
    _undecided: list[tuple[int, int]] = field(default_factory=list)
    _rest: list[Step] = field(default_factory=list)

    def between(self, low: int, high: int) -> TimeChange:
        """Search between these two members. Raises `LostEndError` when one of them cannot be measured."""
        ends, pair = self._ends(low, high)
        if ends is Decision.SLOWER:
            ranges = [(low, high, pair)]
            while ranges:
                ranges += self._search(*ranges.pop(0))
        steps, rest = (tuple(sorted(each, key=lambda step: step.before)) for each in (self._steps, self._rest))
        return TimeChange(low, high, ends, pair.ratio, steps, tuple(sorted(self._undecided)), rest)

    def _ends(self, low: int, high: int) -> tuple[Decision, Pooled]:
        """Whether the last member is slower than the first."""
        ratios: list[Ratio] = []
        result = Decision.UNDECIDED
        while result is Decision.UNDECIDED and len(ratios) < self.most_looks:
            ratios.append(self._measured((low, high)).of(high, low))
            result = decision(pooled(ratios), self.threshold)
        return result, pooled(ratios)

    def _measured(self, members: tuple[int, ...]) -> Ratios:
        seen = self.side_by_side(members)
        if isinstance(seen, Ratios):
            return seen
        raise LostEndError(seen[0], seen[1].reason)

    def _search(self, low: int, high: int, pair: Pooled) -> list[tuple[int, int, Pooled]]:
        """Find the step in a range whose ends differ; or the two ranges to search instead, each with its own step."""
        bisection, seen = Bisection(high - low + 1), dict[int, list[Observation]]()
        while (place := bisection.next()) is not None:
            looks = seen.setdefault(place, [])
            if len(looks) >= self.most_looks:
                bisection = bisection.without(place)
                continue
            ratios = self.side_by_side((low, low + place, high))
            if not isinstance(ratios, Ratios):
                if ratios[0] != low + place:
                    raise LostEndError(ratios[0], ratios[1].reason)
                bisection = bisection.without(place)
                continue
            looks.append(Observation(ratios.of(low + place, low), ratios.of(low + place, high)))
            if lies_between(looks, pair.log):
                before = pooled([each.than_before for each in looks])
                after = pooled([each.than_after for each in looks])
                return [(low, low + place, before), (low + place, high, Pooled(-after.log, after.error))]
            bisection = bisection.with_evidence(place, evidence(looks, pair.log))
        gap = bisection.answer()
        self._confirm(low, low + gap.before, low + gap.after, high)
        return []

    def _confirm(self, low: int, before: int, after: int, high: int) -> None:
        """Measure the two members beside the step side by side; whatever else lies in the range shows as well."""
        members = tuple(sorted({low, before, after, high}))
        pairs = [(before, after), *((a, b) for a, b in ((low, before), (after, high)) if a != b)]
        ratios: dict[tuple[int, int], list[Ratio]] = {pair: [] for pair in pairs}
        result = Decision.UNDECIDED
        while result is Decision.UNDECIDED and len(ratios[before, after]) < self.most_looks:
            run = self._measured(members)
            for faster, slower in pairs:
                ratios[faster, slower].append(run.of(slower, faster))
            result = decision(pooled(ratios[before, after]), self.threshold)
        if result is not Decision.SLOWER:
            self._undecided.append((low, high))
            return
        self._steps.append(Step(before, after, pooled(ratios[before, after]).ratio))
        for faster, slower in pairs[1:]:
            further = pooled(ratios[faster, slower])
            if decision(further, self.threshold) is Decision.SLOWER:
                self._rest.append(Step(faster, slower, further.ratio))
