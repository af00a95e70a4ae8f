"""Backends that seem faster or better than they are, each in one way: docs/cheats.md. A plugin file, as anybody's is.

The honest work of a call is a right answer after `WORK_S` seconds of waiting, which needs no CPU.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem

WORK_S = 0.001
SCALE = 0.1
_MEASUREMENT = "convbench.measurement"


class Cheat(Backend):
    """Honest, after `act` has been called in `prepare`."""

    supports = Supports()
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str, act: Callable[[], object] = lambda: None) -> None:
        self.name, self.act, self.has_acted = name, act, False

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        if not self.has_acted:
            self.has_acted = True
            self.act()
        return self.ready(problem, x, w, b)

    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        return Ready(lambda: self.work(problem, x, w, b))

    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        time.sleep(WORK_S)
        return self.answer(problem, x, w, b)

    @staticmethod
    def answer(problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        from convbench.verification.reference import convolve

        return convolve(problem, x, w, b).astype(x.dtype)


# --- the clock --------------------------------------------------------------------------------------------------------


def _fast_clock(scale: float = SCALE) -> Callable[[], float]:
    return lambda: perf_counter() * scale


def _module(name: str) -> Any:
    return sys.modules[f"{_MEASUREMENT}.{name}"]


def _replace_in_time() -> None:
    time.perf_counter = time.monotonic = _fast_clock()


def _replace_in_sampling(clock: Callable[[], float] | None = None) -> None:
    _module("sampling.sample").perf_counter = clock or _fast_clock()


def _quietly(clock: Callable[[], float]) -> Callable[[], None]:
    """Replaces the clock, and what would notice that."""

    def act() -> None:
        _module("sampling.tampering").Tampering.refuse = lambda self: None
        _replace_in_sampling(clock)

    return act


def _in_samples(clock: Callable[[], float]) -> Callable[[], float]:
    """Wrong while garbage is not collected, which is so in samples and not in the warm-up."""
    return lambda: perf_counter() if gc.isenabled() else clock()


def _replace_visit() -> None:
    worker, take_visit = _module("workers.worker"), _module("sampling.sample").take_visit
    worker.take_visit = lambda *args, **rest: take_visit(*args, **rest)


def _replace_code() -> None:
    function = _module("sampling.sample").take_visit
    function.__code__ = function.__code__.replace(co_name="take_visit")


def _replace_between() -> None:
    sample = _module("sampling.sample").Sample
    between = sample.between.__func__
    sample.between = classmethod(lambda cls, *args, **rest: between(cls, *args, **rest))


def _replace_handler() -> None:
    from dataclasses import replace

    worker, messages = _module("workers.worker"), _module("workers.messages")
    honest = worker._HANDLERS[messages.TakeSample]

    def sample(self: Any, request: Any) -> Any:
        reply = honest(self, request)
        readings = tuple(reading * SCALE for reading in reply.readings)
        return replace(reply, sample=replace(reply.sample, wall_s=reply.sample.wall_s * SCALE), readings=readings)

    worker._HANDLERS[messages.TakeSample] = sample


def _fewer_calls() -> None:
    from dataclasses import replace

    worker, messages = _module("workers.worker"), _module("workers.messages")
    honest = worker._HANDLERS[messages.TakeSample]

    def sample(self: Any, request: Any) -> Any:
        return honest(self, replace(request, plan=replace(request.plan, calls=1, discarded=0, calls_per_reading=1)))

    worker._HANDLERS[messages.TakeSample] = sample


def _forge_a_reply() -> None:
    """Sends a reply of its own, right in every byte, before the worker does."""
    protocol, messages = _module("workers.protocol"), _module("workers.messages")
    reply = messages.WarmedUp(call_s=1e-6)
    for path in Path("/proc/self/fd").iterdir():
        try:
            if int(path.name) > 2 and stat.S_ISFIFO(os.fstat(int(path.name)).st_mode):
                os.write(int(path.name), b"".join(map(bytes, protocol.encoded_message(reply, 2))))
        except OSError:
            pass


# --- the work ---------------------------------------------------------------------------------------------------------


class MemoisesByAddress(Cheat):
    """Remembers the answer by where its input lies."""

    known: dict[int, Any] = {}  # noqa: RUF012 - it is meant to be shared

    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        key = x.ctypes.data
        if key not in self.known:
            self.known[key] = super().work(problem, x, w, b)
        return self.known[key].copy()


class Precomputes(Cheat):
    """Computes in `prepare`."""

    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        answer = self.work(problem, x, w, b)
        return Ready(lambda: answer)


class PrecomputesAndCopies(Cheat):
    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        answer = self.work(problem, x, w, b)
        return Ready(lambda: answer.copy())


class Lazy(Cheat):
    """Computes when it is asked for the answer."""

    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        def to_numpy(output: list[Any]) -> Any:
            if not output:
                output.append(self.work(problem, x, w, b))
            return output[0]

        return Ready(list, to_numpy=to_numpy)


class LazyOnce(Cheat):
    """Computes when it is asked for the first answer, and keeps that."""

    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        kept: list[Any] = []

        def to_numpy(output: Any) -> Any:
            if not kept:
                kept.append(self.work(problem, x, w, b))
            return kept[0]

        return Ready(object, to_numpy=to_numpy)


class Late(Cheat):
    """Computes on a thread that `sync` does not wait for."""

    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        def run() -> Any:
            answers: list[Any] = []
            thread = threading.Thread(target=lambda: answers.append(self.work(problem, x, w, b)))
            thread.start()
            return thread, answers

        def to_numpy(output: Any) -> Any:
            output[0].join()
            return output[1][0].copy()

        return Ready(run, to_numpy=to_numpy)


class InAnotherProcess(Cheat):
    """Has another process wait in its place, so that it uses no CPU time of its own."""

    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        ours, theirs = multiprocessing.Pipe()

        def serve() -> None:
            while theirs.recv():
                time.sleep(WORK_S)
                theirs.send(True)

        multiprocessing.get_context("fork").Process(target=serve, daemon=True).start()
        answer = self.answer(problem, x, w, b)

        def run() -> Any:
            ours.send(True)
            ours.recv()
            return answer.copy()

        return Ready(run)


class RightForIntegers(Cheat):
    """Computes with care where the input is integers, as in the exact check, and in 4 bits elsewhere."""

    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        if (x == np.rint(x)).all():
            return super().work(problem, x, w, b)
        return self.answer(problem, np.rint(4 * x) / x.dtype.type(4), w, b)


class RoundsToBfloat16(Cheat):
    """Multiplies in bfloat16, as a matrix unit does, and declares float32."""

    def __init__(self, name: str, arithmetic: Arithmetic) -> None:
        super().__init__(name)
        self.arithmetic = arithmetic

    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        import ml_dtypes

        narrow = [operand.astype(ml_dtypes.bfloat16).astype(operand.dtype) for operand in (x, w)]
        return super().work(problem, *narrow, b)


class RightAtFirst(Cheat):
    """Computes in the first calls, which are verified, and returns noise later."""

    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        calls: list[None] = []

        def run() -> Any:
            calls.append(None)
            if len(calls) < 4:
                return self.work(problem, x, w, b)
            return np.ones(problem.output_shape, x.dtype)

        return Ready(run)


class RightOnce(Cheat):
    """Computes once, and gives later calls an array with whatever was in memory."""

    def ready(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        answers = [self.work(problem, x, w, b)]
        return Ready(lambda: answers.pop() if answers else np.empty(problem.output_shape, x.dtype))


class OverwritesItsInput(Cheat):
    """Makes the question an easy one."""

    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        x[...] = 0
        return np.zeros(problem.output_shape, x.dtype)


class NotANumber(Cheat):
    """Hopes that a comparison with NaN is false."""

    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        return np.full(problem.output_shape, np.nan, x.dtype)


class EqualsEverything(np.ndarray):
    """An array that says of itself what is wanted."""

    def __array_ufunc__(self, *args: Any, **rest: Any) -> Any:
        return np.zeros(self.shape, bool)

    def __eq__(self, other: object) -> Any:
        return True

    __hash__ = None  # type: ignore[assignment]


class AnswersWithItsOwnArray(Cheat):
    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        return np.ones(problem.output_shape, x.dtype).view(EqualsEverything)


class SmallerOutput(Cheat):
    """Computes one row and leaves the rest to broadcasting."""

    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        return super().work(problem, x, w, b)[:, :, :1]


class LessWhenSampled(Cheat):
    """Waits less while garbage is not collected, which is so in samples."""

    def work(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        time.sleep(WORK_S if gc.isenabled() else WORK_S * SCALE)
        return self.answer(problem, x, w, b)


class CopiesTheReference(Cheat):
    """Asks convbench's own reference, as all of this file do. It is right, and takes the reference's time."""


BACKENDS = (
    Cheat("honest"),
    Cheat("replaces-time", _replace_in_time),
    Cheat("replaces-clock-of-sampling", _replace_in_sampling),
    Cheat("replaces-visit", _replace_visit),
    Cheat("replaces-code", _replace_code),
    Cheat("replaces-method", _replace_between),
    Cheat("replaces-handler", _replace_handler),
    Cheat("makes-fewer-calls", _fewer_calls),
    Cheat("slow-clock", _quietly(_fast_clock())),
    Cheat("fast-clock", _quietly(_fast_clock(50.0))),
    Cheat("clock-stands-still", _quietly(_in_samples(lambda: 1.0))),
    Cheat("clock-runs-backwards", _quietly(_in_samples(lambda: -perf_counter()))),
    Cheat("clock-is-nan", _quietly(_in_samples(lambda: float("nan")))),
    Cheat("clock-a-little-slow", _quietly(_fast_clock(0.8))),
    Cheat("forges-a-reply", _forge_a_reply),
    MemoisesByAddress("memoises-by-address"),
    Precomputes("precomputes"),
    PrecomputesAndCopies("precomputes-and-copies"),
    Lazy("lazy"),
    LazyOnce("lazy-once"),
    Late("late"),
    InAnotherProcess("in-another-process"),
    RightForIntegers("right-for-integers"),
    RoundsToBfloat16("rounds-to-bfloat16", Arithmetic("direct")),
    RoundsToBfloat16("rounds-to-bfloat16-by-any-algorithm", Arithmetic("auto")),
    RightAtFirst("right-at-first"),
    RightOnce("right-once"),
    OverwritesItsInput("overwrites-its-input"),
    NotANumber("not-a-number"),
    AnswersWithItsOwnArray("answers-with-its-own-array"),
    SmallerOutput("smaller-output"),
    LessWhenSampled("less-when-sampled"),
    CopiesTheReference("copies-the-reference"),
)
