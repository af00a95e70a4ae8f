"""The gradients of a convolution as StableHLO modules in NHWC, in text, in the forms that JAX gives them.

That of the input is a convolution of the output's gradient, dilated by the stride, with the weight turned round. That
of the weight is one of the input, its channels as a batch, with the output's gradient as a kernel; `batch_group_count`
keeps groups apart. Half formats are widened first, and rounded once at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .convolution import ELEMENT, padded_by_mode, runs, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from convbench.problem import ConvProblem


def turned(problem: ConvProblem, w: np.ndarray) -> np.ndarray:
    """The weight (O, C/groups, kh, kw) as the kernel of the input's gradient: (kh, kw, O/groups, C), turned round."""
    groups, (o, own, kh, kw) = problem.groups, problem.weight_shape
    by_group = w.reshape(groups, o // groups, own, kh, kw)[..., ::-1, ::-1]
    return by_group.transpose(3, 4, 1, 0, 2).reshape(kh, kw, o // groups, groups * own)


def turned_code(problem: ConvProblem) -> str:
    """The code of `turned`."""
    groups, (o, own, kh, kw) = problem.groups, problem.weight_shape
    by_group = f"w.reshape({groups}, {o // groups}, {own}, {kh}, {kw})[..., ::-1, ::-1]"
    return f"{by_group}.transpose(3, 4, 1, 0, 2).reshape({kh}, {kw}, {o // groups}, {groups * own})"


def lines(problem: ConvProblem) -> Iterator[str]:
    """The lines of the module, whose function takes `g`, then the weight as `turned` has it, or the input."""
    element = ELEMENT[problem.dtype]
    sums = "f64" if element == "f64" else "f32"
    n, c, *size = problem.input_shape
    o, own, *kernel = problem.weight_shape
    shapes = {"%g": [n, problem.out_height, problem.out_width, o]}
    if problem.direction == "input_gradient":
        shapes["%w"], result = [*kernel, o // problem.groups, c], [n, *size, c]
        body = _input_gradient(problem, shapes, sums)
    elif problem.direction == "weight_gradient":
        shapes["%x"], result = [n, *size, c], [*kernel, own, o]
        body = _weight_gradient(problem, shapes, sums)
    else:
        result = [o]
        body = _bias_gradient(problem, shapes, sums)
    arguments = ", ".join(f"{name}: {tensor(shape, element)}" for name, shape in shapes.items())
    yield f"func.func @conv2d({arguments}) -> {tensor(result, element)} {{"
    for name, shape in shapes.items():
        yield f"{name}c = stablehlo.convert {name} : ({tensor(shape, element)}) -> {tensor(shape, sums)}"
        # Or the convolution would take in the conversion: see `_stablehlo.lines`.
        yield f"{name}s = stablehlo.optimization_barrier {name}c : {tensor(shape, sums)}"
    yield from body
    yield f"%out = stablehlo.convert %y : ({tensor(result, sums)}) -> {tensor(result, element)}"
    yield f"return %out : {tensor(result, element)}\n}}"


def _input_gradient(problem: ConvProblem, shapes: dict[str, list[int]], sums: str) -> Iterator[str]:
    n, c, *size = problem.input_shape
    zeros = problem.padding_mode == "zeros"
    sides = problem.padding if zeros else ((0, 0), (0, 0))
    extents = [length + (0 if zeros else sum(both)) for length, both in zip(size, problem.padding, strict=True)]
    window = zip(extents, shapes["%g"][1:3], problem.kernel_size, problem.stride, problem.dilation, sides, strict=True)
    around = []
    for extent, out, k, stride, dilation, (before, _) in window:
        reach = dilation * (k - 1)
        around.append([reach - before, extent + before - (out - 1) * stride - 1])
    shape = [n, *extents, c]
    yield (
        f"%{'y' if zeros else 'y0'} = stablehlo.convolution(%gs, %ws) "
        f"dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {{stride = [1, 1], pad = {around}, "
        f"lhs_dilate = {list(problem.stride)}, rhs_dilate = {list(problem.dilation)}}} "
        f"{{batch_group_count = 1 : i64, feature_group_count = {problem.groups} : i64}} : "
        f"({tensor(shapes['%g'], sums)}, {tensor(shapes['%w'], sums)}) -> {tensor(shape, sums)}"
    )
    if not zeros:
        yield f"%zero = stablehlo.constant dense<0.0> : tensor<{sums}>"
        for axis, sides_of, name in ((1, problem.padding[0], "y1"), (2, problem.padding[1], "y")):
            yield from _unpad(problem, f"%y{axis - 1}", f"%{name}", shape, axis, sides_of, sums)
            shape = [size[i - 1] if i == axis else extent for i, extent in enumerate(shape)]


def _unpad(
    problem: ConvProblem, source: str, out: str, shape: list[int], axis: int, sides: tuple[int, int], element: str
) -> Iterator[str]:
    """Lines that add rows or columns which padding copied to those that they were copied from."""
    size, place = shape[axis] - sum(sides), 0
    terms: list[str] = []
    target = tensor([size if i == axis else extent for i, extent in enumerate(shape)], element)
    for first, last in runs(problem.padding_mode, size, *sides):
        name, box = f"{out}_{axis}_{len(terms)}", [[0, extent] for extent in shape]
        box[axis] = [place, place + last - first]
        cut = tensor([b - a for a, b in box], element)
        ranges = ", ".join(f"{a}:{b}" for a, b in box)
        yield f"{name} = stablehlo.slice {source} [{ranges}] : ({tensor(shape, element)}) -> {cut}"
        if problem.padding_mode == "reflect" and (first, last) != (0, size):
            yield f"{name}r = stablehlo.reverse {name}, dims = [{axis}] : {cut}"
            name += "r"
        low, high = ([value * (i == axis) for i in range(4)] for value in (first, size - last))
        yield (
            f"{name}p = stablehlo.pad {name}, %zero, low = {low}, high = {high}, interior = [0, 0, 0, 0] : "
            f"({cut}, tensor<{element}>) -> {target}"
        )
        terms.append(f"{name}p")
        place += last - first
    total = terms[0]
    for number, term in enumerate(terms[1:]):
        yield f"{out}_{axis}_sum{number} = stablehlo.add {total}, {term} : {target}"
        total = f"{out}_{axis}_sum{number}"
    yield f"{out} = stablehlo.optimization_barrier {total} : {target}"


def _weight_gradient(problem: ConvProblem, shapes: dict[str, list[int]], sums: str) -> Iterator[str]:
    o, own, *kernel = problem.weight_shape
    x = shapes["%x"].copy()
    padded, sides = yield from padded_by_mode(problem, "%xs", x, sums)
    window = zip(x[1:3], shapes["%g"][1:3], kernel, problem.stride, problem.dilation, sides, strict=True)
    around = []
    for extent, out, k, stride, dilation, (before, _) in window:
        met = (out - 1) * stride + dilation * (k - 1) + 1
        around.append([before, met - extent - before])
    yield (
        f"%y = stablehlo.convolution({padded}, %gs) dim_numbers = [f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f], "
        f"window = {{stride = {list(problem.dilation)}, pad = {around}, rhs_dilate = {list(problem.stride)}}} "
        f"{{batch_group_count = {problem.groups} : i64, feature_group_count = 1 : i64}} : "
        f"({tensor(x, sums)}, {tensor(shapes['%g'], sums)}) -> {tensor([*kernel, own, o], sums)}"
    )


def _bias_gradient(problem: ConvProblem, shapes: dict[str, list[int]], sums: str) -> Iterator[str]:
    yield f"%zero = stablehlo.constant dense<0.0> : tensor<{sums}>"
    yield (
        f"%y = stablehlo.reduce(%gs init: %zero) applies stablehlo.add across dimensions = [0, 1, 2] : "
        f"({tensor(shapes['%g'], sums)}, tensor<{sums}>) -> {tensor([problem.out_channels], sums)}"
    )
