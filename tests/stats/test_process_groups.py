"""Two groups of processes are seen where there are two, and heavy tails alone are none."""

from __future__ import annotations

import numpy as np
import pytest

from convbench.stats.process_groups import two_groups, two_groups_by_pairs


def test_two_groups_of_processes_are_seen() -> None:
    groups = two_groups([0.0, 0.002, -0.001, 0.31, 0.312, 0.309, 0.001, 0.311])
    assert groups is not None
    assert groups.apart == pytest.approx(0.31, abs=0.003) and groups.smaller == 4


def test_two_groups_are_seen_in_pairs() -> None:
    agree, differ = [0.001, -0.004, 0.003, 0.002, -0.001, 0.005], [0.31, -0.305, 0.312, -0.309]
    groups = two_groups_by_pairs([*agree, *differ])
    assert groups is not None and groups.apart == pytest.approx(0.31, abs=0.01) and groups.smaller == 4


def test_a_bad_process_is_no_group() -> None:
    assert two_groups([0.0, 0.002, -0.001, 0.001, -0.002, 0.0, 0.5]) is None
    assert two_groups_by_pairs([0.001, -0.004, 0.003, 0.002, -0.001, 0.005, -0.003, 0.9]) is None


@pytest.mark.parametrize("values", [[], [0.1], [0.0, 0.3, 0.6], [0.2] * 8, [0.0, 0.0, 0.0, 1e-9]])
def test_too_few_values_and_equal_ones_are_one_group(values: list[float]) -> None:
    assert two_groups(values) is None and two_groups_by_pairs(values) is None


@pytest.mark.parametrize("count", [4, 5, 8, 20])
def test_heavy_tails_are_seldom_taken_for_groups(count: int) -> None:
    rng = np.random.default_rng(count)
    drawn = 0.01 * rng.standard_t(4, (2000, count))
    assert sum(two_groups(row.tolist()) is not None for row in drawn) <= 10
    assert sum(two_groups_by_pairs(row.tolist()) is not None for row in drawn) <= 10
