"""The oracle of quantised problems: exact sums, and the judge of integers.

An answer is right where it is one of the results that `Requantization` admits. Sums (s32) are equal or wrong. A result
in float32 has a bound, for a few roundings behind the sum: 6 u (|sum| + 2 |b|) x_scale w_scale[o], with u = 2^-24.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic
from convbench.problem import ConvProblem, Quantization
from convbench.verification.bounds import LARGEST_EXACT_INTEGER, WARN_LAMBDA, gamma
from convbench.verification.operands import Operands, complemented, result_dtype
from convbench.verification.quantized.likely_mistakes import likely_mistake
from convbench.verification.quantized.requantization import Admitted, Floats, Requantization
from convbench.verification.reference import convolve
from convbench.verification.verdict import Check, Verdict, refusal

_HALF = 0.5
_ROUNDINGS, _UNIT = 6, 2.0**-24
_SMALLEST = 2.0**-126
_LARGEST_UNCLAMPED = 64.24


def zeroed(problem: ConvProblem, operands: Operands) -> tuple[Floats, Floats]:
    """The input and the weight less their zero points, in float64, where padding is 0."""
    scales = operands.scales
    w_zero = scales.w_zero.astype(np.float64).reshape(-1, 1, 1, 1)
    return operands.x.astype(np.float64) - scales.x_zero, operands.w.astype(np.float64) - w_zero


def exact_sums(problem: ConvProblem, operands: Operands) -> Floats:
    """sum[o] of every element, bias included: integers below 2^31, which float64 adds without rounding."""
    return convolve(problem, *zeroed(problem, operands), operands.b)


class QuantizedOracle:
    """Judges answers of any backend for quantised `operands` of the kind `values`."""

    def __init__(self, problem: ConvProblem, operands: Operands, values: Any) -> None:
        assert problem.quantization is not None
        self.problem = problem
        self.operands = operands
        self.values = values

    @property
    def quantization(self) -> Quantization:
        assert self.problem.quantization is not None
        return self.problem.quantization

    @cached_property
    def sums(self) -> Floats:
        return exact_sums(self.problem, self.operands)

    @cached_property
    def requantization(self) -> Requantization:
        bias = np.zeros(self.problem.out_channels) if self.operands.b is None else self.operands.b.astype(np.float64)
        return Requantization(self.quantization, self.operands.scales, self.sums, bias)

    @property
    def exact(self) -> Floats:
        """The right result with halves to even, of `problem.result_shape` in float64."""
        return self._admitted(Arithmetic(), 0.0).right

    def solve(self) -> None:
        """Compute now what `judge` will need of right answers."""
        _ = self.sums

    def judge(self, arithmetic: Arithmetic, output: Any, spare: float = 0.0) -> Verdict:
        """The verdict on `output` as the answer of a backend that computes by `arithmetic`."""
        verdict = refusal(self.problem, output) or self._judged(arithmetic, output)
        if verdict.passed or not arithmetic.quantized.halves_weights_of(self.quantization):
            return verdict
        halved = self._with_halved_weights._judged(arithmetic, output)
        return halved if halved.wrong_elements < verdict.wrong_elements else verdict

    def _judged(self, arithmetic: Arithmetic, output: Any) -> Verdict:
        """The verdict for the weights as they are."""
        slack = self._saturation if arithmetic.quantized.saturates_on(self.quantization) else 0.0
        admitted = self._admitted(arithmetic, slack + self._float_error(arithmetic))
        got = output.astype(np.float64)
        verdict = _judged(got, admitted, in_steps=self.quantization.result != "f32")
        if verdict.passed:
            return verdict
        mistake = likely_mistake(self.problem, self.operands, self.requantization, arithmetic.quantized, got)
        return replace(verdict, reason=f"{verdict.reason}, {mistake}") if mistake else verdict

    def leeway(self, arithmetic: Arithmetic) -> Floats:
        """How far two right answers by this arithmetic may differ, element by element: what its rounding leaves open.
        Sums may not."""
        admitted = self._admitted(arithmetic, self._float_error(arithmetic))
        return np.asarray(admitted.largest - admitted.least)

    def judge_changed(self, arithmetic: Arithmetic, output: Any) -> Verdict:
        """The verdict on an answer for operands that were changed by `complemented`."""
        return QuantizedOracle(self.problem, complemented(self.problem, self.operands), self.values).judge(
            arithmetic, output
        )

    def _admitted(self, arithmetic: Arithmetic, slack: Floats | float) -> Admitted:
        if self.quantization.is_requantized:
            return self.requantization.admitted(arithmetic.quantized, slack)
        if self.quantization.result == "s32":
            return Admitted(self.sums, self.sums - slack, self.sums + slack)
        real, multiplier = self.requantization.real, self.requantization.multiplier
        bias = np.abs(self.requantization.bias).reshape(-1, 1, 1)
        error = _ROUNDINGS * _UNIT * (np.abs(self.sums) + 2 * bias) * multiplier + slack * multiplier + _SMALLEST
        return Admitted(real, real - error, real + error)

    @cached_property
    def _with_halved_weights(self) -> QuantizedOracle:
        """The same with every weight rounded to an even integer as halving does it, in int16, since 127 becomes 128."""
        even = (2 * np.rint(self.operands.w / 2)).astype(np.int16)
        return QuantizedOracle(self.problem, replace(self.operands, w=even), self.values)

    def _float_error(self, arithmetic: Arithmetic) -> Floats | float:
        """How far a sum may be off, in units of the exact one, that is one of dequantised numbers in float32."""
        return self._error_of_float_sums if arithmetic.quantized.adds_floats_on(self.quantization) else 0.0

    @cached_property
    def _error_of_float_sums(self) -> Floats:
        """Each operand is rounded once, and K products are added: lambda sqrt(K) u S with S = sum |x||w| + |b|, which
        rounding errors exceed with a probability below 1e-13 (Higham and Mary 2019, lambda = 8), since K u S, which
        they never exceed, is more than a step for layers of usual size. 0 where nothing rounds."""
        x, w = zeroed(self.problem, self.operands)
        bias = None if self.operands.b is None else np.abs(self.operands.b.astype(np.float64))
        sizes = convolve(self.problem, np.abs(x), np.abs(w), bias)
        terms = self.problem.reduction_length + self.problem.bias + 2
        factor = min(gamma(terms, _UNIT), WARN_LAMBDA * math.sqrt(terms) * _UNIT)
        exact = self.requantization.scales_are_powers_of_two & (sizes <= LARGEST_EXACT_INTEGER["float32"])
        return np.where(exact, 0.0, factor * sizes)

    @cached_property
    def _saturation(self) -> Floats:
        """The most that clamping sums of two products to 16 bits can change a sum, in whatever pairs.

        For products a and b it takes |a| + |b| - 32767 off, at the most: what each is above 16383.5, together. With
        inputs of up to 255 that is at most |x| (|w| - 64.24), so a sum over single products.
        """
        x, x_zero = self.operands.x.astype(np.float64), float(self.operands.scales.x_zero)
        if self.quantization.input == "s8":  # which some libraries shift to unsigned numbers
            x, x_zero = np.maximum(np.abs(x), x + 128), max(abs(x_zero), x_zero + 128)
        above = np.maximum(0.0, np.abs(self.operands.w.astype(np.float64)) - _LARGEST_UNCLAMPED)
        if not above.any():
            return np.zeros(self.problem.output_shape)
        everywhere = x_zero * above.sum((1, 2, 3)).reshape(-1, 1, 1)  # padding holds the zero point
        return np.asarray(convolve(self.problem, x - x_zero, above, None) + everywhere)


def _judged(got: Floats, admitted: Admitted, *, in_steps: bool) -> Verdict:
    """Every element within what is admitted. In steps, an error is a whole number of them, and half a step is rounding;
    `error_over_bound` is the error over the steps allowed and that half."""
    with np.errstate(invalid="ignore"):
        error = np.abs(got - admitted.right)
        wrong = ~((got >= admitted.least) & (got <= admitted.largest))
    error[np.isnan(error)] = np.inf
    allowed = np.maximum(admitted.right - admitted.least, admitted.largest - admitted.right)
    over = error / (allowed + _HALF if in_steps else allowed)
    ranked = np.where(wrong, 2 + over, over)  # what is wrong on the narrower side counts more
    worst = np.unravel_index(int(np.argmax(ranked)), error.shape)
    count = int(np.count_nonzero(wrong))
    at, actual, right = tuple(map(int, worst)), float(got[worst]), float(admitted.right[worst])
    check: Check = "exact" if in_steps else "bound"
    ratio = float(over[worst]) if not count else max(float(over[worst]), math.nextafter(1, 2))
    reason = None
    if count:
        digits = 17 if in_steps else 9
        how = f"{error[worst]:.0f} off" if in_steps else f"{ratio:.3g} times the error bound"
        reason = (
            f"{check} check: {count:,} of {got.size:,} elements wrong; at {list(at)} got {actual:.{digits}g}, "
            f"expected {right:.{digits}g} ({how})"
        )
    return Verdict(check, not count, ratio, float(error.max()), False, at, actual, right, count, got.size, reason)


def quantized_result(problem: ConvProblem, operands: Operands) -> NDArray[Any]:
    """The right answer with halves to even, in the result's dtype."""
    return QuantizedOracle(problem, operands, "integers").exact.astype(result_dtype(problem))
