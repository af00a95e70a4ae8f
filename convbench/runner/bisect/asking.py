"""Put one question to a backend in another environment, in fresh processes until the answer can be believed."""

from __future__ import annotations

from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry
from convbench.runner.bisect.changed_answer import Answer, Skipped
from convbench.runner.verify.examiner import Examiner
from convbench.status import Status
from convbench.verification.question import Failure, Question

_ASKED = 3
"""Right answers, in fresh processes, before a member counts as right: a wrong one may depend on what is in memory."""
_PROOF = Status.WRONG
"""A wrong number is proof at once. A crash or a late answer may be the machine's doing, and has to be seen twice."""


def answer_to(question: Question, entry: Entry, limit_s: float, threads: int) -> Answer | Skipped:
    """What the backend of `entry` answers. One whose library cannot be imported there is skipped."""
    failures: list[Failure] = []
    with Examiner(entry, limit_s, threads) as examiner:
        for number in range(_ASKED):
            try:
                examiner.start()
                failure = examiner(question)
            except WorkerError as error:
                return Skipped(f"{entry.name} cannot be asked: {error.reason}")
            if failure is not None:
                failures.append(failure)
                if failure.status is _PROOF or len(failures) > 1:
                    return _answer_of(failure, len(failures), number + 1)
            examiner.end_worker()
    return Answer(str(Status.OK), _rest(failures))


def _answer_of(failure: Failure, failures: int, attempts: int) -> Answer:
    times = f" (in {failures} of {attempts} fresh processes)" if failures < attempts else ""
    return Answer(str(failure.status), f"{failure.check}: {failure.reason}{times}", failure.kernel)


def _rest(failures: list[Failure]) -> str:
    if not failures:
        return ""
    return f"once {failures[0].status}, which did not repeat: {failures[0].reason}"
