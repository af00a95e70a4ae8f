"""Which member of a series became faster: the search for a slow-down, from the newest member back to the oldest."""

from __future__ import annotations

from dataclasses import replace

from convbench.runner.bisect.changed_answer import Skipped
from convbench.runner.bisect.slow_down import LostEndError, Ratios, SideBySide, SlowDownSearch, Step, TimeChange
from convbench.stats.ratio import Ratio


def speed_up_between(low: int, high: int, side_by_side: SideBySide, threshold: float) -> TimeChange:
    """Speed-ups by about `threshold` or more: 0.05 means that the older member takes 1.05 times as long. The steps and
    ratios of the result are in the order of the series, the newer member's time over the older one's. Raises
    `LostEndError`."""

    def mirrored(member: int) -> int:
        return low + high - member

    def measured(members: tuple[int, ...]) -> Ratios | tuple[int, Skipped]:
        seen = side_by_side(tuple(sorted(map(mirrored, members))))
        if isinstance(seen, Ratios):
            return Ratios({(mirrored(one), mirrored(other)): ratio for (one, other), ratio in seen.pairs.items()})
        return mirrored(seen[0]), seen[1]

    def in_order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(Step(mirrored(s.after), mirrored(s.before), _inverse(s.ratio)) for s in reversed(steps))

    try:
        change = SlowDownSearch(measured, threshold).between(low, high)
    except LostEndError as lost:
        raise LostEndError(mirrored(lost.member), str(lost)) from None
    return replace(
        change,
        ratio=_inverse(change.ratio),
        steps=in_order(change.steps),
        undecided=tuple((mirrored(after), mirrored(before)) for before, after in reversed(change.undecided)),
        rest=in_order(change.rest),
    )


def _inverse(ratio: Ratio | None) -> Ratio | None:
    return None if ratio is None else ratio.inverse()
