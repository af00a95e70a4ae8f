"""The gradients' reference against torch's autograd and against the identities that define an adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import gradient_problems, problems
from torch.nn import functional

from convbench.backend import WITH_GRADIENTS, Arithmetic, Backend, Ready, Supports
from convbench.problem import GRADIENTS, ConvProblem
from convbench.problem.vocabulary import OPERANDS
from convbench.registry import discover
from convbench.verification.bounds import error_bound, parts_added
from convbench.verification.exact_integers import exact_magnitude
from convbench.verification.gradients import computed, unpad
from convbench.verification.operands import (
    Operands,
    changed,
    integer_operands,
    normal_operands,
    one_tap_operands,
    special_operands,
    wide_operands,
)
from convbench.verification.oracle import Oracle
from convbench.verification.reference import pad

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
GEMM, FFT, AUTO = Arithmetic(), Arithmetic("fft"), Arithmetic("auto")
gradients = gradient_problems()
BACKENDS = {entry.name: entry.backend for entry in discover(entry_points=False)}
GRADIENT_BACKENDS = [
    name
    for name, backend in BACKENDS.items()
    if backend.supports.directions > {"forward"} and backend.device == "cpu"
    if name != "torch-compile"  # seconds for each: tests/backends/test_compiled_gradients.py asks it a handful
]
LAYER = ConvProblem(in_channels=3, height=7, width=6, out_channels=4, kernel_size=3, padding=1, batch=2)


def padded(p: ConvProblem, x: torch.Tensor) -> torch.Tensor:
    (top, bottom), (left, right) = p.padding
    return functional.pad(x, (left, right, top, bottom), MODES[p.padding_mode])


def by_autograd(p: ConvProblem, operands: Operands) -> NDArray[np.float64]:
    """The gradient as torch's autograd has it, in float64."""
    shapes = {"x": p.input_shape, "w": p.weight_shape, "b": (p.out_channels,)}
    leaves = {}
    for name, shape in shapes.items():
        array = getattr(operands, name)
        values = np.zeros(shape) if array is None else np.asarray(array, np.float64)
        leaves[name] = torch.from_numpy(values).requires_grad_()
    x, w, b = leaves.values()
    y = functional.conv2d(padded(p, x), w, b, p.stride, 0, p.dilation, p.groups)
    y.backward(torch.from_numpy(np.asarray(operands.g, np.float64)))
    leaf = {"input_gradient": x, "weight_gradient": w, "bias_gradient": b}[p.direction]
    assert leaf.grad is not None
    return leaf.grad.numpy()


def by_unfold(p: ConvProblem, operands: Operands) -> NDArray[np.int64]:
    """The gradient of the weight in int64, by the patches of `Tensor.unfold`: torch has no int64 backward."""
    x = padded(p.replace(dtype="float64"), torch.from_numpy(np.asarray(operands.x, np.float64))).long()
    g = torch.from_numpy(np.asarray(operands.g, np.int64))
    (kh, kw), (sh, sw), (dh, dw) = p.kernel_size, p.stride, p.dilation
    seen = x.unfold(2, dh * (kh - 1) + 1, sh).unfold(3, dw * (kw - 1) + 1, sw)[..., ::dh, ::dw]
    seen = seen.reshape(p.batch, p.groups, -1, *seen.shape[2:])
    of_outputs = g.reshape(p.batch, p.groups, -1, *g.shape[2:])
    sums = (seen[:, :, None] * of_outputs[:, :, :, None, :, :, None, None]).sum((0, 4, 5))
    return sums.reshape(p.weight_shape).numpy()


@settings(max_examples=150, deadline=None)
@given(gradients, st.integers(0, 99))
def test_the_reference_is_what_autograd_computes(p: ConvProblem, seed: int) -> None:
    operands = integer_operands(p, 9, seed)
    expected = by_autograd(p, operands)
    assert expected.shape == p.result_shape
    assert np.array_equal(computed(p, operands), expected)
    assert np.array_equal(computed(p, operands, np.int64), expected)


