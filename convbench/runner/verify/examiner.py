"""The examiner: puts questions to one backend in a worker process, and judges the answers in this process.

A backend that crashes, hangs or runs out of memory loses its worker and that question; the next one gets a new worker.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.errors import ProblemError
from convbench.isa import Isa
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Check, Examine, Examined
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.problem import ConvProblem
from convbench.registry import Entry
from convbench.runner.verify.patience import Patience
from convbench.status import Status
from convbench.verification.adversarial_calls import FIRST, OF_CHANGED
from convbench.verification.bounds import UNIT_ROUNDOFF
from convbench.verification.operands import Operands
from convbench.verification.oracle import Judge, oracle_for, rounds_between
from convbench.verification.question import Failure, Question
from convbench.verification.relations import RELATIONS, Relation
from convbench.verification.relations.relation import Part
from convbench.verification.sweep.catalogue import is_supported

_BRIEFLY_S = 10.0
"""The longest to wait for an answer in shrinking, which asks many questions."""
_MOST_TIMES_THE_WORK, _LITTLE_WORK_MACS = 4, 10**8
"""How much more work than its question a restatement may be; less than so much is always allowed."""
_SMALL_MACS, _SMALL_ELEMENTS = 10**7, 10**6
"""Up to so much work, a right answer takes some milliseconds, and is computed while the worker computes its own."""


class Examiner:
    """Asks one backend; a context manager that ends the worker. A call asks a question: None when the backend passed.

    One question may take `limit_s`. A backend that answers quickly is waited for less at first; without an answer it is
    asked again, with the whole limit, before that is a timeout. `on_wait` is called before that, with the question and
    the seconds waited. `isa` is the widest instruction set that the library may use. `warned` and
    `max_error_over_bound` are over all questions so far.
    """

    def __init__(
        self,
        entry: Entry,
        limit_s: float = 40.0,
        threads: int = 1,
        on_wait: Callable[[Question, float], None] = lambda question, waited_s: None,
        isa: Isa | None = None,
    ) -> None:
        self.entry = entry
        self.threads = threads
        self.isa: Isa | None = isa
        self.warned = 0
        self.max_error_over_bound = 0.0
        self.lost_workers = 0
        self.backend = entry.backend
        self._on_wait = on_wait
        self._patience = Patience(limit_s)
        self._pool = WorkerPool(Settings(threads=threads, time_limit_s=limit_s, isa=isa))
        self._announced: Question | None = None
        self._ahead: tuple[Question, Judge] | None = None
        self._relations = 0
        self._at_most_s: float | None = None
        """The longest to wait for an answer that should come sooner; None to wait as long as the limit says."""

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_worker()

    @property
    def versions(self) -> dict[str, str]:
        """Those of the libraries in the worker; empty before the first question."""
        return self._pool.versions.get(self.entry.name, {})

    @property
    def limit_s(self) -> float:
        """The longest that a question may take."""
        return self._patience.limit_s

    def start(self) -> None:
        """Start the worker if it does not run. Raises `WorkerError` when it does not start."""
        if not self._pool.runs(self.entry) and (failed := self._pool.start([self.entry])):
            raise failed[self.entry.name]

    def end_worker(self) -> None:
        """End the worker; the next question starts another."""
        self._pool.shutdown()

    def supports(self, problem: ConvProblem) -> bool:
        return is_supported(self.backend, problem)

    def announce(self, question: Question) -> None:
        """Say what will be asked after the next question. Its operands are drawn while the worker computes that."""
        self._announced = question

    def __call__(self, question: Question, key: Judge | None = None, *, briefly: bool = False) -> Failure | None:
        """Ask, with the operands of `key` where it is given, else with those that the question's words and seed give.
        Asked `briefly`, a backend that takes much longer than it should by its other answers is not asked again.

        Raises `WorkerError` when no worker can be started at all.
        """
        relations = self._relations
        try:
            self._at_most_s = _BRIEFLY_S if briefly else self.limit_s
            return self._failure_with(question, key)
        except _LateError as late:
            if briefly:
                return _without_answer(question, late)
            self._on_wait(question, late.waited_s)
        self._relations = relations  # the same relation as before: it may be what takes so long
        self._at_most_s = None
        return self._failure_with(question, key)

    def _failure_with(self, question: Question, key: Judge | None) -> Failure | None:
        self.start()
        key = key or self._oracle_of(question)
        try:
            arrays = key.operands.named()
            request = Examine(problem=question.problem, operands=arrays, layout=question.layout, calls=question.calls)
            answer = self._request(request, partial(self._work_ahead, key))
            failure = self._judged(question, key, answer)
            return failure or self._related(question, key, answer.answers[0].output)
        except _LateError:
            raise
        except WorkerError as error:
            self.lost_workers += not self._pool.runs(self.entry)
            return _without_answer(question, error)

    def _oracle_of(self, question: Question) -> Judge:
        if self._ahead is not None and self._ahead[0] == question:
            return self._ahead[1]
        return oracle_for(question, self.backend.arithmetic)

    def _work_ahead(self, key: Judge) -> None:
        """What else there is to do while the worker computes: the right answer, and the operands that come next."""
        if _is_small(key.problem):
            key.solve()
        announced, self._announced, self._ahead = self._announced, None, None
        if announced is not None and _is_small(announced.problem):
            self._ahead = announced, oracle_for(announced, self.backend.arithmetic)

    def _request(self, request: Examine | Check, meanwhile: Callable[[], None] = lambda: None) -> Any:
        start = time.monotonic()
        expected_s = self._patience.for_(request.problem)
        limit_s = self.limit_s if self._at_most_s is None else min(self._at_most_s, expected_s)
        try:
            reply = self._pool.request(self.entry, request, limit_s, meanwhile)
        except WorkerError as error:
            if error.status is Status.TIMEOUT and limit_s < self.limit_s:
                raise _LateError(error, limit_s) from None
            raise
        self._patience.learn(request.problem, time.monotonic() - start)
        return reply

    def _judged(self, question: Question, key: Judge, examined: Examined) -> Failure | None:
        arithmetic = self.backend.arithmetic
        for answer in examined.answers:
            phase = answer.phase
            verdict = (key.judge_changed if phase in OF_CHANGED else key.judge)(arithmetic, answer.output)
            self.warned += verdict.warned
            if not verdict.passed:
                figures = (verdict.element, verdict.got, verdict.expected, verdict.error_over_bound)
                check = verdict.check if phase == FIRST else phase
                return Failure(question, Status.WRONG, check, verdict.reason or "", *figures, examined.kernel)
            if verdict.check == "bound":
                self.max_error_over_bound = max(self.max_error_over_bound, verdict.error_over_bound)
        if overwritten := examined.overwritten:
            reason = f"it wrote to {overwritten}, or to memory beside it"
            return Failure(question, Status.WRONG, "inputs", reason, kernel=examined.kernel)
        return None

    def _related(self, question: Question, key: Judge, first: NDArray[Any]) -> Failure | None:
        """Hold the answer to what the backend itself answers to the question put another way."""
        problem = question.problem
        if key.values != "integers" or question.layout != "contiguous" or self._may_halve_weights(problem):
            return None
        if problem.epilogue is not None and rounds_between(self.backend.arithmetic):
            return None  # its sums are no integers, to which a transform's could be rounded
        relation = self._next_relation(problem)
        parts = _restated(relation, problem, key.operands, first) if relation else []
        if relation is None or not parts or not all(self._is_comparable(part, problem) for part, _ in parts):
            return None
        checks = [Check(problem=part, operands=own.named()) for part, own in parts]
        outputs = [self._request(check).output for check in checks]
        shapes = [getattr(output, "shape", None) for output in outputs]
        if shapes != [part.result_shape for part, _ in parts]:
            return None  # a question about that part will find it
        whole = [self._whole(output) for output in outputs]
        compared = relation.compared(problem, key.operands, self._whole(first), parts, whole)
        return _disagreement(question, relation, *compared, key.leeway(self.backend.arithmetic))

    def _may_halve_weights(self, problem: ConvProblem) -> bool:
        """Whether answers to a problem and to its restatement may be right for two different weights."""
        return problem.quantization is not None and self.backend.arithmetic.quantized.halves_weights

    def _is_comparable(self, part: ConvProblem, problem: ConvProblem) -> bool:
        """Transforms round more the longer their sums are, and the integers were chosen for those of `problem`. And a
        stride of 16 that is put as every position of the image is so much more work that time would run out."""
        longer = part.reduction_length > problem.reduction_length
        larger = part.macs > max(_MOST_TIMES_THE_WORK * problem.macs, _LITTLE_WORK_MACS)
        return self.supports(part) and not larger and not (longer and rounds_between(self.backend.arithmetic))

    def _whole(self, output: NDArray[Any]) -> NDArray[np.float64]:
        wide = output.astype(np.float64)
        return np.rint(wide) if rounds_between(self.backend.arithmetic) else wide

    def _holds_outputs(self, problem: ConvProblem) -> bool:
        """Whether the backend reads operands in a precision that holds its outputs."""
        dtype, arithmetic = problem.dtype, self.backend.arithmetic
        operand, accumulate = arithmetic.operand_precision(dtype), arithmetic.accumulate_precision(dtype)
        return UNIT_ROUNDOFF[operand] <= max(UNIT_ROUNDOFF[dtype], UNIT_ROUNDOFF[accumulate])

    def _next_relation(self, problem: ConvProblem) -> Relation | None:
        """In turn, one of those that apply. No parts are added where integers may be so large that sums are rounded."""
        rounds_sums = problem.quantization is None and self._accumulates_wider(problem)
        for _ in RELATIONS:
            self._relations += 1
            relation = RELATIONS[self._relations % len(RELATIONS)]
            if not relation.applies(problem) or (rounds_sums and relation.adds_parts):
                continue
            if relation.follow is None or self._holds_outputs(problem):
                return relation
        return None

    def _accumulates_wider(self, problem: ConvProblem) -> bool:
        accumulate = self.backend.arithmetic.accumulate_precision(problem.dtype)
        return UNIT_ROUNDOFF[accumulate] < UNIT_ROUNDOFF[problem.dtype]


def _is_small(problem: ConvProblem) -> bool:
    return problem.macs <= _SMALL_MACS and math.prod(problem.input_shape) <= _SMALL_ELEMENTS


class _LateError(WorkerError):
    """No answer within the time that the backend's other answers let expect, which is less than the limit."""

    def __init__(self, error: WorkerError, waited_s: float) -> None:
        super().__init__(error.status, error.reason, error.stderr_tail)
        self.waited_s = waited_s


