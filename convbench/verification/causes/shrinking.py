"""Shrinking: from a question that failed to the smallest one that fails in the same way.

In the same way: by the same check, in the same dtype and kernel, for an exception from the same place. What is smaller
and fails in another way has another cause, and leads nowhere.

A greedy descent. Every step is to a question that is smaller by `size`, a tuple of natural numbers, so it ends; the
steps come in a fixed order, so it ends in the same place every time. It stops where no single step leads further down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.verification.author_frames import mistake_of
from convbench.verification.causes.parameters import QuestionParameters, size
from convbench.verification.causes.shrink_passes import PASSES, PLAIN_PASSES, ShrinkPass
from convbench.verification.question import Ask, Failure, Question

_OF_NUMBERS = ("exact", "bound", "special")
_ENDED_ITS_WORKER = (Status.CRASHED, Status.TIMEOUT)


def kind(failure: Failure) -> str:
    """What kind of failure it is: all checks of the answer's numbers are one, every other check is one of its own, and
    so are the exceptions of one mistake."""
    if failure.where is not None:
        return mistake_of(failure.where, failure.reason)
    return "numbers" if failure.check in _OF_NUMBERS else failure.check


def is_alike(one: Failure, other: Failure) -> bool:
    """Whether two failures may well be of one cause: the same status and check, dtype and, where it is known, kernel.

    The check may be another where the same values were asked for: integers whose sums would round are no integers then.
    """
    if (one.status, kind(one)) != (other.status, kind(other)):
        return False
    if one.question.problem.dtype != other.question.problem.dtype:
        return False
    if one.kernel is not None and other.kernel is not None and one.kernel != other.kernel:
        return False
    return one.check == other.check or one.question.values == other.question.values


def shrink(
    failure: Failure,
    ask: Ask,
    supported: Callable[[ConvProblem], bool],
    *,
    allowed: Callable[[Question], bool] = lambda _: True,
    most_questions: int = 300,
    most_restarts: int = 25,
    until: Callable[[], bool] = lambda: False,
) -> Failure:
    """The smallest failure like `failure` that was found; `failure` itself when nothing smaller fails so.

    `supported` says what the backend takes, and `allowed` leaves out questions that fail for another cause. Asking
    ends after `most_questions`, after `most_restarts` answers that cost a worker its process, or when `until()` is
    true; what was found by then counts.
    """
    descent = _Descent(failure, ask, supported, allowed, most_questions, most_restarts, until)
    while descent.round():
        pass
    return descent.smallest


@dataclass
class _Descent:
    smallest: Failure
    ask: Ask
    supported: Callable[[ConvProblem], bool]
    allowed: Callable[[Question], bool]
    questions_left: int
    restarts_left: int
    until: Callable[[], bool]
    passed: set[Question] = field(default_factory=set)

    def round(self) -> bool:
        """Every step once, the boldest first; whether anything came of it and there is leave to go on."""
        before = self.smallest
        self._reset(PLAIN_PASSES)
        for step in PASSES:
            while self._descend(step):
                pass
        return self.smallest is not before and not self._at_end()

    def _reset(self, steps: Sequence[ShrinkPass]) -> None:
        """Take the first candidate of all `steps` at once, or else of either half of them, and so on.

        Of many parameters a few matter to a failure: most are gone after a few questions, and a crash costs one each.
        The later half comes first: it makes less work of all that is asked after it.
        """
        form = QuestionParameters.of(self.smallest.question)
        for step in steps:
            form = next((candidate for candidate in step(form) if candidate.question is not None), form)
        if not self._goes_down(form) and len(steps) > 1:
            half = len(steps) // 2
            self._reset(steps[half:])
            self._reset(steps[:half])

    def _descend(self, step: ShrinkPass) -> bool:
        """Take the first candidate of `step` that fails; whether there is one."""
        return any(self._goes_down(candidate) for candidate in step(QuestionParameters.of(self.smallest.question)))

    def _goes_down(self, form: QuestionParameters) -> bool:
        question = form.question
        if question is None or question in self.passed or size(question) >= size(self.smallest.question):
            return False
        if self._at_end() or not self.supported(question.problem) or not self.allowed(question):
            return False
        self.questions_left -= 1
        outcome = self.ask(question)
        if outcome is not None:
            self.restarts_left -= outcome.status in _ENDED_ITS_WORKER
        if outcome is None or not is_alike(outcome, self.smallest):
            self.passed.add(question)
            return False
        self.smallest = outcome
        return True

    def _at_end(self) -> bool:
        return self.questions_left <= 0 or self.restarts_left <= 0 or self.until()
