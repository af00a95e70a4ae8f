"""A quantised convolution as a StableHLO module in NHWC: int8 by int8 to int32, then the scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench.problem.quantization import LIMITS

from .._int8_correction import correction, multiplier, shifted_zero
from .convolution import padded_by_mode, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from convbench.problem import ConvProblem, Scales


def operands(
    problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
) -> list[np.ndarray]:
    """What the module's function takes. The bytes of uint8 are passed on as int8."""
    import numpy as np

    input_ = x.transpose(0, 2, 3, 1).view(np.int8)
    of_channels = correction(problem, w, b, scales), multiplier(problem, scales)
    return [
        input_,
        w.transpose(2, 3, 1, 0),
        np.asarray(shifted_zero(problem, scales)),
        *of_channels,
        np.asarray(scales.y_zero, np.float32),
    ]


def lines(problem: ConvProblem) -> Iterator[str]:
    """The lines of the module."""
    assert problem.quantization is not None
    q = problem.quantization
    n, c, *size = problem.input_shape
    o, i, *kernel = problem.weight_shape
    x, w, y = [n, *size, c], [*kernel, i, o], [n, problem.out_height, problem.out_width, o]
    element = {"s32": "i32", "f32": "f32"}.get(q.result, "i8")
    arguments = {
        "%x": tensor(x, "i8"), "%w": tensor(w, "i8"), "%zero": tensor([], "i8"),
        "%c": tensor([o], "i32"), "%m": tensor([o], "f32"), "%end": tensor([], "f32"),
    }  # fmt: skip
    taken = ", ".join(f"{name}: {kind}" for name, kind in arguments.items())
    yield f"func.func @conv2d({taken}) -> {tensor(y, element)} {{"
    signed = "%x"
    if q.input == "u8":
        yield f"%half = stablehlo.constant dense<-128> : {tensor(x, 'i8')}"
        yield f"%signed = stablehlo.xor %x, %half : {tensor(x, 'i8')}"
        signed = "%signed"
    padded, sides = yield from padded_by_mode(problem, signed, x, "i8")
    # What no tap reads is cut off, as in `_stablehlo/convolution.py`.
    window = list(zip(x[1:3], kernel, problem.stride, sides, problem.dilation, strict=True))
    low = [0, *(before for *_, (before, _), _ in window), 0]
    high = [0, *(q - (extent + p + q - d * (k - 1) - 1) % s for extent, k, s, (p, q), d in window), 0]
    whole = [extent + before + after for extent, before, after in zip(x, low, high, strict=True)]
    yield (
        f"%whole = stablehlo.pad {padded}, %zero, low = {low}, high = {high}, interior = [0, 0, 0, 0] : "
        f"({tensor(x, 'i8')}, {tensor([], 'i8')}) -> {tensor(whole, 'i8')}"
    )
    yield from _sums(problem, whole, w, y)
    yield f"%cs = stablehlo.broadcast_in_dim %c, dims = [3] : ({tensor([o], 'i32')}) -> {tensor(y, 'i32')}"
    yield f"%total = stablehlo.add %sums, %cs : {tensor(y, 'i32')}"
    out = "%total"
    if q.result != "s32":
        yield f"%ms = stablehlo.broadcast_in_dim %m, dims = [3] : ({tensor([o], 'f32')}) -> {tensor(y, 'f32')}"
        yield f"%wide = stablehlo.convert %total : ({tensor(y, 'i32')}) -> {tensor(y, 'f32')}"
        yield f"%real = stablehlo.multiply %wide, %ms : {tensor(y, 'f32')}"
        out = "%real"
    if q.is_requantized:
        yield from _rounded(*LIMITS[q.result], y)
        out = "%y"
    yield f"return {out} : {tensor(y, element)}\n}}"


def _sums(problem: ConvProblem, x: list[int], w: list[int], y: list[int]) -> Iterator[str]:
    """Lines that convolve %whole and %w to %sums of int32, without padding."""
    operands, element = ["%whole", "%w"], "i8"
    if problem.groups == problem.in_channels > 1:
        # A depthwise one of int8 is refused: "'tensor.collapse_shape' op expected collapsed type to be
        # 'tensor<3x3x64xi8>', but got 'tensor<3x3x64xi32>'". Without a barrier it would take in the conversion.
        for name, shape in (("%whole", x), ("%w", w)):
            yield f"{name}w = stablehlo.convert {name} : ({tensor(shape, 'i8')}) -> {tensor(shape, 'i32')}"
            yield f"{name}k = stablehlo.optimization_barrier {name}w : {tensor(shape, 'i32')}"
        operands, element = ["%wholek", "%wk"], "i32"
    yield (
        f"%sums = stablehlo.convolution({', '.join(operands)}) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], "
        f"window = {{stride = {list(problem.stride)}, rhs_dilate = {list(problem.dilation)}}} "
        f"{{batch_group_count = 1 : i64, feature_group_count = {problem.groups} : i64}} : "
        f"({tensor(x, element)}, {tensor(w, element)}) -> {tensor(y, 'i32')}"
    )


def _rounded(low: int, high: int, y: list[int]) -> Iterator[str]:
    """Lines from %real to %y. The zero point is added in float32: exact wherever the sum is not clamped. The integer is
    cut to its last 8 bits, which are those of int8 and uint8."""
    yield f"%ends = stablehlo.broadcast_in_dim %end, dims = [] : ({tensor([], 'f32')}) -> {tensor(y, 'f32')}"
    yield f"%even = stablehlo.round_nearest_even %real : {tensor(y, 'f32')}"
    yield f"%moved = stablehlo.add %even, %ends : {tensor(y, 'f32')}"
    for name, value in (("%low", low), ("%high", high)):
        yield f"{name} = stablehlo.constant dense<{value}.0> : {tensor([], 'f32')}"
    kinds = ", ".join(tensor(shape, "f32") for shape in ([], y, []))
    yield f"%clamped = stablehlo.clamp %low, %moved, %high : ({kinds}) -> {tensor(y, 'f32')}"
    yield f"%integer = stablehlo.convert %clamped : ({tensor(y, 'f32')}) -> {tensor(y, 'i32')}"
    yield f"%y = stablehlo.convert %integer : ({tensor(y, 'i32')}) -> {tensor(y, 'i8')}"
