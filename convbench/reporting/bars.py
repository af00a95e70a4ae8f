"""Bars of blocks: a share as a length, where lengths are easier to compare than numbers."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 8
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, width: int = WIDTH) -> str:
    """A share from 0 to 1 as a bar of blocks, the last one in eighths. At least an eighth of a block, unless 0."""
    if not share > 0:
        return ""
    eighths = max(1, round(min(share, 1.0) * width * 8))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def speed_bars(times_s: Sequence[float | None], width: int = WIDTH) -> list[str]:
    """How fast each is, as a share of the fastest, as bars; none for what has no time."""
    fastest = min((seconds for seconds in times_s if seconds), default=None)
    return [bar(fastest / seconds, width) if fastest and seconds else "" for seconds in times_s]