@settings(max_examples=50, deadline=None)
@given(gradients.filter(lambda p: p.direction == "weight_gradient"))
def test_in_int64_the_weights_gradient_is_a_sum_over_patches(p: ConvProblem) -> None:
    operands = integer_operands(p, 9, 0)
    assert np.array_equal(computed(p, operands, np.int64), by_unfold(p, operands))


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(0, 99))
def test_gradients_are_adjoints_of_the_convolution(p: ConvProblem, seed: int) -> None:
    """<conv(x, w), g> = <x, dx> = <w, dw>, in int64."""
    forward = p.replace(direction="forward", bias=False)
    rng = np.random.default_rng(seed)
    x, w, g = (rng.integers(-9, 10, s) for s in (p.input_shape, p.weight_shape, p.output_shape))
    y = computed(forward, Operands(x, w), np.int64)
    dx = computed(p.replace(direction="input_gradient"), Operands(w=w, g=g), np.int64)
    dw = computed(p.replace(direction="weight_gradient"), Operands(x=x, g=g), np.int64)
    db = computed(p.replace(direction="bias_gradient", bias=True), Operands(g=g), np.int64)
    assert (y * g).sum() == (x * dx).sum() == (w * dw).sum()
    assert np.array_equal(db, [g[:, o].sum() for o in range(p.out_channels)])


@settings(max_examples=100, deadline=None)
@given(problems())
def test_unpad_is_the_adjoint_of_pad(p: ConvProblem) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, p.input_shape)
    larger = pad(p, x)
    v = rng.integers(-9, 10, larger.shape)
    assert unpad(p, v).shape == x.shape and (larger * v).sum() == (x * unpad(p, v)).sum()


def test_what_no_output_reads_has_a_gradient_of_zero() -> None:
    p = LAYER.replace(kernel_size=1, stride=3, padding=0, direction="input_gradient")
    dx = computed(p, integer_operands(p, 3, 0))
    assert np.count_nonzero(dx[:, :, ::3, ::3]) > 0
    dx[:, :, ::3, ::3] = 0
    assert not dx.any()


def test_a_kernel_that_sees_padding_alone_sends_nothing_back() -> None:
    p = LAYER.replace(kernel_size=1, padding=((9, 0), (0, 0)), direction="weight_gradient")
    operands = integer_operands(p, 3, 0)
    operands.g[:, :, 9:] = 0
    assert not computed(p, operands).any()


@settings(max_examples=200, deadline=None)
@given(gradients)
def test_no_more_is_summed_than_the_problem_says(p: ConvProblem) -> None:
    """Of ones, each result is the number of its terms."""
    terms = computed(p, integer_operands(p, 1, 0).map(np.ones_like))
    assert terms.max() <= p.reduction_length


@settings(max_examples=60, deadline=None)
@given(gradients.filter(lambda p: p.direction != "bias_gradient"), st.sampled_from([GEMM, FFT, AUTO]))
def test_integers_are_exact_in_any_order(p: ConvProblem, arithmetic: Arithmetic) -> None:
    p = p.replace(dtype="float32")
    magnitude = exact_magnitude(p, arithmetic)
    assert magnitude > 0
    sizes = integer_operands(p, magnitude, 0).map(np.abs)
    exact = computed(p, sizes)
    assert exact.max() <= 2**24
    if arithmetic is not GEMM:
        one, other = (sizes.named()[name] for name in OPERANDS[p.direction])
        assert (error_bound(p, arithmetic, exact, exact, one, other) < 0.5).all()


def test_each_copy_of_a_pixel_may_lose_a_gradient_below_the_smallest_number() -> None:
    p = ConvProblem.parse("n1c1h2w2_o1k1_p1_reflect_f16_dgrad")
    g, w = np.full(p.operand_shapes["g"], 2.0**-24, np.float16), np.full((1, 1, 1, 1), 0.49, np.float16)
    exact = computed(p, Operands(w=w, g=g))
    answer = unpad(p, (g.astype(np.float64) * w.astype(np.float64)).astype(np.float16).astype(np.float64))
    assert not answer.any() and (exact > 3.9 * 0.49 * 2.0**-24).all()
    assert (np.abs(answer - exact) <= error_bound(p, GEMM, exact, exact, g, w)).all()


