"""Grouping: which of many failures have one cause, and what the failures of a cause have in common.

A cause is recognised by parameter classes, such as "unequal strides" and "depthwise", that its failures share and no
question that passed has. Combinations of one to three classes are compared by what they say about which questions fail:
their information gain over all questions (mutual information of having the combination and of failing, in bits) less
the bits that it takes to name a combination of so many classes. So a class more must explain more.

Shrinking every failure would take too long. One is shrunk for each cause: the smallest of the failures that seem to
belong together. Nearly every class that its shrunk form still has matters. What these classes explain is a cause, and
the other failures are grouped again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from convbench.problem import Dtype
from convbench.status import Status
from convbench.verification.causes.parameters import WORDS, QuestionParameters, size
from convbench.verification.causes.shrinking import kind
from convbench.verification.causes.trait_counts import Combination, Occurrences, Trait, TraitCounts, Traits
from convbench.verification.question import Ask, Failure, Question

Classes = Callable[[Question], Mapping[str, str]]
Shrink = Callable[[Failure, Callable[[Question], bool]], Failure]

_MOST_ALTERNATIVES = 3
# The plainest check that fails describes a mistake best: rounding and NaN do not matter where integers are wrong.
_PLAIN_CHECKS = {"exact": 0, "bound": 1, "special": 2}
_MOSTLY = 0.75
_MORE_SEEDS = (1, 2, 3)
_LEAST_SHRUNK = 2  # of every status and kind of check, however many others there were before


@dataclass(frozen=True)
class Cause:
    """Failures that seem to have one cause, with the smallest of them.

    `shared_by_failures` has the combinations that distinguish them best from the passes, all equally well; it is empty
    when none does. A cause that is not `looked_into` is what was left when enough failures had been shrunk, perhaps
    several causes.
    """

    representative: Failure
    members: tuple[Failure, ...]
    shared_by_failures: tuple[Combination, ...]
    looked_into: bool = True
    also: tuple[Failure, ...] = ()
    """The smallest failures of other causes that were folded into this one."""


def causes(
    failures: Iterable[Failure],
    passed: Collection[Question],
    classes: Classes,
    shrink_one: Shrink | None = None,
    most_shrunk: int = 12,
    ask: Ask | None = None,
) -> list[Cause]:
    """The causes of `failures`, those with most failures first.

    `classes` gives a question's parameter classes. `shrink_one(failure, allowed)` shrinks a failure by questions for
    which `allowed` is true: those that another cause, known by then, explains are not. `passed` is read again after
    each shrinking: a collection to which that adds the questions that passed meanwhile tells more. With `ask`, a cause
    explains failures in another dtype only if its smallest question fails in that dtype, too.
    """
    buckets: dict[tuple[Status, str], list[Failure]] = {}
    for failure in failures:
        buckets.setdefault((failure.status, kind(failure)), []).append(failure)
    groups: list[Cause] = []
    for bucket in sorted(buckets.values(), key=len, reverse=True):
        sorting = _Sorting(bucket, passed, classes, shrink_one, most_shrunk, ask)
        groups += sorting.causes()
        most_shrunk = max(_LEAST_SHRUNK, most_shrunk - sorting.shrunk)
    return sorted(groups, key=lambda cause: (-len(cause.members), size(cause.representative.question)))


@dataclass
class _Group:
    """A cause in the making. `traits`, of the failure `least`, recognise its other failures: of the representative, or
    of one with less of everything that is nevertheless no smaller, such as padding on one side for that on both."""

    representative: Failure
    least: Failure
    members: list[Failure] = field(default_factory=list)
    traits: Traits | None = None


def _plainest_first(failure: Failure) -> tuple[object, ...]:
    """By what shrinking keeps, then by what it makes smaller."""
    question = failure.question
    dtype = WORDS["dtype"].index(question.problem.dtype)
    return _PLAIN_CHECKS.get(failure.check, 0), dtype, size(question), str(question)


def fails_in(dtype: Dtype, failure: Failure, ask: Ask) -> bool:
    """Whether the question of `failure` fails in `dtype` in such a way, too, by some data: where a NaN lies depends on
    the seed, and a small error is lost in the rounding of large integers."""
    if "int8" in (dtype, failure.question.problem.dtype):  # integers have kernels, and mistakes, of their own
        return False
    question = failure.question.replace(problem=failure.question.problem.replace(dtype=dtype))
    variants = [question, *(question.replace(seed=seed) for seed in _MORE_SEEDS)]
    variants += [question.replace(values="normal")] if question.values == "integers" else []
    for variant in variants:
        outcome = ask(variant)
        if outcome is not None and (outcome.status, kind(outcome)) == (failure.status, kind(failure)):
            return True
    return False


class _Sorting:
    """Failures of one status and kind of check, sorted into causes."""

    def __init__(
        self,
        failures: Sequence[Failure],
        passed: Collection[Question],
        classes: Classes,
        shrink_one: Shrink | None,
        most_shrunk: int,
        ask: Ask | None,
    ) -> None:
        self.shrunk = 0
        self._failures = sorted(failures, key=_plainest_first)
        self._passed = passed
        self._shrink_one, self._most_shrunk = shrink_one, most_shrunk
        self._known_passes: list[Question] = []
        self._passes = Occurrences([])
        self._traits = cache(lambda question: frozenset(classes(question).items()))
        self._form = cache(QuestionParameters.of)
        self._ask = cache(ask) if ask else None

    def causes(self) -> list[Cause]:
        groups: list[_Group] = []
        unexplained = list(self._failures)
        if unexplained[0].where is not None:  # exceptions from one place are of one mistake, whatever else they share
            smallest = self._shrink(unexplained[0], [])
            groups, unexplained = [_Group(smallest, smallest, unexplained)], []
        while unexplained and self.shrunk < self._most_shrunk:
            smallest = self._smallest_of_the_commonest(unexplained)
            representative = self._shrink(smallest, groups)
            group = next((g for g in groups if self._is_one_with(g, representative)), None)
            if group is None:
                group = _Group(representative, representative)
                groups.append(group)
            elif not self._explains(group, representative.question):
                group.least = representative
            telling = self._telling_traits(group.least, [*unexplained, *group.members])
            group.traits = telling[0] if telling else self._extent_if_most_fail(group.least)
            members = [f for f in unexplained if f is smallest or self._explains(group, f.question)]
            unexplained = [f for f in unexplained if all(f is not member for member in members)]
            group.members += members
        rest = [_Group(unexplained[0], unexplained[0], unexplained)] if unexplained else []
        return [self._cause(group, group in groups) for group in [*groups, *rest]]

    def _smallest_of_the_commonest(self, unexplained: Sequence[Failure]) -> Failure:
        """The smallest of those failures that seem, before anything is shrunk, to be the most with one cause."""
        counts = self._counts(unexplained)
        traits = frozenset().union(*(self._traits(f.question) for f in unexplained))
        best = counts.best(traits, most_traits=2)
        return next(f for f in unexplained if not best or best[0] <= self._traits(f.question))

    def _shrink(self, failure: Failure, known: Sequence[_Group]) -> Failure:
        self.shrunk += 1
        if self._shrink_one is None:
            return failure
        return self._shrink_one(failure, lambda question: not any(self._explains(group, question) for group in known))

    def _is_one_with(self, group: _Group, representative: Failure) -> bool:
        """Whether shrinking led to a known cause again: to what it explains, or to less of what makes it fail."""
        if self._explains(group, representative.question):
            return True
        by_extent = group.traits == frozenset({_extent(group.least)})
        return by_extent and self._form(representative.question).is_within(self._form(group.least.question))

    def _explains(self, group: _Group, question: Question) -> bool:
        if question in (group.representative.question, group.least.question):
            return True
        if group.traits is None:
            return False
        extent = {_extent(group.least)} if self._reaches(question, group.least) else set()
        return group.traits <= self._traits(question) | extent and self._is_in(group, question.problem.dtype)

    def _is_in(self, group: _Group, dtype: Dtype) -> bool:
        """Whether the cause is known to be one in `dtype`, too."""
        least = group.least.question
        if self._ask is None or least.problem.dtype == dtype:
            return True
        return fails_in(dtype, group.least, self._ask)

    def _extent_if_most_fail(self, least: Failure) -> Traits | None:
        """Where nearly everything fails, nothing tells failures from passes; all that goes as far as `least` is one."""
        passes = sum(self._reaches(question, least) for question in self._passed)
        failures = sum(self._reaches(failure.question, least) for failure in self._failures)
        return frozenset({_extent(least)}) if failures >= _MOSTLY * (failures + passes) else None

    def _telling_traits(self, representative: Failure, failures: Sequence[Failure]) -> list[Traits]:
        """Which of the representative's traits tell the failures from the passes best."""
        counts = self._counts([*failures, representative], representative)
        return counts.best(self._traits(representative.question), _extent(representative))

    def _cause(self, group: _Group, looked_into: bool) -> Cause:
        telling = self._telling_traits(group.least, group.members)
        counts = self._counts(group.members, group.least)
        shared = tuple(counts.count(traits) for traits in telling[:_MOST_ALTERNATIVES])
        return Cause(group.representative, tuple(group.members), shared, looked_into)

    def _counts(self, failures: Sequence[Failure], least: Failure | None = None) -> TraitCounts:
        """With `least`, its extent is a trait, too."""
        questions = [failure.question for failure in failures]
        if len(self._passed) != len(self._known_passes):
            self._known_passes = list(self._passed)
            self._passes = Occurrences([self._traits(question) for question in self._known_passes])
        failed = Occurrences([self._traits(question) for question in questions])
        if least is None:
            return TraitCounts(failed, self._passes)

        def with_extent(side: Occurrences, of: Sequence[Question]) -> Occurrences:
            return side.with_trait(_extent(least), (n for n, q in enumerate(of) if self._reaches(q, least)))

        return TraitCounts(with_extent(failed, questions), with_extent(self._passes, self._known_passes))

    def _reaches(self, question: Question, least: Failure) -> bool:
        """Whether `question` goes as far as `least` in every parameter."""
        return self._form(least.question).is_within(self._form(question))


_EXTENT = ("all that ", " has, or more")


def _extent(least: Failure) -> Trait:
    """The trait of questions that go as far as that of `least` in every parameter, or further."""
    return ("extent", f"{least.question}".join(_EXTENT))


def question_of_extent(level: str) -> Question:
    """The question that the trait "extent" names."""
    return Question.parse(level.removeprefix(_EXTENT[0]).removesuffix(_EXTENT[1]))
