"""A quantised convolution that takes an input's scale of 1 and more for 1: no question has one, and a relation does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convbench.backend import Arithmetic, Backend, QuantizedArithmetic, QuantizedSupport, Ready, Supports
from convbench.problem import ConvProblem, Scales
from convbench.verification.operands import Operands
from convbench.verification.quantized.data import packed
from convbench.verification.quantized.oracle import quantized_result


class ScalesBelowOne(Backend):
    name = "scales-below-one"
    supports = Supports(dtypes=set(), quantized=QuantizedSupport({"u8:u8"}))
    arithmetic = Arithmetic(quantized=QuantizedArithmetic("even", "float64"))

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise NotImplementedError("it has no dtype but int8")

    def prepare_quantized(self, problem: ConvProblem, x: Any, w: Any, b: Any, scales: Scales) -> Ready:
        taken = replace(scales, x_scale=min(1.0, scales.x_scale))
        operands = Operands(x=x.copy(), w=w.copy(), b=None if b is None else b.copy(), s=packed(taken))
        return Ready(lambda: quantized_result(problem, operands))


BACKENDS = (ScalesBelowOne(),)
