"""A campaign: all questions that `convbench verify` puts to one backend, and the causes of its failures.

First come the questions that it failed before, then those of the request, then the sweep, then random search until its
time is up. Every answer is an event, so that a person can watch and an interrupt loses nothing. Failures are grouped
by cause, and each cause is shrunk to a small question.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, tee, zip_longest
from typing import Literal

from convbench.measurement.capacity import too_large
from convbench.problem import ConvProblem
from convbench.runner.verify.campaign_plan import CampaignPlan, Variant
from convbench.runner.verify.examiner import Examiner
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.causes.folding import RELATION, folded, restated
from convbench.verification.causes.grouping import Cause, causes
from convbench.verification.causes.parameters import size
from convbench.verification.causes.shrinking import is_alike, shrink
from convbench.verification.gate import gate_of
from convbench.verification.known import KnownWrong
from convbench.verification.oracle import Judge
from convbench.verification.quantized.data import QUANTIZED_VALUES
from convbench.verification.question import Failure, Question, Values
from convbench.verification.sweep.covering import Coverage, Sweep, sweep
from convbench.verification.sweep.factors import classes
from convbench.verification.sweep.search import search

Phase = Literal["replay", "suite", "question", "sweep", "search"]

# A campaign ends after so many crashes, or hangs: each costs seconds, or the whole limit, and the picture is clear.
MOST_LOST_WORKERS, MOST_HANGS = 20, 3
_SHRINKING_S, _SHRINKING_ONE_S = 60.0, 15.0
_MOST_RESTATED = 8
_FRESH_PROCESSES = 4
_OF_A_CASE: tuple[Values, ...] = ("integers", "one-tap", "special")
QUESTIONS_OF_A_CASE = {False: 1 + len(_OF_A_CASE), True: 1}
"""How many a suite's case makes, by whether it is asked on integers only."""


@dataclass(frozen=True)
class Answered:
    """A question and its outcome. `searched_s` is how long random search has lasted by then."""

    phase: Phase
    question: Question
    failure: Failure | None
    searched_s: float = 0.0


def in_turn(each: Iterable[Iterator[Question]]) -> Iterator[Question]:
    """One of each, again and again, until all have ended."""
    waiting = deque(each)
    while waiting:
        first = waiting.popleft()
        if (question := next(first, None)) is not None:
            yield question
            waiting.append(first)


