"""Whether simulated bugs are named: one trial of grouping."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.verification.causes.grouping import Cause, causes
from convbench.verification.causes.shrinking import shrink
from convbench.verification.causes.trait_counts import Traits
from convbench.verification.question import Ask, Failure, Question
from convbench.verification.sweep import factors

classes = cache(factors.classes)

_COMMONEST = 0.3
"""Of the questions, the share that a simulated bug may fail: one that fails half of them is found by other means."""


@dataclass(frozen=True)
class ClassBug:
    """Fails where a question has all these parameter classes; an `Ask`."""

    traits: Traits

    def __call__(self, question: Question) -> Failure | None:
        if self.traits <= frozenset(classes(question).items()):
            return Failure(question, Status.WRONG, "exact", "simulated")
        return None


def class_bug(rng: random.Random, swept: Sequence[Question]) -> ClassBug:
    """A random combination of one to three classes that some of the questions have, and not too many."""
    names = [factor.name for factor in factors.FACTORS]
    while True:
        own = classes(rng.choice(swept))
        bug = ClassBug(frozenset((name, own[name]) for name in rng.sample(names, rng.choice([1, 2, 2, 3, 3]))))
        if sum(bug(question) is not None for question in swept) <= _COMMONEST * len(swept):
            return bug


@dataclass
class Trial:
    """What was made of the failures of some bugs."""

    bugs: Sequence[Ask]
    causes: list[Cause]
    failures: list[Failure]
    passed: dict[Question, None] = field(default_factory=dict)
    asked_to_shrink: int = 0

    def is_named(self, bug: ClassBug) -> bool:
        """Whether a cause has the bug's very combination, alone or among those that tell as much."""
        return any(frozenset(c.classes) == bug.traits for cause in self.causes for c in cause.shared_by_failures)

    def is_told_apart(self, bug: ClassBug) -> bool:
        """Whether some combination, the bug's own or another, is said of just those questions that fail by the bug."""
        asked = [*self.passed, *(finding.question for finding in self.failures)]
        fails = {question for question in asked if bug(question)}
        told = (cause.shared_by_failures[:1] for cause in self.causes)
        return any({q for q in asked if _has(q, first.classes)} == fails for [first] in filter(None, told))


def _has(question: Question, traits: tuple[tuple[str, str], ...]) -> bool:
    return set(traits) <= set(classes(question).items())


def trial(bugs: Sequence[Ask], swept: Sequence[Question], shrinking: bool = True) -> Trial:
    """Ask everything, shrink as a campaign does, and group."""
    passed: dict[Question, None] = {}
    asked = 0

    def ask(question: Question) -> Failure | None:
        nonlocal asked
        asked += 1
        found = next(filter(None, (bug(question) for bug in bugs)), None)
        if found is None:
            passed[question] = None
        return found

    def anything(_: ConvProblem) -> bool:
        return True

    failures = [finding for finding in map(ask, swept) if finding is not None]
    asked = 0
    if shrinking:
        found = causes(
            failures, passed, classes, lambda finding, allowed: shrink(finding, ask, anything, allowed=allowed)
        )
    else:
        found = causes(failures, passed, classes)
    return Trial(bugs, found, failures, passed, asked)
