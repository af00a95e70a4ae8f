"""Ratios of records that were measured in several processes: each is paired with its like."""

from __future__ import annotations

import numpy as np
import pytest

from convbench.analysis.paired_ratio import geometric_mean_ratio, ratio
from convbench.store.schema import Record

ROUNDS = 12


def record(*levels: float, true: float = 1.0, noise: float = 0.0, seed: int = 0) -> Record:
    """A process for each `levels`, whose rounds drift together."""
    rng = np.random.default_rng(seed)
    drift = np.exp(np.cumsum(np.random.default_rng(99).normal(0, 0.2, ROUNDS)))
    walls = [(true * one * drift * np.exp(noise * rng.normal(size=ROUNDS))).tolist() for one in levels]
    samples = {
        "round": [r for _ in levels for r in range(ROUNDS)],
        "process": [p for p in range(len(levels)) for _ in range(ROUNDS)],
        "wall_s": [wall_s for process in walls for wall_s in process],
    }
    return {"case": "c", "samples": samples}


def test_a_difference_that_is_all_between_processes_is_none() -> None:
    varied, plain = record(1.05, 1.0, 0.99, 1.01), record(1.0, 1.0, 1.0, 1.0)
    found = ratio(varied, plain)
    assert found is not None and found.covers and found.includes_one
    # One process of each, and the same variation looks like a fact.
    alone = ratio(record(1.05, noise=0.001), record(1.0, noise=0.001, seed=1))
    assert alone is not None and not alone.includes_one


def test_a_difference_beyond_process_variation_is_found_whatever_drifts_in_the_rounds() -> None:
    slow, fast = record(1.0, 1.01, 0.99, true=1.1), record(1.0, 1.005, 1.0)
    found = ratio(slow, fast)
    assert found is not None and found.covers
    assert found.value == pytest.approx(1.1, rel=0.01)
    assert 1 < found.low < found.value < found.high


def test_processes_that_only_one_has_are_left_out_and_those_without_the_column_are_the_first() -> None:
    old = record(1.0)
    del old["samples"]["process"]
    found = ratio(record(2.0, 7.0, 7.0), old)
    assert found is not None and found.value == pytest.approx(2.0)
    # One process of each is left, and what those may differ by.
    assert 1.96 < found.low < 2.0 < found.high < 2.04


def test_over_cases_the_interval_of_the_mean_is_over_processes() -> None:
    pairs = [(record(1.06, 1.0, 0.97), record(1.0, 1.0, 1.0)), (record(1.05, 1.0, 0.98), record(1.0, 1.0, 1.0))]
    found = geometric_mean_ratio(pairs)
    assert found is not None and found.covers and found.includes_one
    assert found.value == pytest.approx((1.06 * 0.97 * 1.05 * 0.98) ** (1 / 6))
    two = geometric_mean_ratio([(record(1.2, 1.1), record(1.0, 1.0))] * 2)
    assert two is not None and not two.covers and (two.low, two.high) == pytest.approx((1.1, 1.2))
