"""How large integers may be for a problem to be computed without rounding, by what a backend declares."""

from __future__ import annotations

import math

from convbench.backend import Arithmetic
from convbench.problem import ConvProblem
from convbench.verification.bounds import (
    LARGEST_EXACT_INTEGER,
    UNIT_ROUNDOFF,
    fft_error_factor,
    gamma,
    norms_of_ones,
    parts_added,
    winograd_error_factor,
)
from convbench.verification.operands import changes_of_results


def exact_magnitude(problem: ConvProblem, arithmetic: Arithmetic) -> int:
    """The largest a for which integers in [-a, a] leave no room for rounding; 0 when no such a exists. Of a step, the
    least of its parts.

    Direct and matrix-product methods: every partial sum, whatever the order, is at most (K + 1) a^2 in size, which must
    be an integer that the accumulator holds exactly, below the overflow of the output. Where parts are added in the
    problem's dtype, as gradients of elements that padding repeats, that must hold it, too. FFT and Winograd round in
    between; there the a-priori error must stay below 1/2, so that rounding to the nearest integer gives the answer,
    which the output must hold exactly.
    """
    times = max(map(abs, changes_of_results(problem)))  # so many times an answer is asked for, too
    return min(_exact_magnitude(part, arithmetic, times) for part in problem.parts)


def _exact_magnitude(problem: ConvProblem, arithmetic: Arithmetic, times: int) -> int:
    terms = problem.reduction_length + 1 + ("r" in problem.operand_shapes)
    accumulate = arithmetic.accumulate_precision(problem.dtype)
    largest_sum = LARGEST_EXACT_INTEGER[accumulate]
    if problem.dtype == "float16":
        largest_sum = min(largest_sum, 65504 // times)
    if arithmetic.algorithm in ("fft", "winograd", "auto") or parts_added(problem, arithmetic) > 1:
        largest_sum = min(largest_sum, LARGEST_EXACT_INTEGER[problem.dtype])
    if arithmetic.epilogue_in_dtype and problem.epilogue is not None:
        largest_sum = min(largest_sum, LARGEST_EXACT_INTEGER[problem.dtype])
    if arithmetic.output:
        largest_sum = min(largest_sum, LARGEST_EXACT_INTEGER[arithmetic.output])
    operand = LARGEST_EXACT_INTEGER[arithmetic.operand_precision(problem.dtype)]
    most = min(operand, LARGEST_EXACT_INTEGER[problem.dtype])
    if problem.direction == "bias_gradient":  # a sum, and no products
        return min(most, largest_sum // terms)
    return min(most, math.isqrt(largest_sum // terms), _largest_before_rounding(problem, arithmetic))


def _largest_before_rounding(problem: ConvProblem, arithmetic: Arithmetic) -> int:
    """The largest a for which what a transform rounds stays below 1/2."""
    terms = problem.reduction_length + 1
    u = UNIT_ROUNDOFF[arithmetic.accumulate_precision(problem.dtype)]
    of_sums = (u + gamma(terms, UNIT_ROUNDOFF["float64"])) * terms
    if arithmetic.algorithm == "fft":
        return _root_below(0.5, fft_error_factor(problem) * u * norms_of_ones(problem) + of_sums)
    if arithmetic.algorithm in ("winograd", "auto"):
        return _root_below(0.5, winograd_error_factor(problem) * u * problem.reduction_length + of_sums)
    return LARGEST_EXACT_INTEGER["float64"]


def _root_below(limit: float, factor: float) -> int:
    """The largest integer a with factor * a^2 < limit."""
    a = math.floor(math.sqrt(limit / factor))
    return a if factor * a * a < limit else a - 1
