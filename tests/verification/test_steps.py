"""A training step: every result is judged by the reference and the bound of its own direction."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems

from convbench.backend import WITH_GRADIENTS, WITH_STEP, Arithmetic, Backend, Ready, in_turn
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.verification.adversarial_calls import CHANGED, examine
from convbench.verification.exact_integers import exact_magnitude
from convbench.verification.gate import Gate
from convbench.verification.gradients import computed
from convbench.verification.operands import (
    NUMPY_DTYPES,
    Operands,
    change_of_answer,
    changed,
    integer_operands,
    normal_operands,
    one_tap_operands,
)
from convbench.verification.oracle import oracle_for, oracle_of
from convbench.verification.question import VALUES, Question
from convbench.verification.step.answers import in_a_row, results

GEMM, FFT, AUTO = Arithmetic(), Arithmetic("fft"), Arithmetic("auto")
BACKENDS = {entry.name: entry.backend for entry in discover()}
STEPPING = sorted(
    n
    for n, b in BACKENDS.items()
    if "step" in b.supports.directions and b.device == "cpu"
    if n != "torch-compile"  # seconds for each: tests/backends/test_compiled_gradients.py asks it a handful
)
LAYER = ConvProblem(
    batch=2, in_channels=4, height=6, width=5, out_channels=6, kernel_size=3, padding=1, bias=True, direction="step"
)
steps = problems(("step",))


class InTurn(Backend):
    """A training step of the reference's results, of which `change` may spoil one."""

    name = "in-turn"
    supports = WITH_STEP
    thread_safe = True

    def __init__(self, change: Callable[[list[Any]], Any] = tuple) -> None:
        self.change = change

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise NotImplementedError

    def prepare_step(self, problem: ConvProblem, x: Any, w: Any, b: Any, g: Any) -> Ready:
        operands = Operands(x, w, b, g)
        return Ready(lambda: _answer(problem, operands), to_numpy=self.change)


def _answer(problem: ConvProblem, operands: Operands) -> list[Any]:
    dtype = NUMPY_DTYPES[problem.dtype]
    return [part.astype(dtype) for part in results(problem, computed(problem, operands))]


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from(VALUES), st.sampled_from([GEMM, FFT, AUTO]))
def test_right_results_pass_whatever_the_values(p: ConvProblem, values: Any, arithmetic: Arithmetic) -> None:
    key = oracle_for(Question(problem=p, values=values), arithmetic)
    with np.errstate(over="ignore", invalid="ignore"):
        row = in_a_row(tuple(_answer(p, key.operands)))
        again = in_a_row(tuple(_answer(p, changed(p, key.operands))))
    assert row.shape == p.result_shape and np.array_equal(key.exact.shape, p.result_shape)
    assert (verdict := key.judge(arithmetic, row)).passed, verdict.reason
    assert (verdict := key.judge_changed(arithmetic, again)).passed, verdict.reason


@pytest.mark.parametrize("result", range(4))
@pytest.mark.parametrize("values", ["integers", "normal"])
def test_one_wrong_element_of_any_result_is_found_and_named(result: int, values: Any) -> None:
    key = oracle_for(Question(problem=LAYER, values=values), GEMM)
    answer = _answer(LAYER, key.operands)
    answer[result].flat[1] += 1
    verdict = key.judge(GEMM, in_a_row(tuple(answer)))
    assert not verdict.passed and verdict.wrong_elements == 1
    name = LAYER.computed[result].replace("_", " ")
    assert verdict.reason is not None and verdict.reason.startswith(f"{name}: ")
    assert verdict.elements == LAYER.result_shape[0]


@settings(max_examples=60, deadline=None)
@given(steps)
def test_integers_are_exact_in_every_part_and_changes_are_powers_of_two(p: ConvProblem) -> None:
    assert exact_magnitude(p, GEMM) <= min(exact_magnitude(part, GEMM) for part in p.parts)
    operands = integer_operands(p, 5, 0)
    factors = change_of_answer(p)
    assert np.array_equal(computed(p, changed(p, operands)), factors * computed(p, operands))
    assert set(np.abs(factors).tolist()) <= {2.0, 4.0}
    assert all(not np.array_equal(array, changed(p, operands).named()[n]) for n, array in operands.named().items())


@settings(max_examples=60, deadline=None)
@given(steps)
def test_with_one_tap_outputs_and_weight_gradients_are_elements_of_the_input(p: ConvProblem) -> None:
    operands = one_tap_operands(p, 0)
    output, input_gradient, weight_gradient, *_ = results(p, computed(p, operands))
    values = {abs(float(value)) for value in operands.x.ravel()} | {0.0}
    assert {abs(value) for value in output.ravel().tolist()} <= values
    assert {abs(value) for value in weight_gradient.ravel().tolist()} <= values
    assert np.array_equal(input_gradient, np.rint(input_gradient))


