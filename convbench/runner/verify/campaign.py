"""A campaign: everything that one backend is asked by `convbench verify`, and the causes of what it failed.

First what it failed before, then what was asked for by name, then the sweep, then random search for as long as is
allowed. Every answer is an event, so that a person can watch and nothing is lost when the campaign is cut short.
Failures are gathered into causes, and the smallest question of each is looked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from convbench.runner.verify.examiner import Examiner
from convbench.suite import Case
from convbench.verification.causes.grouping import Cause, causes
from convbench.verification.causes.shrinking import shrink
from convbench.verification.failure import Failure
from convbench.verification.gate import gate_of
from convbench.verification.question import Question, Values
from convbench.verification.sweep.covering import Coverage, Sweep, sweep
from convbench.verification.sweep.factors import classes
from convbench.verification.sweep.search import search

Phase = Literal["replay", "suite", "question", "sweep", "search"]

# A backend that dies this often is not asked on: each death costs seconds, and the picture is clear.
MOST_LOST_WORKERS = 20
_SHRINKING_S, _SHRINKING_ONE_S = 60.0, 15.0
_OF_A_CASE: tuple[Values, ...] = ("integers", "one-tap", "special")


@dataclass(frozen=True, kw_only=True)
class CampaignPlan:
    """What to ask. `strength` 0 leaves the sweep out, and `time_limit_s` 0 the search. With `exact` the cases are asked
    on integers alone, not on data of their own either."""

    replay: tuple[Question, ...] = ()
    cases: tuple[Case, ...] = ()
    exact: bool = False
    questions: tuple[Question, ...] = ()
    strength: int = 3
    time_limit_s: float = 60.0
    seed: int = 0


@dataclass(frozen=True)
class Answered:
    """One question, and what came of it. `searched_s`: how long random search has gone on by then."""

    phase: Phase
    question: Question
    finding: Failure | None
    searched_s: float = 0.0


@dataclass
class Campaign:
    """The questions put to one backend, so far; `stop` is asked before each."""

    examiner: Examiner
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    passed: dict[Question, None] = field(default_factory=dict)
    findings: dict[Question, Failure] = field(default_factory=dict)
    swept: Sweep | None = None
    asked: int = 0
    searched: int = 0
    """How many questions were put, and how many of them in random search; those of shrinking do not count."""
    before: dict[Question, Question] = field(default_factory=dict)
    """The question that was put just before one that failed: what a backend remembers may be to blame."""
    _last: Question | None = None

    @property
    def gave_up(self) -> bool:
        """Whether the backend has ended too many workers to be asked on."""
        return self.examiner.lost_workers >= MOST_LOST_WORKERS

    @property
    def coverage(self) -> Coverage | None:
        """Of the sweep, as far as it was answered; None without one."""
        if self.swept is None:
            return None
        return self.swept.coverage_of(q for q in self.swept.questions if q in self.passed or q in self.findings)

    def follow(self, plan: CampaignPlan) -> Iterator[Answered]:
        """Ask everything that `plan` says and that was not asked yet."""
        yield from self._ask("replay", plan.replay)
        if plan.exact:
            yield from self._ask("suite", (Question(problem=case.problem, seed=plan.seed) for case in plan.cases))
        for case in () if plan.exact else plan.cases:
            yield from self._ask_case(case, plan.seed)
        yield from self._ask("question", plan.questions)
        if plan.strength:
            self.swept = sweep(self.examiner.backend, strength=plan.strength, seed=plan.seed)
            yield from self._ask("sweep", self.swept.questions)
        if plan.time_limit_s > 0:
            yield from self._search(plan)

    def remember(self, question: Question, finding: Failure | None, phase: Phase = "sweep") -> None:
        """Count an answer that an earlier part of the same campaign was given."""
        self.asked += 1
        self.searched += phase == "search"
        self._keep(question, finding)

    def _keep(self, question: Question, finding: Failure | None) -> None:
        if finding is None:
            self.passed[question] = None
        else:
            self.findings[question] = finding

    def causes(self) -> list[Cause]:
        """The distinct causes of all failures so far, each with its smallest question."""
        if not self.findings:
            return []
        end = self.clock() + _SHRINKING_S

        def smaller(finding: Failure, allowed: Callable[[Question], bool]) -> Failure:
            until = min(end, self.clock() + _SHRINKING_ONE_S)

            def over() -> bool:
                return self.clock() > until or self.stop() or self.gave_up

            return shrink(finding, self._ask_again, self.examiner.supports, allowed=allowed, until=over)

        return causes(list(self.findings.values()), self.passed, cache(classes), smaller)

    def _ask(self, phase: Phase, questions: Iterable[Question]) -> Iterator[Answered]:
        """Put the questions that were not put yet and that the backend supports. Ends early when it is told to."""
        for question in questions:
            if self.gave_up or self.stop():
                return
            if question in self.passed or question in self.findings or not self.examiner.supports(question.problem):
                continue
            self.asked += 1
            yield Answered(phase, question, self._ask_again(question))

    def _ask_case(self, case: Case, seed: int) -> Iterator[Answered]:
        """On the case's own data where it brings some, and on harder data of our own."""
        normal = Question(problem=case.problem, values="normal", seed=seed)
        if self.gave_up or self.stop() or not self.examiner.supports(case.problem):
            return
        if normal not in self.passed and normal not in self.findings:
            finding = self.examiner(normal, gate_of(case, seed).real)
            self.asked += 1
            self._keep(normal, finding)
            yield Answered("suite", normal, finding)
        yield from self._ask("suite", [normal.replace(values=values) for values in _OF_A_CASE])

    def _search(self, plan: CampaignPlan) -> Iterator[Answered]:
        start = self.clock()
        drawn = search(self.examiner.backend, plan.seed, lambda: self.clock() - start >= plan.time_limit_s)
        for answered in self._ask("search", drawn):
            self.searched += 1
            yield replace(answered, searched_s=self.clock() - start)

    def _ask_again(self, question: Question) -> Failure | None:
        finding = self.examiner(question)
        if finding is not None and self._last is not None:
            self.before[question] = self._last
        self._last = question
        self._keep(question, finding)
        return finding

    def reproduced_by(self, finding: Failure) -> tuple[Question, ...]:
        """The questions that show `finding` to a fresh worker: it alone, after another one, or none that is known."""
        alone = (finding.question,)
        sequences = [alone] + [(before, *alone) for before in filter(None, [self.before.get(finding.question)])]
        for questions in sequences:
            if self.stop() or self.gave_up:
                return alone
            self.examiner.start_afresh()
            if [self.examiner(question) for question in questions][-1] is not None:
                return questions
        return ()