@dataclass
class Campaign:
    """The questions put to one backend, so far; `stop` is asked before each."""

    examiner: Examiner
    known: Sequence[KnownWrong] = ()
    """The known wrong answers of this backend here: failures that they explain are set apart."""
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    passed: dict[Question, None] = field(default_factory=dict)
    failures: dict[Question, Failure] = field(default_factory=dict)
    swept: tuple[Sweep, ...] = ()
    """One for each variant."""
    variants: tuple[Variant, ...] = ()
    questions: int = 0
    searched: int = 0
    """How many questions were put, and how many of them in random search; those of shrinking do not count."""
    too_large: dict[ConvProblem, str] = field(default_factory=dict)
    """Problems that were not asked, because they do not fit into memory, each with the reason in figures."""
    before: dict[Question, Question] = field(default_factory=dict)
    """The question that was put just before one that failed: what a backend remembers may be to blame."""
    _last: Question | None = None
    _lost_to_known: int = 0
    _hangs: int = 0

    @property
    def gave_up(self) -> str | None:
        """Why the backend is not asked on: it ended or kept too many workers. What is known does not count."""
        if self._hangs >= MOST_HANGS:
            limit_s = self.examiner.limit_s
            return f"gave up after {self._hangs} questions without an answer within {limit_s:g} s each (--time-limit)"
        if self._lost_too_many:
            return f"gave up after it had ended {self.examiner.lost_workers} workers"
        return None

    @property
    def _lost_too_many(self) -> bool:
        return self.examiner.lost_workers - self._lost_to_known >= MOST_LOST_WORKERS

    @property
    def coverage(self) -> Coverage | None:
        """Of the sweeps, as far as they were answered; None without one."""
        if not self.swept:
            return None
        each = [s.coverage_of(q for q in s.questions if q in self.passed or q in self.failures) for s in self.swept]
        reached, combinations = sum(one.reached for one in each), sum(one.combinations for one in each)
        return Coverage(each[0].strength, reached, combinations)

    @property
    def no_question_reason(self) -> str:
        """Why no question was put."""
        supports = self.examiner.backend.supports
        for direction, epilogues, dtypes in self.variants:
            if dtypes == ("int8",) and supports.quantized is None:
                return f"does not compute int8, only {', '.join(sorted(supports.dtypes))}"
            if direction not in supports.directions:
                return supports.reason_against_direction(direction) or ""
            if epilogues[0] is not None and (reason := supports.reason_against_epilogue(epilogues[0])) is not None:
                return reason
        return "it supports nothing of what was asked"

    def expected(self, plan: CampaignPlan) -> int:
        """How many questions `plan` has before the search, those that were answered already left out."""
        backend, self.variants = self.examiner.backend, plan.variants
        if plan.strength and not self.swept:
            self.swept = tuple(sweep(backend, plan.strength, plan.seed, *variant) for variant in plan.variants)
        of_cases = len(plan.cases) * QUESTIONS_OF_A_CASE[plan.exact]
        swept = (question for sweep in self.swept for question in plan.share_of(sweep.questions))
        of_sweep = sum(question not in self.passed and question not in self.failures for question in swept)
        return len(plan.replay) + of_cases + len(plan.questions) + of_sweep

    def follow(self, plan: CampaignPlan) -> Iterator[Answered]:
        """Ask everything that `plan` says and that was not asked yet."""
        yield from self._ask("replay", plan.replay)
        if plan.exact:
            yield from self._ask("suite", (Question(problem=case.problem, seed=plan.seed) for case in plan.cases))
        for case in () if plan.exact else plan.cases:
            yield from self._ask_case(case, plan.seed)
        yield from self._ask("question", plan.questions)
        self.expected(plan)
        for swept in self.swept:
            yield from self._ask("sweep", plan.share_of(swept.questions))
        if plan.search_s > 0:
            yield from self._search(plan)

    def remember(self, question: Question, failure: Failure | None, phase: Phase = "sweep") -> None:
        """Count an answer that an earlier part of the same campaign was given."""
        self.questions += 1
        self.searched += phase == "search"
        self._keep(question, failure)

    def _keep(self, question: Question, failure: Failure | None) -> None:
        if failure is None:
            self.passed[question] = None
        else:
            self.failures[question] = failure

    def causes(self) -> list[Cause]:
        """The distinct causes of all failures that no entry of `known` explains, each with its smallest question."""
        end = self.clock() + _SHRINKING_S
        self._ask_restated()
        new = self._new_failures()

        def smaller(failure: Failure, allowed: Callable[[Question], bool]) -> Failure:
            until = min(end, self.clock() + _SHRINKING_ONE_S)
            return self._shrunk(
                failure, lambda question: allowed(question) and not any(k.names(question) for k in self.known), until
            )

        ask = self._ask_if_supported
        first = causes(new, self.passed, classes, smaller, ask=ask)
        # What shrinking met on its way and what fails in another way than everything before has a cause of its own.
        before = [failure for cause in first for failure in (cause.representative, *cause.members)]
        others = [f for f in self._new_failures() if not any(is_alike(f, other) for other in before)]
        return folded([*first, *causes(others, self.passed, classes, smaller, ask=ask)], ask)

    def _new_failures(self) -> list[Failure]:
        return [failure for failure in self.failures.values() if self.known_as(failure) is None]

    def _ask_restated(self) -> None:
        """Ask what relations put instead of their question: that may be what fails."""
        failed = [failure for failure in self._new_failures() if failure.check.startswith(RELATION)]
        for question in [question for failure in failed[:_MOST_RESTATED] for question in restated(failure)]:
            self._ask_if_supported(question)

    def _ask_if_supported(self, question: Question) -> Failure | None:
        """The failure; None, too, where the backend cannot be asked any more."""
        if question in self.passed or question in self.failures:
            return self.failures.get(question)
        if self.stop() or self._lost_too_many or not self.examiner.supports(question.problem):
            return None
        return self._ask_briefly(question)

    def known_causes(self) -> list[tuple[KnownWrong, Cause]]:
        """Each entry of `known` that explains failures, with them and its smallest question."""
        explained: dict[int, list[Failure]] = {}
        for failure in self.failures.values():
            if (entry := self.known_as(failure)) is not None:
                explained.setdefault(self.known.index(entry), []).append(failure)
        causes_of = []
        for number, failures in explained.items():
            smallest = min(failures, key=lambda failure: size(failure.question))
            representative = self._shrunk(smallest, self.known[number].names, self.clock() + _SHRINKING_ONE_S)
            causes_of.append((self.known[number], Cause(representative, tuple(failures), (), looked_into=False)))
        return causes_of

    def known_as(self, failure: Failure) -> KnownWrong | None:
        """The entry that explains `failure`, or what a relation put in place of its question; None when it is new."""
        parts = [question for question in restated(failure) if question not in self.passed]
        failures = [failure, *(replace(failure, question=question) for question in parts)]
        return next((entry for entry in self.known if any(map(entry.explains, failures))), None)

    def _shrunk(self, failure: Failure, allowed: Callable[[Question], bool], until_s: float) -> Failure:
        def over() -> bool:
            return self.clock() > until_s or self.stop() or self._lost_too_many

        smallest = shrink(failure, self._ask_briefly, self.examiner.supports, allowed=allowed, until=over)
        if smallest.status is Status.TIMEOUT and smallest is not failure:  # it was not waited for to the limit
            confirmed = None if over() else self.examiner(smallest.question)
            return confirmed if confirmed is not None and is_alike(confirmed, failure) else failure
        return smallest

    def _ask(
        self, phase: Phase, questions: Iterable[Question], oracle: Callable[[], Judge] | None = None
    ) -> Iterator[Answered]:
        """Put the questions that were not put yet and that the backend supports. Ends early when `stop` says so."""
        for question, following in _with_next(questions):
            if self.gave_up or self.stop():
                return
            if question in self.passed or question in self.failures or not self.examiner.supports(question.problem):
                continue
            if (reason := too_large(question.problem)) is not None:
                self.too_large[question.problem] = reason
                continue
            if following is not None:
                self.examiner.announce(following)
            try:
                answered = Answered(phase, question, self._ask_again(question, oracle and oracle()))
            except MemoryError as error:
                self.too_large[question.problem] = f"checking its answer: {error or 'no memory left'}"
                continue
            self.questions += 1
            yield answered

    def _ask_case(self, case: Case, seed: int) -> Iterator[Answered]:
        """On the case's own data where it brings some, and on harder data of our own."""
        normal = Question(problem=case.problem, values="normal", seed=seed)
        yield from self._ask("suite", [normal], lambda: gate_of(case, seed).real)
        kinds = _OF_A_CASE if case.problem.quantization is None else QUANTIZED_VALUES
        yield from self._ask("suite", [normal.replace(values=values) for values in kinds])

    def _search(self, plan: CampaignPlan) -> Iterator[Answered]:
        start = self.clock()

        def over() -> bool:
            return self.clock() - start >= plan.search_s

        drawn = (search(self.examiner.backend, plan.search_seed, over, *variant) for variant in plan.variants)
        for answered in self._ask("search", in_turn(drawn)):
            self.searched += 1
            yield replace(answered, searched_s=self.clock() - start)

    def _ask_again(self, question: Question, oracle: Judge | None = None) -> Failure | None:
        lost_before = self.examiner.lost_workers
        failure = self.examiner(question, oracle)
        if failure is not None and self.known_as(failure) is not None:
            self._lost_to_known += self.examiner.lost_workers - lost_before
        elif failure is not None:
            self._hangs += failure.status is Status.TIMEOUT
        return self._noted(question, failure)

    def _ask_briefly(self, question: Question) -> Failure | None:
        """For shrinking, where what may be a hang is not waited for to the limit, and not kept as a failure."""
        failure = self.examiner(question, briefly=True)
        if failure is not None and failure.status is Status.TIMEOUT:
            return failure
        return self._noted(question, failure)

    def _noted(self, question: Question, failure: Failure | None) -> Failure | None:
        if failure is not None and self._last is not None:
            self.before[question] = self._last
        self._last = question
        self._keep(question, failure)
        return failure

    def reproduced_by(self, failure: Failure) -> tuple[Question, ...]:
        """The questions that show `failure` to a fresh worker: it alone, after another one, or none that is known."""
        alone = (failure.question,)
        before = self.before.get(failure.question)
        for questions in (alone, (before, *alone)) if before else (alone,):
            if self.stop() or self._lost_too_many:
                return alone
            self.examiner.end_worker()
            briefly = failure.status is Status.TIMEOUT
            if [self.examiner(question, briefly=briefly) for question in questions][-1] is not None:
                return questions
        return ()

    def repeats(self, failure: Failure) -> tuple[int, int]:
        """How often a failure that no fresh process showed at first is seen by more of them, and how many were asked.
        It is flaky: neither known to be wrong each time, nor right."""
        failed = asked_times = 0
        for _ in range(_FRESH_PROCESSES):
            if self.stop() or self._lost_too_many:
                break
            self.examiner.end_worker()
            failed += self.examiner(failure.question, briefly=failure.status is Status.TIMEOUT) is not None
            asked_times += 1
        return failed, asked_times


def _with_next(questions: Iterable[Question]) -> Iterator[tuple[Question, Question | None]]:
    """Each with the one after it; None after the last."""
    following: Iterator[Question | None]
    these, following = tee(questions)
    return zip_longest(these, islice(following, 1, None))
