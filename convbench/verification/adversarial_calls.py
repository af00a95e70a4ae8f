"""Adversarial calls: they get answers from a backend that is not trusted, and watch how it behaves.

Memory is filled with NaN before each call, so that unwritten output shows. The backend is called again, perhaps often
or from two threads at once, and prepared a second time on changed operands beside the first. Every answer that differs
from the first in a single bit is judged, too. Checksums show whether it wrote to its inputs, or beside them.
"""

from __future__ import annotations

import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from convbench.backend import Backend, Ready
from convbench.problem import ConvProblem
from convbench.verification.layouts import lay_out, memory_of
from convbench.verification.operands import NUMPY_DTYPES, Operands, change_of_answer, changed, result_dtype
from convbench.verification.question import Calls, Layout
from convbench.verification.step.answers import arrays_in, in_a_row

FIRST = "first call"
REPEATED = "repeated call"
CHANGED = "changed operands"
KEPT = "output kept while others were computed"
RETURNED = "call after another was prepared"
GIVEN = "input given in the call"
THREADED = "two threads"
THREADED_CHANGED = "two threads, changed operands"
_SPOKEN = {"x": "the input", "w": "the weight", "b": "the bias", "g": "the output gradient", "r": "the residual"}
_SPOKEN |= {"s": "the scales"}
OF_CHANGED = (CHANGED, THREADED_CHANGED)
"""Phases whose answers are for changed operands."""

Stage = Literal["prepare", "run", "to_numpy", ""]
"""A method of the backend's contract, or none."""

_MANY_CALLS, _MANY_S = 25, 0.1
# Of two threads at once, each calls the one as often as the other, and at times both call the same.
_TURNS = ((0, 0, 1, 1, 0, 1), (0, 1, 0, 1, 1, 0))
_USES_OF_THREADS = 32
_SWITCH_S = 2e-4  # of threads: by default they take turns so slowly that one would be done before the other begins
_FEW_BYTES = 2**16
_BLOCKS, _LARGEST_BLOCK_BYTES = 3, 2**25
_ALIGNMENTS_BYTES = (0, 64)
_LONGEST_NAME = 100


@dataclass(frozen=True)
class PhaseAnswer:
    """One answer that has to be judged, and the phase it was given in."""

    phase: str
    output: Any


@dataclass(frozen=True)
class Behaviour:
    """The first answer and all that differ from it; which operands were written to, None when none was; and the kernel
    that the backend says it used."""

    answers: tuple[PhaseAnswer, ...]
    overwritten: str | None
    kernel: str | None = None


