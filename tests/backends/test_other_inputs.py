"""`Ready.on`: every backend that takes another input than it was prepared with answers as to that input, and verifying
finds those that do not."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import convbench.backends
import numpy as np
import pytest

from convbench.backend import WHOLE_OF_CONV2D, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem
from convbench.verification.adversarial_calls import GIVEN, Behaviour, examine
from convbench.verification.operands import normal_operands
from convbench.verification.reference import convolve

CASES = (
    "n2c16h9w11_o32k3_p1_bias",
    "n1c8h7w7_o8k3_s2_p1_g8",
    "n2c4h6w6_o3k2_pt1b0l2r1_bf16",
    "n1c4h6w6_o3k3_p1_reflect_f64",
    "n1c4h5w5_o6k1",
)
FILES = sorted(m.name for m in pkgutil.iter_modules(convbench.backends.__path__) if not m.name.startswith("_"))
BACKENDS = [b for file in FILES for b in importlib.import_module(f"convbench.backends.{file}").BACKENDS]
OF_THE_CPU = [backend for backend in BACKENDS if backend.device == "cpu" and backend.name != "torch-compile"]


@pytest.mark.parametrize("backend", OF_THE_CPU, ids=lambda backend: backend.name)
def test_another_input_is_answered_as_if_it_was_prepared_with(backend: Backend) -> None:
    if reason := backend.unavailable():
        pytest.skip(reason)
    asked, reasons = 0, []
    for case_id in CASES:
        problem = ConvProblem.parse(case_id)
        if reason := backend.unsupported(problem):
            reasons.append(reason)
            continue
        one, other = normal_operands(problem, 0), normal_operands(problem, 1)
        on = backend.prepare(problem, one.x, one.w, one.b).on
        if "numpy" not in on:
            pytest.skip("takes no other input")
        ready = backend.prepare(problem, other.x, one.w, one.b)
        expected = np.array(ready.to_numpy(ready.run()))
        x = np.ascontiguousarray(other.x)
        locked = x.copy()
        locked.flags.writeable = False
        answers = [on["numpy"](x), on["numpy"](locked), on["numpy"](np.zeros_like(x))]
        if "torch" in on:
            from convbench.backends._torch.tensors import tensor, to_numpy

            answers.insert(0, to_numpy(on["torch"](tensor(x))))
        for answer in answers[:-1]:
            assert (answer.shape, answer.dtype) == (expected.shape, expected.dtype)
            assert answer.flags.writeable
            # The last bits may depend on where operands lie.
            assert np.allclose(answer.astype(np.float64), expected.astype(np.float64), 1e-2, 1e-5), case_id
        assert x.tobytes() == np.ascontiguousarray(other.x).tobytes()
        asked += 1
    if not asked:  # as where the CPU lacks the instructions of a half format
        pytest.skip("; ".join(dict.fromkeys(reasons)))


@pytest.mark.parametrize("backend", OF_THE_CPU, ids=lambda backend: backend.name)
def test_a_single_row_with_a_negative_stride_is_contiguous_and_taken(backend: Backend) -> None:
    problem = ConvProblem.parse("n1c2h1w5_o3k1")
    if reason := backend.unavailable() or backend.unsupported(problem):
        pytest.skip(reason)
    given = normal_operands(problem, 0)
    on = backend.prepare(problem, given.x, given.w, given.b).on
    reversed_row = np.ascontiguousarray(given.x)[:, :, ::-1]
    assert reversed_row.flags.c_contiguous
    assert reversed_row.strides[2] < 0
    for answer in [on["numpy"](reversed_row)] if "numpy" in on else []:
        assert np.allclose(answer, convolve(problem, given.x, given.w, given.b), 1e-2, 1e-5)


class _Fake(Backend):
    """The reference; `fault` is what is wrong about `on`."""

    name, supports, arithmetic = "fake", WHOLE_OF_CONV2D, Arithmetic("direct")

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        bound, w, b = x.copy(), w.copy(), None if b is None else b.copy()
        shared = np.empty(problem.output_shape, x.dtype)

        def right(x: Any) -> Any:
            return convolve(problem, x, w, b).astype(x.dtype)

        def on(x: Any) -> Any:
            if self.fault == "the input bound":
                return right(bound)
            if self.fault == "memory shared":
                shared[...] = right(x)
                return shared
            answer = right(x)
            if self.fault == "input written to":
                x[...] = 0
            return answer

        return Ready(lambda: right(bound), on={"numpy": on})


@pytest.mark.parametrize("fault", ["", "the input bound", "memory shared", "input written to"])
def test_a_function_that_is_wrong_is_found_by_verifying(fault: str) -> None:
    problem = ConvProblem.parse("n1c2h5w5_o3k3_p1_bias")
    found: Behaviour = examine(_Fake(fault), problem, normal_operands(problem, 0), "contiguous", "many")
    phases = {answer.phase for answer in found.answers}
    assert (GIVEN in phases) == (fault in ("the input bound", "memory shared"))
    assert (found.overwritten is not None) == (fault == "input written to")
