"""What is in the caches when a call begins: in which order a worker touches memory between two calls, and how much."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.backend import Backend, Ready, Supports, touching
from convbench.measurement.sampling.cache_state import CacheState
from convbench.measurement.sampling.sample import Reading, SamplingPlan, take_apart
from convbench.measurement.scheduling.case_run import flush_bytes
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem

PROBLEM = ConvProblem.parse("n1c4h5w6_o2k3_p1")
MIB = 2**20


class Revealing(np.ndarray):
    """A buffer that says when all of it is read."""

    log: list[str]

    def max(self, *args: Any, **kwargs: Any) -> Any:
        self.log.append(f"read {self.nbytes} bytes")
        return super().max(*args, **kwargs)


class Logs(Backend):
    """Says which layer is prepared and computed, and when its input is written."""

    name = "logs"
    supports = Supports()

    def __init__(self, refuses: bool = False, breaks: bool = False) -> None:
        self.log: list[str] = []
        self.refuses, self.breaks = refuses, breaks

    def unsupported(self, problem: ConvProblem) -> str | None:
        return "only one problem" if self.refuses and problem != PROBLEM else None

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        if self.breaks and problem != PROBLEM:
            raise RuntimeError("only one problem")
        name = "the layer" if problem == PROBLEM else f"a layer of {problem.in_channels} channels"
        return Ready(self.says(f"call {name}"), touch=self.says("write the input"))

    def says(self, text: str) -> Callable[[], None]:
        return lambda: self.log.append(text)


def state_of(backend: Logs, size: int) -> CacheState:
    state = CacheState()
    state._buffer = np.ones(size, np.uint8).view(Revealing)
    state._buffer.log = backend.log  # type: ignore[attr-defined]
    Revealing.log = backend.log
    return state


def timed(backend: Logs, size: int, plan: SamplingPlan) -> list[str]:
    """What happens while `plan` is carried out, without what prepares it."""
    x = np.ones(PROBLEM.input_shape, np.float32)
    ready = backend.prepare(PROBLEM, x, None, None)
    before_call = state_of(backend, size).as_in_pass(backend, PROBLEM, ready, x, size)
    backend.log.clear()
    take_apart(ready.run, ready.sync, plan, before_call)
    return backend.log


def test_before_each_call_other_memory_passes_then_the_input_is_written() -> None:
    once = ["read 4096 bytes", "call a layer of 64 channels", "write the input", "call a layer of 16 channels"]
    plan = SamplingPlan(2, 1, flush_bytes=4096, as_in_pass=True)
    assert timed(Logs(), 4096, plan) == 3 * [*once, "call the layer"]


@pytest.mark.parametrize("backend", [Logs(refuses=True), Logs(breaks=True)], ids=["refuses", "breaks"])
def test_a_backend_without_the_small_layers_is_timed_without_them(backend: Logs) -> None:
    assert timed(backend, 64, SamplingPlan(1, 0)) == ["read 64 bytes", "write the input", "call the layer"]


def test_without_touch_the_array_that_the_backend_was_given_is_written() -> None:
    class Silent(Logs):
        def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
            return Ready(lambda: None)

    x = np.ones(PROBLEM.input_shape, np.float32).view(Revealing)
    x.flags.writeable = False  # so that it is read, which it says
    backend = Silent()
    before_call = state_of(backend, 8).as_in_pass(backend, PROBLEM, Ready(lambda: None), x, 8)
    backend.log.clear()
    before_call()
    assert backend.log == ["read 8 bytes", f"read {x.nbytes} bytes"]


def test_the_small_layers_beside_a_quantised_one_have_its_formats() -> None:
    quantised = PROBLEM.replace(quantization="s8:s8:s8")

    class Quantised(Logs):
        def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
            raise AssertionError(f"prepare gets no {problem}")

        def prepare_quantized(self, problem: ConvProblem, x: Any, w: Any, b: Any, scales: Any) -> Ready:
            return Ready(self.says(f"call {problem.in_channels} channels of {x.dtype}, {problem.quantization}"))

    backend, x = Quantised(), np.ones(PROBLEM.input_shape, np.int8)
    before_call = state_of(backend, 8).as_in_pass(backend, quantised, Ready(lambda: None), x, 8)
    backend.log.clear()
    before_call()
    calls = [line for line in backend.log if line.startswith("call")]
    assert calls == ["call 64 channels of int8, s8:s8:s8", "call 16 channels of int8, s8:s8:s8"]


def test_calls_are_timed_one_by_one_and_what_lies_between_them_is_not() -> None:
    now_s, between_s, call_s = 0.0, 100.0, iter([9.0, 1.0, 2.0, 6.0])

    def clock(ends: bool = False) -> Reading:
        return Reading(now_s, now_s / 2, now_s / 4, int(now_s))

    def before_call() -> None:
        nonlocal now_s
        now_s += between_s

    def run() -> None:
        nonlocal now_s
        now_s += next(call_s)

    sample, readings, _ = take_apart(run, lambda: None, SamplingPlan(3, 1), before_call, clock)
    assert readings == (9.0, 1.0, 2.0, 6.0)
    assert (sample.calls, sample.wall_s, sample.cpu_s, sample.system_s) == (3, 3.0, 1.5, 0.75)
    assert sample.minor_faults == 9  # of the whole sample


def test_an_output_is_dropped_before_memory_passes_for_the_next_call() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    left: list[int] = []

    class Output: ...

    def run() -> Any:
        output = Output()
        alive.add(output)
        return output

    _, _, output = take_apart(run, lambda: None, SamplingPlan(3, 0), lambda: left.append(len(alive)))
    assert left == [0, 0, 0] and list(alive) == [output]


orders = st.permutations(range(4))


@given(order=orders, dtype=st.sampled_from(["float64", "float32", "float16", "int16"]), data=st.data())
def test_touching_writes_every_byte_unchanged_in_any_order_of_axes(order: list[int], dtype: str, data: Any) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 4))
    bits = np.random.default_rng(0).integers(0, 256, int(np.prod(shape)) * np.dtype(dtype).itemsize, np.uint8)
    array = bits.copy().view(dtype).reshape(shape).transpose(order)
    touching(array)()
    assert (array.transpose(np.argsort(order)).reshape(-1).view(np.uint8) == bits).all()


def test_touching_refuses_an_array_whose_memory_is_not_its_own() -> None:
    with pytest.raises(ValueError, match="gaps between its elements"):
        touching(np.ones((4, 4), np.float32)[:, ::2])


@given(caches=st.lists(st.integers(1, 2**33), max_size=4), size=st.integers(1, 2**40))
def test_no_more_memory_passes_than_empties_the_caches(caches: list[int], size: int) -> None:
    settings = Settings(cache="pass", pass_bytes=size)
    passing = flush_bytes(settings, caches)
    assert passing == size or 2 * max([*caches, 32 * MIB]) == passing < size
    assert flush_bytes(Settings(), caches) == 0
    assert flush_bytes(Settings(cache="cold"), caches) == 2 * max(caches, default=32 * MIB)
