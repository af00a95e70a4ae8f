"""A quantised convolution of ncnn: a layer whose weights are int8 and have scales, as `ncnn2int8` writes it.

Its int8 is symmetric, [-127, 127], without zero points; the scales in a net are those that numbers are multiplied by,
so 1 / scale. With a scale for the result the layer gives int8 to the next one, and float32 without.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from convbench.backend import QuantizedArithmetic, QuantizedSupport
from convbench.problem import ConvProblem, Scales

if TYPE_CHECKING:
    import numpy as np

SUPPORT = QuantizedSupport({"s8:s8", "s8:f32"}, input_zero_point=False, result_zero_point=False)
# float2int8 in src/layer/x86/x86_usability.h rounds as C's round, and clamps to [-127, 127].
ARITHMETIC = QuantizedArithmetic("away", least_weight=-127, symmetric=True)
_INT8 = 0x000D4B38  # in src/modelbin.cpp: what follows is int8


def reason_against(problem: ConvProblem) -> str | None:
    """Why ncnn does not compute `problem`, which it has the formats for; None when it does."""
    assert problem.quantization is not None
    if min(map(min, problem.padding)) < 0:
        return "its layer that crops takes vectors of int8 for vectors of float32, and writes beyond its memory"
    if 1 < problem.groups < problem.out_channels and problem.quantization.per_channel:
        return "takes a weight scale for each group only, and a group has several channels here"
    return None


def weights(problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales) -> bytes:
    """The file of the layer's weights: int8 up to a multiple of four bytes, bias, and the scales."""
    import numpy as np

    assert problem.quantization is not None
    count = problem.out_channels if problem.groups == 1 else problem.groups
    w_scale = np.broadcast_to(scales.w_scale, (count,)).astype(np.float64)
    numbers = [1 / w_scale, np.array([1 / scales.x_scale])]
    if b is not None:
        numbers.insert(0, b * (scales.x_scale * scales.w_scale.astype(np.float64)))
    if problem.quantization.is_requantized:
        numbers.append(np.array([1 / scales.y_scale]))
    of_weight = np.ascontiguousarray(w).tobytes()
    parts = [np.array(_INT8, np.uint32).tobytes(), of_weight, bytes(-len(of_weight) % 4)]
    return b"".join([*parts, *(part.astype(np.float32).tobytes() for part in numbers)])


def weights_code(problem: ConvProblem) -> str:
    """The code of `weights`, as the list of the file's parts."""
    assert problem.quantization is not None
    count = problem.out_channels if problem.groups == 1 else problem.groups
    numbers = ["b * (x_scale * w_scale.astype(np.float64))"] if problem.bias else []
    numbers += [f"1 / np.broadcast_to(w_scale, ({count},)).astype(np.float64)", "[1 / x_scale]"]
    numbers += ["[1 / y_scale]"] if problem.quantization.is_requantized else []
    return "\n".join(
        [
            f"weights = [np.array(0x{_INT8:08X}, np.uint32).tobytes()]  # int8 follows",
            f"weights += [w.tobytes(), bytes({-math.prod(problem.weight_shape) % 4})]",
            f"weights += [np.array(a, np.float32).tobytes() for a in ({', '.join(numbers)})]",
        ]
    )


def result_letter(problem: ConvProblem) -> str:
    """ncnn's letter for the format of the result: int8 or float32."""
    assert problem.quantization is not None
    return "b" if problem.quantization.is_requantized else "f"


def to_numpy(problem: ConvProblem, output: Any) -> np.ndarray:
    """The values of a blob without packing."""
    import numpy as np

    return np.array(output.numpy(result_letter(problem), 0)).reshape(problem.output_shape)