def examine(
    backend: Backend,
    problem: ConvProblem,
    operands: Operands,
    layout: Layout,
    calls: Calls,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> Behaviour:
    """Call `backend` on this question. It raises whatever the backend raises, and may crash: run it in a worker.
    `on_stage` is called with the method that is called next, until there is a first answer."""
    laid_out = operands.map(partial(lay_out, layout=layout))
    checksums = _checksums(laid_out)
    sizes_bytes = _sizes_bytes(problem)

    _dirty_memory(sizes_bytes)
    on_stage("prepare")
    ready = laid_out.prepared_by(backend, problem)
    first = _call(ready, on_stage)
    on_stage("")
    answers = [PhaseAnswer(FIRST, first)]
    answers += _repeated(ready, first, calls, sizes_bytes)
    kept = ready.run()
    ready.sync()
    overwritten = _overwritten(laid_out, checksums)
    # Something may be remembered by where its operands lie, which is where the next ones lie as often as not.
    in_place = calls == "few"
    others = changed(problem, operands).map(partial(lay_out, layout=layout))
    if in_place:
        _overwrite(laid_out, others)
    second_operands = laid_out if in_place else others
    _dirty_memory(sizes_bytes)
    second_ready = second_operands.prepared_by(backend, problem)
    second = _call(second_ready)
    is_judged = problem.epilogue is not None or problem.quantization is not None
    if is_judged or not _is_as_changed(problem, second, first):
        answers.append(PhaseAnswer(CHANGED, second))
    answers += _other_than(first, KEPT, _copied(in_a_row(ready.to_numpy(kept))))
    if in_place:
        _overwrite(laid_out, operands)
    answers += _other_than(first, RETURNED, _call(ready))
    if calls == "many" and problem.direction == "forward":
        answers += _on_other_input(backend, problem, laid_out, first)
    if calls == "threads" and backend.thread_safe:
        answers += _threaded((ready, second_ready), (first, second))
    return Behaviour(tuple(answers), overwritten or _overwritten(laid_out, checksums), _name(ready.kernel))


def _other_than(first: Any, phase: str, again: Any) -> list[PhaseAnswer]:
    return [] if _same_bits(again, first) else [PhaseAnswer(phase, again)]


def _name(kernel: Any) -> str | None:
    return None if kernel is None else str(kernel)[:_LONGEST_NAME]


def _checksums(operands: Operands) -> dict[str, int]:
    """Those of all memory that the operands lie in."""
    return {_SPOKEN[name]: zlib.crc32(memory_of(array).data) for name, array in operands.named().items()}


def _overwritten(operands: Operands, before: dict[str, int]) -> str | None:
    """The operands whose checksums changed; None when none did."""
    now = _checksums(operands)
    return " and ".join(name for name, checksum in before.items() if now[name] != checksum) or None


def _repeated(ready: Ready, first: Any, calls: Calls, sizes_bytes: tuple[int, ...]) -> list[PhaseAnswer]:
    """The first answer of the repeated calls that differs; none when all are the same."""
    end = time.perf_counter() + _MANY_S
    _dirty_memory(sizes_bytes)
    for number in range(_MANY_CALLS if calls == "many" else 1):
        output = _call(ready)
        if not _same_bits(output, first):
            return [PhaseAnswer(REPEATED, output)]
        if number > 0 and time.perf_counter() > end:
            break
    return []


def _on_other_input(backend: Backend, problem: ConvProblem, operands: Operands, first: Any) -> list[PhaseAnswer]:
    """The answer to the input when the backend was prepared with another, if it takes others and answers otherwise."""
    x = np.require(operands.x, requirements=["C", "A"])
    other = -x if problem.quantization is None else ~x
    on = replace(operands, x=other).prepared_by(backend, problem).on.get("numpy")
    if on is None:
        return []
    added = () if operands.r is None else (np.require(operands.r, requirements=["C", "A"]),)
    output = on(x, *added)
    on(np.zeros_like(x), *added)  # the answer before belongs to the caller, and stays
    return [] if _same_bits(_copied(output), first) else [PhaseAnswer(GIVEN, _copied(output))]


def _threaded(ready: tuple[Ready, Ready], expected: tuple[Any, Any]) -> list[PhaseAnswer]:
    """Answers to two threads that call at once, on operands and on changed ones, that are not the same: one of each."""
    different: dict[int, Any] = {}
    errors: list[BaseException] = []
    together = threading.Barrier(2)

    def work(turns: tuple[int, ...]) -> None:
        together.wait()
        for which in turns:
            try:
                output = _call(ready[which])
            except BaseException as error:
                errors.append(error)
                return
            if not _same_bits(output, expected[which]):
                different.setdefault(which, output)

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    wait([_pair.executor().submit(work, turns) for turns in _TURNS])
    sys.setswitchinterval(before_s)
    if errors:
        raise errors[0]
    return [PhaseAnswer((THREADED, THREADED_CHANGED)[which], output) for which, output in sorted(different.items())]


class _ThreadPair:
    """Two threads that serve several questions, as a program's do: a library may take milliseconds to set a new one up.
    They are replaced now and then, because a thread's first call is one that may go wrong."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._uses = 0

    def executor(self) -> ThreadPoolExecutor:
        if self._executor is None or self._uses >= _USES_OF_THREADS * len(_TURNS):
            if self._executor is not None:
                self._executor.shutdown()
            self._executor, self._uses = ThreadPoolExecutor(len(_TURNS)), 0
        self._uses += 1
        return self._executor


_pair = _ThreadPair()


def _call(ready: Ready, on_stage: Callable[[Stage], None] = lambda stage: None) -> Any:
    """The answer to a call, which is overwritten then: one that is kept and returned again shows."""
    on_stage("run")
    output = ready.run()
    ready.sync()
    on_stage("to_numpy")
    answer = ready.to_numpy(output)
    copy = _copied(in_a_row(answer))
    for array in arrays_in(answer):
        if array.flags.writeable:
            spoil(array)
    return copy


def spoil(answer: np.ndarray[Any, Any]) -> None:
    """Overwrite an answer with NaN, or with other integers; what is no array of numbers is left as it is."""
    if answer.dtype in NUMPY_DTYPES.values():
        answer.fill(np.nan)
    elif answer.dtype.kind in "iu":
        np.invert(answer, out=answer)


def _copied(output: Any) -> Any:
    # The next call may well write its answer to the same place.
    return np.array(output, order="C") if isinstance(output, np.ndarray) else output


def _overwrite(operands: Operands, others: Operands) -> None:
    new = others.named()
    for name, array in operands.named().items():
        is_protected = not array.flags.writeable
        if is_protected:
            array.flags.writeable = True
        array[...] = new[name]
        if is_protected:
            array.flags.writeable = False


def _sizes_bytes(problem: ConvProblem) -> tuple[int, ...]:
    """The sizes of what an implementation is likely to allocate: the results, the input, the padded input."""
    itemsize = result_dtype(problem).itemsize
    n, c, h, w = problem.input_shape
    (top, bottom), (left, right) = problem.padding
    counts = [int(np.prod(shape)) for shape in problem.result_shapes]
    counts += [n * c * h * w, n * c * (h + top + bottom) * (w + left + right)]
    return tuple(sorted({itemsize * count + extra for count in counts for extra in _ALIGNMENTS_BYTES}))


def _dirty_memory(sizes_bytes: tuple[int, ...]) -> None:
    """Leave NaNs (all bits set, in every format) in the memory that the next allocations of these sizes will get."""
    blocks = [np.empty(size, np.uint8) for size in sizes_bytes if size <= _LARGEST_BLOCK_BYTES for _ in range(_BLOCKS)]
    for block in blocks:
        block.fill(0xFF)


def _same_bits(one: Any, other: Any) -> bool:
    if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return False
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.nbytes <= _FEW_BYTES:  # quicker, though both are copied
        return one.tobytes() == other.tobytes()
    return bool(np.array_equal(one.reshape(-1).view(np.uint8), other.reshape(-1).view(np.uint8)))


def _is_as_changed(problem: ConvProblem, second: Any, first: Any) -> bool:
    if not isinstance(first, np.ndarray) or first.dtype not in NUMPY_DTYPES.values():
        return False
    if first.shape != problem.result_shape:
        return False
    with np.errstate(all="ignore"):
        return _same_bits(second, first * change_of_answer(problem).astype(first.dtype))
