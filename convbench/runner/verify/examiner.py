"""The examiner: puts questions to one backend in a worker process, and judges the answers in this process.

A backend that crashes, hangs or runs out of memory loses its worker and that question; the next one gets a new worker.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Check, Examine, Examined, Request
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.measurement.workers.shared_arrays import by_name
from convbench.problem import ConvProblem
from convbench.registry import Entry
from convbench.status import Status
from convbench.verification.adversarial_calls import FIRST, OF_CHANGED
from convbench.verification.bounds import UNIT_ROUNDOFF
from convbench.verification.oracle import Oracle, oracle_for, rounds_between
from convbench.verification.question import Failure, Question
from convbench.verification.relations import RELATIONS, Relation
from convbench.verification.sweep.catalogue import is_supported

# How long to wait for a backend that answers quickly: so many times its slowest answer, and at least so long.
_TIMES_SLOWEST = 30.0
_LEAST_LIMIT_S = 5.0
_ANSWERS_THAT_TELL = 5
_MOST_TIMES_THE_WORK, _LITTLE_WORK_MACS = 4, 10**8
"""How much more work than its question a restatement may be; less than so much is always allowed."""

_Reply = TypeVar("_Reply")


class Examiner:
    """Asks one backend; a context manager that ends the worker. A call asks a question: None when the backend passed.

    One question may take `limit_s`, or less when the backend answers quickly. `warned` and `max_error_over_bound` are
    over all questions so far.
    """

    def __init__(self, entry: Entry, limit_s: float = 40.0, threads: int = 1) -> None:
        self.entry = entry
        self.warned = 0
        self.max_error_over_bound = 0.0
        self.lost_workers = 0
        self.backend = entry.backend
        self._limit_s = limit_s
        self._slowest_s = 0.0
        self._answers = 0
        self._pool = WorkerPool(Settings(threads=threads, time_limit_s=limit_s))
        self._relations = 0

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_worker()

    @property
    def versions(self) -> dict[str, str]:
        """Those of the libraries in the worker; empty before the first question."""
        return self._pool.versions.get(self.entry.name, {})

    def start(self) -> None:
        """Start the worker if it does not run. Raises `WorkerError` when it does not start."""
        if not self._pool.runs(self.entry) and (failed := self._pool.start([self.entry])):
            raise failed[self.entry.name]

    def end_worker(self) -> None:
        """End the worker; the next question starts another."""
        self._pool.shutdown()

    def supports(self, problem: ConvProblem) -> bool:
        return is_supported(self.backend, problem)

    def __call__(self, question: Question, key: Oracle | None = None) -> Failure | None:
        """Ask, with the operands of `key` where it is given, else with those that the question's words and seed give.

        Raises `WorkerError` when no worker can be started at all.
        """
        self.start()
        key = key or oracle_for(question, self.backend.arithmetic)
        try:
            arrays = by_name(key.operands)
            request = Examine(problem=question.problem, operands=arrays, layout=question.layout, calls=question.calls)
            answer = self._request(request)
            return self._judged(question, key, answer) or self._related(question, key, answer.answers[0].output)
        except WorkerError as error:
            self.lost_workers += not self._pool.runs(self.entry)
            return Failure(question, error.status, "call", error.reason)

    def _request(self, request: Request[_Reply]) -> _Reply:
        start = time.monotonic()
        reply = self._pool.request(self.entry, request, self._patience_s())
        self._slowest_s = max(self._slowest_s, time.monotonic() - start)
        self._answers += 1
        return reply

    def _patience_s(self) -> float:
        if self._answers < _ANSWERS_THAT_TELL:
            return self._limit_s
        return min(self._limit_s, max(_LEAST_LIMIT_S, _TIMES_SLOWEST * self._slowest_s))

    def _judged(self, question: Question, key: Oracle, examined: Examined) -> Failure | None:
        arithmetic = self.backend.arithmetic
        for answer in examined.answers:
            phase = answer.phase
            verdict = (key.judge_changed if phase in OF_CHANGED else key.judge)(arithmetic, answer.output)
            self.warned += verdict.warned
            if not verdict.passed:
                figures = (verdict.element, verdict.got, verdict.expected, verdict.error_over_bound)
                check = verdict.check if phase == FIRST else phase
                return Failure(question, Status.WRONG, check, verdict.reason or "", *figures)
            if verdict.check == "bound":
                self.max_error_over_bound = max(self.max_error_over_bound, verdict.error_over_bound)
        if overwritten := examined.overwritten:
            return Failure(question, Status.WRONG, "inputs", f"it wrote to {overwritten}, or to memory beside it")
        return None

    def _related(self, question: Question, key: Oracle, first: NDArray[Any]) -> Failure | None:
        """Hold the answer to what the backend itself answers to the question put another way."""
        problem = question.problem
        if key.values != "integers" or question.layout != "contiguous":
            return None
        relation = self._next_relation(problem)
        parts = relation.restate(problem, key.operands) if relation else []
        if relation is None or not all(self._is_comparable(part, problem) for part, _ in parts):
            return None
        outputs = [self._request(Check(problem=part, operands=by_name(own))).output for part, own in parts]
        shapes = [getattr(output, "shape", None) for output in outputs]
        if shapes != [part.output_shape for part, _ in parts]:
            return None  # a question about that part will find it
        other = relation.combine(problem, [self._whole(output) for output in outputs])
        return _disagreement(question, relation, self._whole(first), other)

    def _is_comparable(self, part: ConvProblem, problem: ConvProblem) -> bool:
        """Transforms round more the longer their sums are, and the integers were chosen for those of `problem`. And a
        stride of 16 that is put as every position of the image is so much more work that time would run out."""
        longer = part.reduction_length > problem.reduction_length
        larger = part.macs > max(_MOST_TIMES_THE_WORK * problem.macs, _LITTLE_WORK_MACS)
        return self.supports(part) and not larger and not (longer and rounds_between(self.backend.arithmetic))

    def _whole(self, output: NDArray[Any]) -> NDArray[np.float64]:
        wide = output.astype(np.float64)
        return np.rint(wide) if rounds_between(self.backend.arithmetic) else wide

    def _next_relation(self, problem: ConvProblem) -> Relation | None:
        """In turn, one of those that apply. No parts are added where integers may be so large that sums are rounded."""
        accumulate = self.backend.arithmetic.accumulate_precision(problem.dtype)
        rounds_sums = UNIT_ROUNDOFF[accumulate] < UNIT_ROUNDOFF[problem.dtype]
        for _ in RELATIONS:
            self._relations += 1
            relation = RELATIONS[self._relations % len(RELATIONS)]
            if relation.applies(problem) and (relation.exact_in_halves or not rounds_sums):
                return relation
        return None


def _disagreement(
    question: Question, relation: Relation, first: NDArray[np.float64], other: NDArray[np.float64]
) -> Failure | None:
    if np.array_equal(first, other):
        return None
    wrong = first != other
    element = tuple(int(i) for i in np.argwhere(wrong)[0])
    got, expected = float(first[element]), float(other[element])
    reason = (
        f"{relation.summary}: {np.count_nonzero(wrong):,} of {wrong.size:,} elements differ; at {list(element)} "
        f"{got:.17g}, and {expected:.17g} that way"
    )
    return Failure(question, Status.WRONG, f"relation {relation.name}", reason, element, got, expected)
