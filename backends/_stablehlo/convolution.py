"""A convolution as a StableHLO module in NHWC, in text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .epilogue import epilogue_lines

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from convbench.problem import ConvProblem
    from convbench.problem.vocabulary import Sides

ELEMENT = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def lines(problem: ConvProblem) -> Iterator[str]:
    """The lines of the module. Half formats are widened first, and rounded once after the bias."""
    element = ELEMENT[problem.dtype]
    sums = "f64" if element == "f64" else "f32"
    n, c, *size = problem.input_shape
    o, i, *kernel = problem.weight_shape
    x, w, y = [n, *size, c], [*kernel, i, o], [n, problem.out_height, problem.out_width, o]
    operands = {"%x": x, "%w": w} | ({"%b": [o]} if problem.bias else {})
    operands |= {"%r": y} if "r" in problem.operand_shapes else {}
    arguments = ", ".join(f"{name}: {tensor(shape, element)}" for name, shape in operands.items())
    yield f"func.func @conv2d({arguments}) -> {tensor(y, element)} {{"
    for name, shape in operands.items():
        yield f"{name}s = stablehlo.convert {name} : ({tensor(shape, element)}) -> {tensor(shape, sums)}"
    padded = "%xs"
    if element != sums:
        # Or the convolution would take in the conversion, and a depthwise one of halves summed in float32 is refused:
        # "'tensor.collapse_shape' op expected collapsed type to be 'tensor<2x3x3xf32>', but got 'tensor<2x3x3xf16>'".
        padded = "%kept"
        yield f"{padded} = stablehlo.optimization_barrier %xs : {tensor(x, sums)}"
    padded, sides = yield from padded_by_mode(problem, padded, x, sums)
    # What no tap reads is cut off. Where one row is left, IREE refuses a stride that does not come out even:
    # "op inferred input/output operand #1 has shape's dimension #0 to be 3, but found 2".
    window = zip(x[1:3], kernel, problem.stride, sides, problem.dilation, strict=True)
    pad = [[p, q - (extent + p + q - d * (k - 1) - 1) % s] for extent, k, s, (p, q), d in window]
    yield (
        f"%sums = stablehlo.convolution({padded}, %ws) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], "
        f"window = {{stride = {list(problem.stride)}, pad = {pad}, rhs_dilate = {list(problem.dilation)}}} "
        f"{{batch_group_count = 1 : i64, feature_group_count = {problem.groups} : i64}} : "
        f"({tensor(x, sums)}, {tensor(w, sums)}) -> {tensor(y, sums)}"
    )
    out = "%sums"
    if problem.bias:
        yield f"%bias = stablehlo.broadcast_in_dim %bs, dims = [3] : ({tensor([o], sums)}) -> {tensor(y, sums)}"
        yield f"%biased = stablehlo.add %sums, %bias : {tensor(y, sums)}"
        out = "%biased"
    if problem.epilogue is not None:
        yield from epilogue_lines(problem.epilogue, out, tensor(y, sums))
        out = "%ended"
    yield f"%y = stablehlo.convert {out} : ({tensor(y, sums)}) -> {tensor(y, element)}"
    yield f"return %y : {tensor(y, element)}\n}}"


def padded_by_mode(
    problem: ConvProblem, name: str, shape: list[int], sums: str
) -> Generator[str, None, tuple[str, Sides]]:
    """The lines that pad the input `name` of NHWC `shape`, which is changed, by a mode other than zeros. Returns the
    name of what is padded, and the sides that are left to be padded with zeros."""
    if problem.padding_mode == "zeros":
        return name, problem.padding
    for axis, (before, after) in zip((1, 2), problem.padding, strict=True):
        yield from _pad_lines(problem.padding_mode, name, shape, axis, before, after, sums)
        shape[axis] += before + after
        name = f"%padded{axis}"
    return name, ((0, 0), (0, 0))


def _pad_lines(
    mode: str, source: str, shape: list[int], axis: int, before: int, after: int, element: str
) -> Iterator[str]:
    """Lines that pad with the input's own rows or columns, because StableHLO pads with constants only."""
    size = shape[axis]
    names: list[str] = []
    types: list[str] = []
    for first, last in runs(mode, size, before, after):
        name, box = f"%cut{axis}_{len(names)}", [(0, extent) for extent in shape]
        box[axis] = (first, last)
        cut = tensor([b - a for a, b in box], element)
        ranges = ", ".join(f"{a}:{b}" for a, b in box)
        yield f"{name} = stablehlo.slice {source} [{ranges}] : ({tensor(shape, element)}) -> {cut}"
        if mode == "reflect" and (first, last) != (0, size):
            yield f"{name}r = stablehlo.reverse {name}, dims = [{axis}] : {cut}"
            name += "r"
        names.append(name)
        types.append(cut)
    shape = [extent + (before + after) * (i == axis) for i, extent in enumerate(shape)]
    joined = f"{', '.join(names)}, dim = {axis} : ({', '.join(types)}) -> {tensor(shape, element)}"
    yield f"%padded{axis} = stablehlo.concatenate {joined}"


def runs(mode: str, size: int, before: int, after: int) -> list[tuple[int, int]]:
    """The rows or columns of an input of `size` that a padded one consists of, in its order, as (first, last + 1). With
    "reflect" all but the whole input are turned round."""
    every = {
        "reflect": [(1, 1 + before), (0, size), (size - 1 - after, size - 1)],
        "circular": [(size - before, size), (0, size), (0, after)],
        "replicate": [(0, 1)] * before + [(0, size)] + [(size - 1, size)] * after,
    }[mode]
    return [(first, last) for first, last in every if first < last]


def tensor(shape: Sequence[int], element: str) -> str:
    """The type of an array of this shape; with no axes, of a single number."""
    return f"tensor<{''.join(f'{extent}x' for extent in shape)}{element}>"
