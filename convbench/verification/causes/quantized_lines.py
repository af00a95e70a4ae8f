"""A quantised question as lines of NumPy: its scales, and which integers are right for exact sums."""

from __future__ import annotations

import numpy as np

from convbench.backend import Arithmetic
from convbench.problem.quantization import LIMITS
from convbench.verification.causes.operand_lines import literal
from convbench.verification.operands import Operands
from convbench.verification.quantized.oracle import QuantizedOracle

MOST_NUMBERS = 4096
"""Numbers to write out, all arrays together. No short lines draw them again."""
CHANGED = "~x, ~w, None if b is None else ~b"
"""Other operands in the same formats, for the same scales."""
_NEAREST = {
    "even": "np.rint(v) + y_zero",
    "even-with-zero-point": "np.rint(v + y_zero)",
    "away": "np.trunc(v + np.copysign(0.5, v)) + y_zero",
    "up": "np.floor(v + 0.5) + y_zero",
    "any": "np.rint(v) + y_zero",
}


def quantized_operand_lines(operands: Operands) -> list[str] | None:
    """Lines that define `x`, `w`, `b` and the scales; None for operands that are too large to write out."""
    arrays = {name: array for name, array in operands.named().items() if name != "s"}
    if sum(array.size for array in arrays.values()) > MOST_NUMBERS:
        return None
    scales = operands.scales
    return [
        *(line for name, array in arrays.items() for line in literal(name, array)),
        *(["b = None"] if operands.b is None else []),
        f"x_scale, x_zero, y_scale, y_zero = {scales.x_scale!r}, {scales.x_zero}, {scales.y_scale!r}, {scales.y_zero}",
        *literal("w_scale", scales.w_scale),
        *literal("w_zero", scales.w_zero),
    ]


def quantized_verdict_lines(oracle: QuantizedOracle, arithmetic: Arithmetic) -> list[str]:
    """Lines from `out` to `expected` and `wrong`, with `computed` defined by `definition_lines`."""
    result = oracle.quantization.result
    sums = "sums = computed(x.astype(np.float64) - x_zero, w - w_zero.astype(np.float64).reshape(-1, 1, 1, 1), b)"
    if result == "s32":
        return [sums, "expected = sums.astype(np.int32)  # exact", "wrong = out != expected"]
    scale = "(x_scale * w_scale.astype(np.float64) / y_scale).reshape(-1, 1, 1)"
    lines = [sums, f"scale = {scale}", "v = sums * scale"]
    bias = "" if oracle.operands.b is None else " + 2 * np.abs(b.reshape(-1, 1, 1) * scale)"
    if result == "f32":
        return [
            *lines,
            "expected = v.astype(np.float32)",
            f"error = 6 * 2.0**-24 * (np.abs(v){bias}) + 2.0**-126  # roundings in float32",
            "wrong = ~(np.abs(out - v) <= error)",
        ]
    low, high = LIMITS[result]
    words, rounded = arithmetic.quantized, oracle.requantization.admitted(arithmetic.quantized)
    lines.append(f"expected = np.clip({_NEAREST[words.halves]}, {low}, {high})")
    if np.array_equal(rounded.least, rounded.largest):
        return [*lines, "wrong = out != expected"]
    error = {"float32": "6 * 2.0**-24", "float64": "6 * 2.0**-53"}.get(words.multiplier)
    by_size = f"{error} * (np.abs(v){bias} + abs(y_zero))"
    return [
        *lines,
        f"error = {by_size if error else '2.0**-29 * np.abs(v) + np.minimum(scale, 0.5)'}  # what rounding explains",
        f"least = np.clip(np.ceil(v - error - 0.5) + y_zero, {low}, {high})",
        f"most = np.clip(np.floor(v + error + 0.5) + y_zero, {low}, {high})",
        "wrong = (out < least) | (out > most)",
    ]