@settings(max_examples=100, deadline=None)
@given(gradients, st.sampled_from([normal_operands, wide_operands, one_tap_operands, special_operands]))
def test_operands_are_those_of_the_direction(p: ConvProblem, draw: Any) -> None:
    operands = draw(p, 1)
    assert {name: array.shape for name, array in operands.named().items()} == p.operand_shapes
    again = draw(p, 1).named()
    assert all(np.array_equal(array, again[name], equal_nan=True) for name, array in operands.named().items())


@settings(max_examples=100, deadline=None)
@given(gradients)
def test_with_one_tap_a_result_is_one_element(p: ConvProblem) -> None:
    operands = one_tap_operands(p, 0)
    full = next(iter(operands.named().values())) if p.direction == "weight_gradient" else operands.g
    values = {abs(float(value)) for value in full.ravel()} | {0.0}
    if parts_added(p, GEMM) == 1:
        assert {abs(float(value)) for value in computed(p, operands).ravel()} <= values


@settings(max_examples=60, deadline=None)
@given(gradients)
def test_changed_operands_give_minus_twice_the_answer(p: ConvProblem) -> None:
    operands = integer_operands(p, 5, 0)
    assert np.array_equal(computed(p, changed(p, operands)), -2 * computed(p, operands))


@settings(max_examples=60, deadline=None)
@given(gradients, st.integers(0, 9))
def test_a_float64_sum_in_float32_is_within_its_bound_and_a_wrong_one_is_not(p: ConvProblem, seed: int) -> None:
    p = p.replace(dtype="float32")
    key = Oracle(p, normal_operands(p, seed), "normal")
    right = by_autograd(p, key.operands).astype(np.float32)
    assert key.judge(GEMM, right).passed and key.judge(AUTO, right).passed and key.judge(FFT, right).passed
    assert not key.judge(GEMM, np.zeros_like(right)).passed or not key.exact.any()
    assert "expected" in (key.judge(GEMM, right[..., None]).reason or "")


# --- backends ---------------------------------------------------------------------------------------------------------


def _reads_beside_the_input(name: str, p: ConvProblem) -> bool:
    """Where torch 2.13 on oneDNN gives NaN now and then, by what lies in memory (docs/found-by-convbench.md)."""
    return name.startswith("torch") and p.dtype == "bfloat16" and p.direction == "weight_gradient"


@pytest.mark.parametrize("name", GRADIENT_BACKENDS)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(gradients)
def test_backends_compute_gradients(name: str, p: ConvProblem) -> None:
    backend = BACKENDS[name]
    if backend.unavailable() or backend.unsupported(p) or _reads_beside_the_input(name, p):
        return
    magnitude = exact_magnitude(p, backend.arithmetic)
    values = "integers" if magnitude else "normal"
    key = Oracle(p, integer_operands(p, magnitude, 0) if magnitude else normal_operands(p, 0), values)
    ready = key.operands.prepared_by(backend, p)
    output = ready.run()
    ready.sync()
    verdict = key.judge(backend.arithmetic, ready.to_numpy(output))
    assert verdict.passed, verdict.reason


def test_a_backend_that_names_no_gradients_computes_forward_only() -> None:
    reason = Supports().reason_against(LAYER.replace(direction="weight_gradient"))
    assert reason == "computes forward only, not weight_gradient"
    assert WITH_GRADIENTS.reason_against(LAYER.replace(direction="weight_gradient")) is None


def test_a_backend_that_declares_a_gradient_and_has_none_says_so() -> None:
    class Fake(Backend):
        name = "fake"
        supports = WITH_GRADIENTS

        def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
            return Ready(lambda: x)

    for direction in GRADIENTS:
        p = LAYER.replace(direction=direction, bias=True)
        with pytest.raises(NotImplementedError, match=f"declares {direction} and has no prepare_gradient"):
            normal_operands(p, 0).prepared_by(Fake(), p)
