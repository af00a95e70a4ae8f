"""The search for a step: how many members it looks at, what it answers with members left out, and what noise does."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.stats.bisection.levels import (
    Decision,
    Observation,
    decision,
    error_of,
    evidence,
    lies_between,
    pooled,
)
from convbench.stats.bisection.search import CERTAIN, SURE, Bisection, Gap
from convbench.stats.ratio import Ratio

counts = st.integers(2, 300)


@st.composite
def steps(draw: st.DrawFn) -> tuple[int, int]:
    """How many members, and the first one after the step."""
    count = draw(counts)
    return count, draw(st.integers(1, count - 1))


def searched(count: int, step: int, broken: frozenset[int] = frozenset()) -> tuple[Bisection, list[int], list[int]]:
    """The search at its end, the members that answered, and those that did not."""
    search, answered, skipped = Bisection(count), list[int](), list[int]()
    while (member := search.next()) is not None:
        assert 0 < member < count - 1 and member not in answered + skipped
        if member in broken:
            skipped.append(member)
            search = search.without(member)
        else:
            answered.append(member)
            search = search.with_evidence(member, CERTAIN if member >= step else -CERTAIN)
    return search, answered, skipped


@given(steps())
def test_a_step_is_found_with_as_few_members_as_binary_search_needs(case: tuple[int, int]) -> None:
    count, step = case
    search, answered, _ = searched(count, step)
    gap = search.answer()
    assert (gap.before, gap.after) == (step - 1, step)
    assert len(answered) <= math.ceil(math.log2(count - 1)), "with both ends, ceil(log2 n) + 2 environments"


@given(steps(), st.data())
def test_members_that_cannot_be_looked_at_are_never_blamed(case: tuple[int, int], data: st.DataObject) -> None:
    count, step = case
    broken = frozenset(data.draw(st.sets(st.integers(0, count - 1)))) - {0, count - 1}
    search, answered, skipped = searched(count, step, broken)
    gap = search.answer()
    assert gap.before < step <= gap.after, "the step is in the answer"
    assert set(range(gap.before + 1, gap.after)) <= set(skipped), "what is between was skipped, and nothing else"
    assert gap.after == count - 1 or gap.after not in broken
    assert set(answered) & broken == set() and set(skipped) <= broken


@given(st.integers(10, 300), st.data())
def test_a_block_of_broken_members_costs_few_looks(count: int, data: st.DataObject) -> None:
    """A search that went on with the neighbours would skip the whole block."""
    first = data.draw(st.integers(1, count // 2))
    broken = frozenset(range(first, first + count // 3))
    _, answered, skipped = searched(count, count - 1, broken)
    assert len(answered) + len(skipped) <= 2 * math.ceil(math.log2(count)) + 8


@given(counts, st.dictionaries(st.integers(1, 299), st.floats(-30, 30)), st.sets(st.integers(1, 299)))
def test_probabilities_add_up_and_the_answer_is_sure(count: int, seen: dict[int, float], skipped: set[int]) -> None:
    inside = {member: log for member, log in seen.items() if member < count - 1}
    search = Bisection(count, inside, frozenset(skipped))
    gaps = search.gaps()
    assert math.isclose(sum(gap.probability for gap in gaps), 1.0)
    assert (gaps[0].before, gaps[-1].after) == (0, count - 1)
    assert all(one.after == other.before for one, other in pairwise(gaps))
    assert search.answer().probability >= SURE - 1e-9


def test_a_look_may_be_repeated_and_a_doubtful_one_is_undone() -> None:
    search = Bisection(9).with_evidence(4, 1.0)
    assert search.next() in (3, 4), "one look with doubt is not enough to leave out half"
    assert search.answer().after - search.answer().before > 4
    assert Bisection(2).answer() == Gap(0, 1, 1.0)


# --- levels -----------------------------------------------------------------------------------------------------------


def ratio(value: float, half: float) -> Ratio:
    return Ratio.of_logs(math.log(value), math.log(value) - half, math.log(value) + half)


@given(st.floats(0.5, 2), st.floats(0.001, 0.2), st.integers(1, 20))
def test_runs_that_agree_are_pooled_with_a_smaller_error(value: float, half: float, runs: int) -> None:
    several, one = pooled([ratio(value, half)] * runs), error_of(ratio(value, half))
    assert math.isclose(several.log, math.log(value), abs_tol=1e-9)
    assert math.isclose(several.error, one / math.sqrt(runs), rel_tol=1e-6)


def test_runs_that_contradict_each_other_are_not_believed_more_than_they_agree() -> None:
    apart = pooled([ratio(1.00, 0.01), ratio(1.10, 0.01)])
    assert apart.error > 4 * pooled([ratio(1.05, 0.01)] * 2).error
    assert decision(apart, 0.05) is Decision.UNDECIDED


@pytest.mark.parametrize(
    ("value", "half", "expected"),
    [
        (1.05, 0.01, Decision.SLOWER),
        (1.05, 0.03, Decision.UNDECIDED),
        (1.00, 0.01, Decision.LEVEL),
        (0.80, 0.01, Decision.LEVEL),
        (1.02, 0.03, Decision.UNDECIDED),
        (1.50, 0.03, Decision.SLOWER),
    ],
)
def test_a_pair_is_decided_by_its_interval(value: float, half: float, expected: Decision) -> None:
    assert decision(pooled([ratio(value, half)]), 0.05) is expected


def test_without_an_interval_nothing_is_decided() -> None:
    alone = Ratio(1.5, 1.49, 1.51, covers=False)
    assert decision(pooled([alone]), 0.05) is Decision.UNDECIDED
    assert evidence([Observation(alone, alone)], 0.05) == 0.0
    assert not lies_between([Observation(alone, alone)], 0.05)


@given(st.floats(0.01, 0.5), st.floats(0.002, 0.1))
def test_evidence_is_for_the_side_that_was_seen(level: float, half: float) -> None:
    size = math.exp(level)
    slow, fast = Observation(ratio(size, half), ratio(1, half)), Observation(ratio(1, half), ratio(1 / size, half))
    assert evidence([slow], level) > 0 > evidence([fast], level)
    assert math.isclose(evidence([slow, fast], level), 0, abs_tol=1e-6)
    between = Observation(ratio(math.sqrt(size), half), ratio(1 / math.sqrt(size), half))
    assert math.isclose(evidence([between], level), 0, abs_tol=1e-6)


def test_one_spoilt_run_decides_nothing() -> None:
    spoilt = Observation(ratio(3.0, 0.01), ratio(2.8, 0.01))
    right = Observation(ratio(1.0, 0.01), ratio(1 / 1.05, 0.01))
    assert evidence([spoilt, right, right], math.log(1.05)) < 0


def test_a_member_between_both_levels_is_told_from_both() -> None:
    level = math.log(1.10)
    middle = Observation(ratio(1.05, 0.01), ratio(1.05 / 1.10, 0.01))
    assert lies_between([middle] * 2, level)
    assert not lies_between([Observation(ratio(1.05, 0.05), ratio(1.05 / 1.10, 0.05))], level), "in doubt"
    assert not lies_between([Observation(ratio(1.10, 0.01), ratio(1.0, 0.01))] * 5, level)
    assert not lies_between([middle] * 2, -level)
