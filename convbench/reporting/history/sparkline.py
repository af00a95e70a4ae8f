"""A series as a line of blocks, for a table's row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], most: int = 30) -> str:
    """Positive values as blocks, on a logarithmic scale, at most `most` of them: each the median of as many neighbours.

    Single slow runs do not set the scale; they end at its top.
    """
    width = min(most, len(values))
    edges = [round(place * len(values) / width) for place in range(width + 1)] if width else []
    logs = [math.log(median(values[a:b])) for a, b in pairwise(edges)]
    smooth = [median(logs[max(0, place - 1) : place + 2]) for place in range(len(logs))]
    low, high = min(smooth, default=0.0), max(smooth, default=0.0)
    if high - low < 1e-9:
        return _BLOCKS[3] * len(logs)
    shares = [(x - low) / (high - low) for x in logs]
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, max(0, int(share * len(_BLOCKS))))] for share in shares)
