"""Which member of a series changed an answer: binary search with one answer for each member that is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from convbench.stats.bisection.search import CERTAIN, Bisection

MOST_ENDS = 12
"""How many members are tried, at most, before one is found that can be an end."""


@dataclass(frozen=True)
class Skipped:
    """A member that tells nothing, and why: it cannot be installed, imported or asked."""

    reason: str


@dataclass(frozen=True)
class Answer:
    """What a member answered: `kind` is `ok`, or the word of a failure; two answers of one kind are alike."""

    kind: str
    sentence: str = ""
    kernel: str | None = None


Ask = Callable[[int], Answer | Skipped]


@dataclass(frozen=True)
class Change:
    """`before` answers as the first member of the series does, `after` does not; what lies between was skipped.
    `later` are further pairs of members that were asked one after the other and answered differently."""

    before: int
    after: int
    later: tuple[tuple[int, int], ...] = ()


def find_change(low: int, high: int, ask: Ask) -> Change:
    """The change between two members that answer differently; both, and every member that is asked, are asked once, and
    `ask` remembers them. Besides them there are at most ceil(log2(high - low)), and for each that is skipped that one
    and one more, because the next is then farther from the middle."""
    first = _answer(ask(low))
    bisection, answers = Bisection(high - low + 1), {low: first, high: _answer(ask(high))}
    while (place := bisection.next()) is not None:
        answer = ask(low + place)
        if isinstance(answer, Skipped):
            bisection = bisection.without(place)
            continue
        answers[low + place] = answer
        bisection = bisection.with_evidence(place, CERTAIN if answer.kind != first.kind else -CERTAIN)
    gap = bisection.answer()
    after = [member for member in sorted(answers) if member >= low + gap.after]
    later = tuple((one, next_) for one, next_ in pairwise(after) if answers[one].kind != answers[next_].kind)
    return Change(low + gap.before, low + gap.after, later)


def first_that_answers(ask: Ask, members: range) -> int | None:
    """The first of `members` that can be asked, or one near it: after each that cannot, twice as many are passed over.
    None when none of those tried can."""
    place, stride = 0, 1
    for _ in range(MOST_ENDS):
        if place >= len(members):
            break
        if isinstance(ask(members[place]), Answer):
            return members[place]
        place, stride = place + stride, 2 * stride
    return None


def _answer(answer: Answer | Skipped) -> Answer:
    if isinstance(answer, Skipped):
        raise ValueError(f"an end of the series was skipped: {answer.reason}")
    return answer
