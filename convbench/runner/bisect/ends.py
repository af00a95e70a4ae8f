"""The two members that a search begins and ends at."""

from __future__ import annotations

from collections.abc import Callable

from convbench.errors import NothingMeasuredError
from convbench.runner.bisect.changed_answer import MOST_ENDS, Answer, Skipped, first_that_answers
from convbench.runner.bisect.request import Request
from convbench.runner.bisect.series import Series


def usable_end(
    request: Request, ask: Callable[[int], Answer | Skipped], members: range, series: Series, *, is_given: bool
) -> int:
    """The first of `members` that can be asked. One that was named has to be it. Raises `NothingMeasuredError`."""
    if is_given or request.commits is not None:
        if isinstance(answer := ask(members[0]), Skipped):
            raise NothingMeasuredError(
                f"{series.library} {series.labels[members[0]]} cannot be asked: {answer.reason}. Give another end of "
                "the search with --good or --bad, or what it needs with --with."
            )
        return members[0]
    if (end := first_that_answers(ask, members)) is None:
        raise NothingMeasuredError(
            f"none of {min(MOST_ENDS, len(members))} {series.word}s of {series.library} can be asked; the last reason: "
            f"{_reason(ask(members[0]))}"
        )
    return end


def _reason(answer: Answer | Skipped) -> str:
    return answer.reason if isinstance(answer, Skipped) else answer.sentence
