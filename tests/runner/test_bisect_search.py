"""The two searches of `convbench bisect` on series that are known: no process, no clock."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noisy_series import NoisySeries, stepping

from convbench.runner.bisect.changed_answer import Answer, Change, Skipped, find_change, first_that_answers
from convbench.runner.bisect.slow_down import LostEndError, Ratios, SlowDownSearch, TimeChange
from convbench.runner.bisect.speed_up import speed_up_between
from convbench.stats.bisection.levels import Decision

RIGHT, WRONG, CRASHED = Answer("ok"), Answer("wrong"), Answer("crashed")


class Asked:
    """Answers from a list; None is skipped."""

    def __init__(self, *answers: Answer | None) -> None:
        self.answers = answers
        self.asked: set[int] = set()

    def __call__(self, member: int) -> Answer | Skipped:
        self.asked.add(member)
        return self.answers[member] or Skipped("no wheel")


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_first_wrong_member_is_found_with_few_environments(before: int, after: int, data: st.DataObject) -> None:
    count = before + after
    skipped = data.draw(st.sets(st.integers(1, max(1, count - 2)), max_size=5)) - {0, count - 1}
    answers = [None if member in skipped else RIGHT if member < before else WRONG for member in range(count)]
    ask = Asked(*answers)
    change = find_change(0, count - 1, ask)
    assert change.before < before <= change.after
    assert set(range(change.before + 1, change.after)) <= skipped
    assert answers[change.after] == WRONG and answers[change.before] == RIGHT and change.later == ()
    # The member after a skipped one is farther from the middle, so each that is skipped may cost one more.
    assert len(ask.asked - skipped) <= math.ceil(math.log2(count)) + 2 + len(ask.asked & skipped)


def test_a_change_from_one_failure_to_another_is_told_as_a_second_step() -> None:
    ask = Asked(*[RIGHT] * 4, *[CRASHED] * 5, *[WRONG] * 3)
    change = find_change(0, 11, ask)
    assert (change.before, change.after) == (3, 4)
    assert change.later and all(ask.answers[one] != ask.answers[other] for one, other in change.later)


def test_a_mended_answer_is_found_like_a_broken_one() -> None:
    assert find_change(0, 5, Asked(*[WRONG] * 3, *[RIGHT] * 3)) == Change(2, 3)


def test_the_ends_of_a_series_are_the_first_members_that_answer() -> None:
    assert first_that_answers(Asked(None, None, RIGHT, RIGHT), range(4)) == 3  # 0, 1, 3: ever larger steps
    assert first_that_answers(Asked(RIGHT), range(1)) == 0
    assert first_that_answers(Asked(None, None), range(2)) is None
    ask = Asked(*[None] * 500, RIGHT)
    assert first_that_answers(ask, range(500, -1, -1)) == 500
    assert first_that_answers(ask, range(500)) is None and len(ask.asked) < 15


# --- slow-downs -------------------------------------------------------------------------------------------------------


def search(series: NoisySeries, threshold: float = 0.05) -> TimeChange:
    return SlowDownSearch(series, threshold).between(0, len(series.levels) - 1)


def places(found: TimeChange) -> list[tuple[int, int]]:
    return [(step.before, step.after) for step in found.steps]


@pytest.mark.parametrize("noise", [0.003, 0.01, 0.02])
def test_a_slow_down_is_found_at_its_member_or_said_to_be_undecided(noise: float) -> None:
    found = [search(NoisySeries(stepping((k, 1), (20 - k, 1.05)), noise, seed=k)) for k in range(1, 20)]
    answers = [(k, places(each)) for k, each in enumerate(found, 1)]
    assert not [answer for answer in answers if answer[1] and not answer[1][0][0] < answer[0] <= answer[1][0][1]]
    assert sum(steps == [(k - 1, k)] for k, steps in answers) >= (19 if noise <= 0.01 else 12)


@pytest.mark.parametrize("noise", [0.003, 0.02, 0.05])
def test_nothing_is_blamed_where_nothing_changed(noise: float) -> None:
    found = [search(NoisySeries([1.0] * 20, noise, seed)) for seed in range(100)]
    assert sum(bool(each.steps) for each in found) <= 2


def test_two_slow_downs_in_one_range_are_both_found() -> None:
    series = NoisySeries(stepping((7, 1), (9, 1.08), (8, 1.17)), 0.004, seed=1)
    assert places(search(series)) == [(6, 7), (15, 16)]


def test_a_large_step_does_not_hide_a_small_one() -> None:
    found = search(NoisySeries(stepping((7, 1), (9, 2.0), (8, 2.2)), 0.004, seed=1))
    assert (6, 7) in places(found)
    assert places(found) == [(6, 7), (15, 16)] or any(7 <= s.before < 16 <= s.after for s in found.rest)


def test_what_becomes_slower_bit_by_bit_is_not_blamed_on_one_member() -> None:
    found = search(NoisySeries([1.008**k for k in range(20)], 0.003, seed=4), threshold=0.1)
    assert found.ends is Decision.SLOWER and not found.steps and found.undecided


def test_a_series_that_became_faster_is_not_slower() -> None:
    found = search(NoisySeries(stepping((5, 1.2), (5, 1)), 0.003, seed=5))
    assert found.ends is Decision.LEVEL and not found.steps


@given(st.integers(1, 15), st.integers(0, 3))
def test_a_speed_up_is_found_as_a_slow_down_of_the_reversed_series_is(before: int, first: int) -> None:
    levels = [1.0] * first + stepping((before, 1.2), (16 - before, 1))
    found = speed_up_between(first, first + 15, NoisySeries(levels, 0.003, seed=before), 0.05)
    assert (found.low, found.high) == (first, first + 15)
    (step,) = found.steps
    assert (step.before, step.after) == (first + before - 1, first + before)
    assert step.ratio.value == pytest.approx(1 / 1.2, rel=0.03) and step.ratio.high < 1
    assert found.ratio.high < 1 and not found.undecided and not found.rest


def test_what_became_slower_did_not_become_faster() -> None:
    found = speed_up_between(0, 9, NoisySeries(stepping((5, 1), (5, 1.2)), 0.003, seed=5), 0.05)
    assert found.ends is Decision.LEVEL and not found.steps and found.ratio.value > 1.1


class TooFewSamples(NoisySeries):
    """No run has an interval."""

    def __call__(self, members: tuple[int, ...]) -> Ratios:
        pairs = super().__call__(members).pairs
        return Ratios({pair: replace(ratio, covers=False) for pair, ratio in pairs.items()})


def test_without_an_interval_nothing_is_decided_and_no_ratio_is_given() -> None:
    series = TooFewSamples(stepping((5, 1), (5, 1.2)), 0.003, seed=5)
    assert (search(series).ends, search(series).ratio) == (Decision.UNDECIDED, None)
    assert speed_up_between(0, 9, series, 0.05).ratio is None


class Broken(NoisySeries):
    """Some members cannot be measured."""

    broken: frozenset[int] = frozenset()

    def __call__(self, members: tuple[int, ...]) -> Ratios | tuple[int, Skipped]:  # type: ignore[override]
        for member in members:
            if member in self.broken:
                return member, Skipped("it does not import")
        return super().__call__(members)


def test_a_member_that_cannot_be_measured_is_never_blamed() -> None:
    series = Broken(stepping((8, 1), (8, 1.1)), 0.003, seed=6)
    series.broken = frozenset({7, 8})
    assert places(search(series)) == [(6, 9)]
    series.broken = frozenset({15})
    with pytest.raises(LostEndError, match="does not import"):
        search(series)
    with pytest.raises(LostEndError, match="does not import") as lost:
        speed_up_between(0, 15, series, 0.05)
    assert lost.value.member == 15
    series = Broken(stepping((8, 1.1), (8, 1)), 0.003, seed=6)
    series.broken = frozenset({7, 8})
    assert places(speed_up_between(0, 15, series, 0.05)) == [(6, 9)]


def test_candidates_are_measured_beside_both_ends_and_confirmed_beside_the_one_before() -> None:
    series = NoisySeries(stepping((3, 1), (5, 1.1)), 0.002, seed=7)
    assert places(search(series)) == [(2, 3)]
    assert series.runs[0] == (0, 7) and series.runs[-1] == (0, 2, 3, 7)
    assert all({0, 7} <= set(run) for run in series.runs)
