"""The spread of the quartiles, against `numpy.quantile`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convbench.stats.ragged import normal_spread


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=st.floats(-1e6, 1e6)))
def test_a_spread_is_that_of_the_quartiles_of_each_row(values: np.ndarray) -> None:
    low, high = np.quantile(values, (0.25, 0.75), axis=-1)
    assert normal_spread(values) * 1.3489795 == pytest.approx(high - low, rel=1e-9, abs=1e-6)
    assert normal_spread(values[0]) == normal_spread(values)[0]
