"""Grouping: which of many failures have one cause, and what the failures of a cause have in common.

A cause is told by parameter classes, such as "unequal strides" and "depthwise", that its failures share and no question
that passed has. Combinations of one to three classes are compared by what they say about which questions fail:
their information gain over all questions (mutual information of having the combination and of failing, in bits) less
the bits that it takes to name a combination of so many classes. So a class more must explain more.

Shrinking every failure would be dear. A few are shrunk, one for a cause: of those failures that seem to belong together
the smallest, whose shrunk form has hardly a class left that does not matter; what those few classes explain is a cause,
and the rest is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from convbench.verification.causes.evidence import Combination, Evidence, Occurrences, Trait, Traits
from convbench.verification.causes.parameters import Form, size
from convbench.verification.causes.shrinking import is_alike
from convbench.verification.failure import Failure
from convbench.verification.question import Question

Classes = Callable[[Question], Mapping[str, str]]
Shrink = Callable[[Failure, Callable[[Question], bool]], Failure]

_MOST_ALTERNATIVES = 3
_LEAST_SHRUNK = 2  # of every status and kind of check, however many others there were before


@dataclass(frozen=True)
class Cause:
    """Failures that seem to have one cause, with the smallest of them.

    `shared_by_failures` has the combination that tells them from the passes best, and those that do so equally well;
    none when no combination tells anything. A cause that is not `looked_into` is all that was left when enough failures
    had been shrunk: several causes perhaps.
    """

    representative: Failure
    members: tuple[Failure, ...]
    shared_by_failures: tuple[Combination, ...]
    looked_into: bool = True


def causes(
    findings: Iterable[Failure],
    passed: Collection[Question],
    classes: Classes,
    shrink_one: Shrink | None = None,
    most_shrunk: int = 12,
) -> list[Cause]:
    """The causes of `findings`, those with most failures first.

    `classes` gives a question's parameter classes. `shrink_one(finding, allowed)` shrinks a finding by questions for
    which `allowed` is true: those that another cause, known by then, explains are not. `passed` is read again after
    each shrinking: a collection to which that adds the questions that passed meanwhile tells more.
    """
    buckets: list[list[Failure]] = []
    for finding in findings:
        bucket = next((bucket for bucket in buckets if is_alike(bucket[0], finding)), None)
        if bucket is None:
            buckets.append([finding])
        else:
            bucket.append(finding)
    found: list[Cause] = []
    for bucket in sorted(buckets, key=len, reverse=True):
        sorting = _Sorting(bucket, passed, classes, shrink_one, most_shrunk)
        found += sorting.causes()
        most_shrunk = max(_LEAST_SHRUNK, most_shrunk - sorting.shrunk)
    return sorted(found, key=lambda cause: (-len(cause.members), size(cause.representative.question)))


@dataclass
class _Group:
    """A cause in the making. Its other failures are known by `told`, traits of the finding `least`: the representative,
    or one with less of everything that is nevertheless no smaller, such as padding on one side for that on both."""

    representative: Failure
    least: Failure
    members: list[Failure] = field(default_factory=list)
    told: Traits | None = None


class _Sorting:
    """Failures of one status and kind of check, sorted into causes."""

    def __init__(
        self,
        findings: Sequence[Failure],
        passed: Collection[Question],
        classes: Classes,
        shrink_one: Shrink | None,
        most_shrunk: int,
    ) -> None:
        self.shrunk = 0
        self._findings = sorted(findings, key=lambda finding: (size(finding.question), str(finding.question)))
        self._passed, self._classes = passed, classes
        self._shrink_one, self._most_shrunk = shrink_one, most_shrunk
        self._known_passes: list[Question] = []
        self._passes = Occurrences([])
        self._known_traits: dict[Question, Traits] = {}
        self._forms: dict[Question, Form] = {}

    def causes(self) -> list[Cause]:
        found: list[_Group] = []
        unexplained = list(self._findings)
        while unexplained and self.shrunk < self._most_shrunk:
            smallest = self._smallest_of_the_commonest(unexplained)
            representative = self._shrink(smallest, found)
            group = next((g for g in found if self._is_one_with(g, representative)), None)
            if group is None:
                group = _Group(representative, representative)
                found.append(group)
            elif not self._explains(group, representative.question):
                group.least = representative
            told = self._told_by(group.least, [*unexplained, *group.members])
            group.told = told[0] if told else None if self._passed else frozenset()
            members = [f for f in unexplained if f is smallest or self._explains(group, f.question)]
            unexplained = [f for f in unexplained if all(f is not member for member in members)]
            group.members += members
        rest = [_Group(unexplained[0], unexplained[0], unexplained)] if unexplained else []
        return [self._cause(group, group in found) for group in [*found, *rest]]

    def _smallest_of_the_commonest(self, unexplained: Sequence[Failure]) -> Failure:
        """The smallest of those failures that seem, before anything is shrunk, to be the most with one cause."""
        evidence = self._evidence(unexplained)
        traits = frozenset().union(*(self._traits(f.question) for f in unexplained))
        best = evidence.best(traits, most_traits=2)
        return next(f for f in unexplained if not best or best[0] <= self._traits(f.question))

    def _shrink(self, finding: Failure, known: Sequence[_Group]) -> Failure:
        self.shrunk += 1
        if self._shrink_one is None:
            return finding
        return self._shrink_one(finding, lambda question: not any(self._explains(group, question) for group in known))

    def _is_one_with(self, group: _Group, representative: Failure) -> bool:
        """Whether shrinking led to a known cause again: to what it explains, or to less of what makes it fail."""
        if self._explains(group, representative.question):
            return True
        by_extent = group.told == frozenset([_extent(group.least)])
        return by_extent and self._form(representative.question).is_within(self._form(group.least.question))

    def _explains(self, group: _Group, question: Question) -> bool:
        if question in (group.representative.question, group.least.question):
            return True
        if group.told is None:
            return False
        extent = {_extent(group.least)} if self._reaches(question, group.least) else set()
        return group.told <= self._traits(question) | extent

    def _told_by(self, representative: Failure, failures: Sequence[Failure]) -> list[Traits]:
        """Which of the representative's traits tell the failures from the passes best."""
        evidence = self._evidence([*failures, representative], representative)
        return evidence.best(self._traits(representative.question), _extent(representative))

    def _cause(self, group: _Group, looked_into: bool) -> Cause:
        told = self._told_by(group.least, group.members)
        evidence = self._evidence(group.members, group.least)
        shared = tuple(evidence.count(traits) for traits in told[:_MOST_ALTERNATIVES])
        return Cause(group.representative, tuple(group.members), shared, looked_into)

    def _evidence(self, failures: Sequence[Failure], least: Failure | None = None) -> Evidence:
        """With `least`, its extent is a trait, too."""
        questions = [finding.question for finding in failures]
        if len(self._passed) != len(self._known_passes):
            self._known_passes = list(self._passed)
            self._passes = Occurrences([self._traits(question) for question in self._known_passes])
        sides = Occurrences([self._traits(question) for question in questions]), self._passes
        if least is None:
            return Evidence(*sides)
        told = [
            side.with_trait(_extent(least), (n for n, question in enumerate(asked) if self._reaches(question, least)))
            for side, asked in zip(sides, (questions, self._known_passes), strict=True)
        ]
        return Evidence(*told)

    def _traits(self, question: Question) -> Traits:
        if question not in self._known_traits:
            self._known_traits[question] = frozenset(self._classes(question).items())
        return self._known_traits[question]

    def _reaches(self, question: Question, least: Failure) -> bool:
        """Whether `question` goes as far as `least` in every parameter."""
        return self._form(least.question).is_within(self._form(question))

    def _form(self, question: Question) -> Form:
        if question not in self._forms:
            self._forms[question] = Form.of(question)
        return self._forms[question]


_EXTENT = ("all that ", " has, or more")


def _extent(least: Failure) -> Trait:
    """The trait of questions that go as far as that of `least` in every parameter, or further."""
    return ("extent", f"{least.question}".join(_EXTENT))


def question_of_extent(level: str) -> Question:
    """The question that the trait "extent" names."""
    return Question.parse(level.removeprefix(_EXTENT[0]).removesuffix(_EXTENT[1]))
