"""Control of the false discovery rate over many p values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def q_values(p_values: Sequence[float]) -> list[float]:
    """For each p value the smallest rate of false discoveries at which it is one.

    Y. Benjamini and Y. Hochberg, J. R. Stat. Soc. B 57 (1995). (SciPy's takes most of a second to import.)
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]
    smallest = np.minimum.accumulate((p[order] * p.size) / np.arange(p.size, 0, -1))
    q = np.empty(p.size)
    q[order] = np.minimum(smallest, 1)
    return q.tolist()