def _without_answer(question: Question, error: WorkerError) -> Failure:
    return Failure(question, error.status, "call", error.reason, where=error.where, traceback=error.traceback)


def _restated(relation: Relation, problem: ConvProblem, operands: Operands, first: NDArray[Any]) -> list[Part]:
    """The parts; none where one is no problem, because its sums could be too long for 32 bits."""
    try:
        return relation.restated(problem, operands, first)
    except ProblemError:
        return []


def _disagreement(
    question: Question,
    relation: Relation,
    first: NDArray[np.float64],
    other: NDArray[np.float64],
    leeway: NDArray[np.float64] | float,
) -> Failure | None:
    """None where the two are equal, or differ by `leeway` at the most."""
    with np.errstate(invalid="ignore"):
        wrong = (first != other) & ~(np.abs(first - other) <= leeway)
    if not wrong.any():
        return None
    element = tuple(int(i) for i in np.argwhere(wrong)[0])
    got, expected = float(first[element]), float(other[element])
    reason = (
        f"{relation.summary}: {np.count_nonzero(wrong):,} of {wrong.size:,} elements differ; at {list(element)} "
        f"{got:.17g}, and {expected:.17g} that way"
    )
    return Failure(question, Status.WRONG, f"relation {relation.name}", reason, element, got, expected)
