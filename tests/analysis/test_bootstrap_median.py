"""Medians of bootstrap samples: their distribution against all samples counted, and those that are drawn and sorted."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.analysis import bootstrap_median
from convbench.analysis.bootstrap_median import bootstrap_medians

CELLS = 2**16
values = st.lists(st.floats(-10, 10), min_size=1, max_size=60).map(np.array)


@pytest.mark.parametrize("n", range(1, 7))
def test_each_median_has_the_share_of_the_samples_that_it_is_the_median_of(n: int) -> None:
    counted = Counter(float(np.median(sample)) for sample in product([2.0**i for i in range(n)], repeat=n))
    below, above, cells = bootstrap_median._ranks(n)
    of_cell = [(2.0**i + 2.0**j) / 2 for i, j in zip(below.tolist(), above.tolist(), strict=True)]
    found = Counter(of_cell[cell] for cell in cells.tolist())
    assert sum(found.values()) == CELLS
    for median, count in counted.items():
        assert found[median] / CELLS == pytest.approx(count / n**n, abs=2 / CELLS)
    assert set(found) <= set(counted)


@pytest.mark.parametrize("n", [7, 30, 101, 400, 501, 700])
def test_quantiles_are_those_of_samples_that_are_drawn_and_sorted(n: int) -> None:
    rng = np.random.default_rng(n)
    logs = rng.standard_normal(n)
    drawn = np.median(logs[rng.integers(0, n, (20_000, n))], axis=1)
    medians = bootstrap_medians(logs, 20_000, rng)
    levels = (0.025, 0.16, 0.5, 0.84, 0.975)
    off = np.abs(np.quantile(medians, levels) - np.quantile(drawn, levels))
    assert off.max() < 0.15 * drawn.std()
    assert medians.mean() == pytest.approx(drawn.mean(), abs=0.05 * drawn.std())
    assert medians.std() == pytest.approx(drawn.std(), rel=0.05)


@pytest.mark.parametrize("n", [5, 6, 40, 499, 500])
def test_tables_and_draws_of_ranks_agree(n: int) -> None:
    below, above, cells = bootstrap_median._ranks(n)
    drawn = bootstrap_median._drawn_ranks(n, 100_000, np.random.default_rng(0))
    for ranks, others in zip((below, above), drawn, strict=True):
        assert ranks[cells].mean() == pytest.approx(others.mean(), abs=0.03 * max(1.0, others.std()))
        assert ranks[cells].std() == pytest.approx(others.std(), rel=0.03)
    assert np.corrcoef(below[cells], above[cells])[0, 1] == pytest.approx(np.corrcoef(*drawn)[0, 1], abs=0.01)


@given(values, st.integers(0, 2**32 - 1))
def test_a_median_lies_within_the_values_and_a_seed_gives_the_same(data: np.ndarray, seed: int) -> None:
    one, same = (bootstrap_medians(data, 50, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(one, same) and one.shape == (50,)
    assert data.min() <= one.min() and one.max() <= data.max()
    if data.size % 2:
        assert set(one) <= set(data)