@pytest.mark.parametrize("name", STEPPING)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(steps)
def test_backends_compute_steps(name: str, p: ConvProblem) -> None:
    backend = BACKENDS[name]
    reads_beside_the_input = name.startswith("torch") and p.dtype == "bfloat16"  # docs/found-by-convbench.md
    if backend.unavailable() or backend.unsupported(p) or reads_beside_the_input:
        return
    magnitude = exact_magnitude(p, backend.arithmetic)
    operands = integer_operands(p, magnitude, 0) if magnitude else normal_operands(p, 0)
    key = oracle_of(p, operands, "integers" if magnitude else "normal")
    ready = operands.prepared_by(backend, p)
    output = ready.run()
    ready.sync()
    verdict = key.judge(backend.arithmetic, in_a_row(ready.to_numpy(output)))
    assert verdict.passed, verdict.reason


def test_some_backends_have_a_step() -> None:
    assert {"torch", "torch-channels-last", "jax", "numpy-gemm"} <= set(STEPPING)


def test_a_step_of_parts_calls_each_part() -> None:
    gate = Gate(LAYER)
    ready = gate.real.operands.prepared_by(BACKENDS["numpy-gemm"], LAYER)
    assert gate.real.judge(GEMM, in_a_row(ready.to_numpy(ready.run()))).passed


def test_a_part_may_compute_several_results_of_a_step() -> None:
    """As a library that computes the gradients of weight and bias in one primitive."""
    gate = Gate(LAYER)
    backend = BACKENDS["numpy-gemm"]
    operands, (forward, of_input, of_weight, of_bias) = gate.real.operands, LAYER.parts
    each = [operands.of(part).prepared_by(backend, part) for part in (forward, of_input, of_weight, of_bias)]
    both = Ready(lambda: [each[2].run(), each[3].run()], to_numpy=tuple)
    ready = in_turn([*each[:2], both])
    answer = ready.to_numpy(ready.run())
    assert tuple(result.shape for result in answer) == LAYER.result_shapes
    assert gate.real.judge(GEMM, in_a_row(answer)).passed


ONEDNN_STEP = """
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.verification.operands import normal_operands
[onednn] = (entry.backend for entry in discover(entry_points=False) if entry.name == "onednn")
problem = ConvProblem.parse("n2c8h9w9_o16k3_p1_bias_step")
ready = normal_operands(problem, 0).prepared_by(onednn, problem)
print("prepared", flush=True)
ready.run()
ready.sync()
print("done", flush=True)
"""


def test_a_step_of_onednn_executes_three_convolutions_and_sums_no_bias_by_itself() -> None:
    if reason := BACKENDS["onednn"].unavailable():
        pytest.skip(reason)
    environment = {**os.environ, "ONEDNN_VERBOSE": "1"}
    words = [sys.executable, "-c", ONEDNN_STEP]
    log = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=240, check=True).stdout
    executed = log.partition("prepared")[2].partition("done")[0].splitlines()
    kinds = [line.split(",") for line in executed if line.startswith("onednn_verbose") and ",exec," in line]
    primitives = [(words[5], words[7]) for words in kinds]
    directions = ["forward_inference", "backward_data", "backward_weights"]
    assert primitives == [("convolution", direction) for direction in directions], executed


def test_what_is_no_tuple_of_results_is_refused_with_a_sentence() -> None:
    def reason(change: Callable[[list[Any]], Any]) -> str:
        operands = normal_operands(LAYER, 0)
        ready = operands.prepared_by(InTurn(change), LAYER)
        answer = in_a_row(ready.to_numpy(ready.run()))
        verdict = oracle_of(LAYER, operands, "normal").judge(GEMM, answer)
        assert not verdict.passed and verdict.check == "output"
        return verdict.reason or ""

    assert "ndarray, not a tuple" in reason(lambda parts: parts[0])
    assert "arrays of shapes ((2, 6, 6, 5), (2, 4, 6, 5))" in reason(lambda parts: tuple(parts[:2]))
    assert "arrays of several dtypes: float32, float64" in reason(lambda p: (*p[:3], p[3].astype(np.float64)))
    swapped = reason(lambda p: (p[0], p[1], p[2].swapaxes(0, 1).reshape(4, 6, 3, 3), p[3]))
    assert "(4, 6, 3, 3)" in swapped and "expected ((2, 6, 6, 5)" in swapped
    assert "has dtype float64" in reason(lambda parts: tuple(p.astype(np.float64) for p in parts))


def test_an_answer_that_is_kept_shows_in_a_step() -> None:
    class Kept(InTurn):
        def prepare_step(self, problem: ConvProblem, x: Any, w: Any, b: Any, g: Any) -> Ready:
            answer = _answer(problem, Operands(x, w, b, g))
            return Ready(lambda: answer, to_numpy=tuple)

    key = oracle_of(LAYER, integer_operands(LAYER, 3, 0), "integers")

    def wrong_phases(backend: Backend) -> set[str]:
        answers = examine(backend, LAYER, key.operands, "contiguous", "few").answers
        judges = [key.judge_changed if answer.phase == CHANGED else key.judge for answer in answers]
        judged = zip(answers, judges, strict=True)
        return {answer.phase for answer, judge in judged if not judge(GEMM, answer.output).passed}

    assert wrong_phases(InTurn()) == set()
    assert "repeated call" in wrong_phases(Kept())


def test_a_plugin_from_before_is_not_asked_for_a_step() -> None:
    reason = WITH_GRADIENTS.reason_against(LAYER)
    assert reason is not None and reason.endswith("only, not step")
