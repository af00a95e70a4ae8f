"""Relations of scales and zero points: numbers of another format, or of other scales, that stand for the same.

In a problem without a zero point of its input or its result that one is 0; restated, it may be another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from convbench.problem import ConvProblem, Quantization
from convbench.problem.quantization import LIMITS, QuantizedResult
from convbench.verification.operands import Operands
from convbench.verification.relations.relation import Array, Part, relation

_SHIFT = 128
_OTHER: dict[str, Literal["u8", "s8"]] = {"u8": "s8", "s8": "u8"}


def _quantization(problem: ConvProblem) -> Quantization:
    assert problem.quantization is not None
    return problem.quantization


def _replaced(problem: ConvProblem, **changes: Any) -> ConvProblem:
    return problem.replace(quantization=replace(_quantization(problem), **changes))


def _scaled(operands: Operands, **numbers: Any) -> Array:
    """The scales with some of the first four numbers changed, and those of the weight multiplied."""
    s = np.array(operands.s)
    for place, name in enumerate(("x_scale", "x_zero", "y_scale", "y_zero")):
        s[place] = numbers.get(name, s[place])
    s[4 : 4 + (len(s) - 4) // 2] *= numbers.get("of_weight", 1.0)
    return s


@relation(
    "other format of the input",
    "uint8 is int8 with a zero point that is 128 less",
    lambda problem: problem.quantization is not None,
)
def _other_input(problem: ConvProblem, operands: Operands) -> list[Part]:
    """The highest bit turned over, and the zero point with it."""
    other = _OTHER[_quantization(problem).input]
    shift = -_SHIFT if other == "s8" else _SHIFT
    x = (operands.x.astype(np.int64) + shift).astype({"u8": np.uint8, "s8": np.int8}[other])
    part = _replaced(problem, input=other, input_zero_point=True)
    return [(part, replace(operands, x=x, s=_scaled(operands, x_zero=operands.scales.x_zero + shift)))]


@relation(
    "both signs changed",
    "the product of an input and a weight is that of both with the other sign",
    lambda problem: problem.quantization is not None,
)
def _both_signs(problem: ConvProblem, operands: Operands) -> list[Part]:
    """The input and its zero point from the other end of the format; the weight and its zero points negated."""
    if operands.w.min() == -_SHIFT or operands.scales.w_zero.min() == -_SHIFT:
        return []
    ends = sum(LIMITS[_quantization(problem).input])
    s = _scaled(operands, x_zero=ends - operands.scales.x_zero)
    s[4 + (len(s) - 4) // 2 :] *= -1
    part = _replaced(problem, input_zero_point=True)
    return [(part, replace(operands, x=~operands.x, w=-operands.w, s=s))]


@relation(
    "other scales",
    "scales count by x_scale * w_scale / y_scale alone",
    lambda problem: problem.quantization is not None and problem.quantization.result != "s32",
)
def _other_scales(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Powers of two, whose products are exact: the input's becomes more than 1, where quantisers leave it far below."""
    scales, is_requantized = operands.scales, _quantization(problem).is_requantized
    y_scale = scales.y_scale * (256 if is_requantized else 1)
    of_weight = 1 / 4 if is_requantized else 1 / 1024
    s = _scaled(operands, x_scale=scales.x_scale * 1024, y_scale=y_scale, of_weight=of_weight)
    return [(problem, replace(operands, s=s))]


@relation(
    "other format of the result",
    "a result of int8 is that of uint8 with a zero point that is 128 more, and 128 off",
    lambda problem: problem.quantization is not None and problem.quantization.is_requantized,
    lambda problem, outputs: _shifted_back(problem, outputs[0]),
)
def _other_result(problem: ConvProblem, operands: Operands) -> list[Part]:
    other: QuantizedResult = _OTHER[_quantization(problem).result]
    shift = -_SHIFT if other == "s8" else _SHIFT
    s = _scaled(operands, y_zero=operands.scales.y_zero + shift)
    return [(_replaced(problem, result=other, result_zero_point=True), replace(operands, s=s))]


def _shifted_back(problem: ConvProblem, output: Array) -> Array:
    shift = _SHIFT if _quantization(problem).result == "u8" else -_SHIFT
    return np.asarray((output.astype(np.int64) + shift).astype(_quantization(problem).dtypes["y"]))


@relation(
    "a scale for each channel",
    "one scale for the whole weight is that scale for each channel",
    lambda problem: problem.quantization is not None and not problem.quantization.per_channel,
)
def _scale_for_each(problem: ConvProblem, operands: Operands) -> list[Part]:
    s = np.concatenate([operands.s[:4], *(np.repeat(number, problem.out_channels) for number in operands.s[4:])])
    return [(_replaced(problem, per_channel=True), replace(operands, s=s))]


OF_QUANTIZATIONS = (_other_input, _both_signs, _other_scales, _other_result, _scale_for_each)
