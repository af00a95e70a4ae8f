"""The data that a convolution is asked on: real numbers, or integers chosen so that the answer is exact.

They are full: no zeros, so that no tap can be wrong unseen, but where a filter picks one tap on purpose. The same
problem and seed give the same data anywhere.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend, Ready
from convbench.problem import DIRECTIONS, ConvProblem, Direction, Dtype, Scales
from convbench.problem.quantization import LIMITS
from convbench.problem.vocabulary import OPERANDS
from convbench.verification.bounds import (
    LARGEST_EXACT_INTEGER,
)
from convbench.verification.fused.activations import spread
from convbench.verification.step.answers import checking

NUMPY_DTYPES: dict[Dtype, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}

_NAMES = ("x", "w", "b", "g", "r", "s")

# Exponents to either side of 0 that "wide" data takes.
WIDE_BINADES: dict[Dtype, float] = {"float64": 100, "float32": 20, "float16": 3, "bfloat16": 20}


_ADDED = {"b", "r"}
"""The operands that are added, and not multiplied."""


@dataclass(frozen=True)
class Operands:
    """What a convolution is asked on, in the problem's dtype; None for what its direction does not take.

    Forward takes the input `x` (N, C, H, W), the weight `w` (O, C/groups, kh, kw) and perhaps the bias `b` (O,). The
    gradients take the gradient of the output, `g` (N, O, out_h, out_w), that of the input with `w`, that of the weight
    with `x`. A training step takes all of them. An epilogue with a sum takes the residual `r` (N, O, out_h, out_w). A
    quantised problem takes integers, and its scales in one array, `s`.
    """

    x: Any = None
    w: Any = None
    b: Any = None
    g: Any = None
    r: Any = None
    s: Any = None

    def named(self) -> dict[str, NDArray[Any]]:
        """Those that are not None, by name."""
        return {name: array for name in _NAMES if (array := getattr(self, name)) is not None}

    def map(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Operands:
        """The operands with `change` applied to each; none stays none."""
        return Operands(**{name: change(array) for name, array in self.named().items()})

    @property
    def dtype(self) -> np.dtype[Any]:
        return next(iter(self.named().values())).dtype

    @property
    def scales(self) -> Scales:
        """What `s` has: four numbers, then the scales and the zero points of the weight."""
        x_scale, x_zero, y_scale, y_zero, *_ = self.s.tolist()
        w_scale, w_zero = np.split(np.array(self.s[4:]), 2)
        of_weight = w_scale.astype(np.float32), w_zero.astype(np.int8)
        return Scales(x_scale, round(x_zero), *of_weight, y_scale, round(y_zero))

    def prepared_by(self, backend: Backend, problem: ConvProblem) -> Ready:
        """What `backend` makes of these operands of `problem`."""
        if problem.quantization is not None:
            return backend.prepare_quantized(problem, self.x, self.w, self.b, self.scales)
        if problem.epilogue is not None:
            return backend.prepare_fused(problem, self.x, self.w, self.b, self.r)
        if problem.direction == "forward":
            return backend.prepare(problem, self.x, self.w, self.b)
        if problem.direction == "step":
            ready = backend.prepare_step(problem, self.x, self.w, self.b, self.g)
            return replace(ready, to_numpy=checking(problem, ready.to_numpy))
        return backend.prepare_gradient(problem, self.g, self.x, self.w)

    def of(self, part: ConvProblem) -> Operands:
        """Those that `part` of a step takes."""
        return Operands(**{name: getattr(self, name) for name in part.operand_shapes})


def normal_operands(problem: ConvProblem, seed: int) -> Operands:
    """Standard normal values; one operand scaled so that results are near 1 in size: the weight, or for the gradients
    of weight and bias that of the output; for a step both."""
    rng = generator(problem, seed)
    drawn: Any = np.float64 if problem.dtype == "float64" else np.float32
    arrays = {name: rng.standard_normal(shape, dtype=drawn) for name, shape in problem.operand_shapes.items()}
    for name, length in _scaled(problem).items():
        arrays[name] *= drawn(1 / math.sqrt(length))
    if (reach := _reach(problem)) is not None:
        for name in _ADDED & arrays.keys():
            arrays[name] *= drawn(reach)
        arrays["w"] *= drawn(reach)
    return rounded(problem, **arrays)


def _reach(problem: ConvProblem) -> float | None:
    """How far an activation wants the sums to reach; None for a bare convolution, and where any size does."""
    return None if problem.epilogue is None else spread(problem.epilogue)


def _scaled(problem: ConvProblem) -> dict[str, int]:
    """The names of the operands that are scaled, with the length of the sums in which each is multiplied."""
    if problem.direction != "step":
        return {OPERANDS[problem.direction][-1]: problem.reduction_length}
    length_of = {part.direction: part.reduction_length for part in problem.parts}
    return {"w": length_of["forward"], "g": length_of["weight_gradient"]}


def positive_operands(problem: ConvProblem, seed: int) -> Operands:
    """The sizes of normal operands: sums grow with their length, and an accumulator that is too narrow shows."""
    return normal_operands(problem, seed).map(np.abs)


def wide_operands(problem: ConvProblem, seed: int) -> Operands:
    """Sizes spread evenly over binades, as many to either side of 1 as keep products normal."""
    rng = generator(problem, seed + 2)
    binades = WIDE_BINADES[problem.dtype]

    def draw(shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.asarray(np.exp2(rng.uniform(-binades, binades, shape)) * rng.choice((-1.0, 1.0), shape))

    shapes = problem.operand_shapes
    # A bias has always been drawn first, and stored seeds stand for these values.
    arrays = {name: draw(shapes[name]) for name in sorted(shapes, key=lambda name: name != "b")}
    for name, length in _scaled(problem).items():
        arrays[name] *= 1 / math.sqrt(length)
    return rounded(problem, **arrays)


def one_tap_operands(problem: ConvProblem, seed: int) -> Operands:
    """One operand with the last bit of its significands set, and one of zeros with a single 1 or -1 in each sum: each
    result is one element, and an operand that is rounded to fewer bits on the way cannot hide in a bound for sums.

    Forward these are the input and filters of one tap; the bias is zero. For the gradient of the input each of its
    channels has one tap of one filter, for that of the weight each channel of the output gradient has one element. In a
    step both are so: each output and each element of the weight's gradient is one element of the input, and the input's
    gradients are small integers.
    """
    rng = generator(problem, seed + 3)
    shapes, largest = problem.operand_shapes, LARGEST_EXACT_INTEGER[problem.dtype]
    full, *others = OPERANDS[problem.direction]
    values = (rng.integers(largest // 2, largest, shapes[full]) | 1) / largest
    values *= rng.choice((-1.0, 1.0), shapes[full])
    picking = [_picking(problem.replace(direction=direction), rng) for direction in _PICKED[problem.direction]]
    arrays = {full: values, **dict(zip(others, picking, strict=True))} if others else {full: values * picking[0]}
    arrays |= {name: np.zeros(shapes[name]) for name in _ADDED & shapes.keys()}
    return rounded(problem, **arrays)


_PICKED: dict[Direction, tuple[Direction, ...]] = {
    **{direction: (direction,) for direction in DIRECTIONS},
    "step": ("forward", "weight_gradient"),
}
"""The directions for which operands pick: in a step, the weight forward, the output gradient for the weight's."""


def _picking(problem: ConvProblem, rng: np.random.Generator) -> NDArray[np.float64]:
    """The operand that picks: a weight with one tap for each result's channel, or an output gradient with one element
    in each channel."""
    (o, own, *kernel), groups = problem.weight_shape, problem.groups
    if problem.direction == "forward":
        return _one_in_each_row(rng, o, own * math.prod(kernel)).reshape(problem.weight_shape)
    if problem.direction == "input_gradient":
        rows = _one_in_each_row(rng, problem.in_channels, o // groups * math.prod(kernel))
        return rows.reshape(groups, own, o // groups, *kernel).swapaxes(1, 2).reshape(problem.weight_shape)
    n, _, *extent = problem.output_shape
    return _one_in_each_row(rng, o, n * math.prod(extent)).reshape(o, n, *extent).swapaxes(0, 1)


def _one_in_each_row(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    values = np.zeros((rows, columns))
    values[np.arange(rows), rng.integers(0, columns, rows)] = rng.choice((-1.0, 1.0), rows)
    return values


def special_operands(problem: ConvProblem, seed: int) -> Operands:
    """Normal operands with a NaN and infinities at a few places of the input, or of the bias; of the output's gradient
    where the direction takes no input.

    Not of the weight: whether a tap of it that lies on padding is multiplied at all is unspecified. The same holds for
    an output gradient with which padding is multiplied.
    """
    drawn = normal_operands(problem, seed)
    rng = generator(problem, seed + 4)
    target = getattr(drawn, OPERANDS[problem.direction][0])
    if drawn.b is not None and rng.random() < 0.2:
        target = drawn.b
    flat = target.reshape(-1)
    chosen = rng.permutation(np.array([np.nan, np.inf, -np.inf]))[: max(1, min(3, flat.size // 8))]
    flat[rng.choice(flat.size, chosen.size, replace=False)] = chosen
    return drawn


def integer_operands(problem: ConvProblem, magnitude: int, seed: int) -> Operands:
    """Integers from [-magnitude, magnitude] without zero; the bias reaches to magnitude^2, or as far as the narrowest
    format holds every integer, since a backend may round it to that.

    Where an activation would flatten nearly all of their sums, all but the input are multiplied by a power of two that
    makes these as small as the activation wants them. Nothing rounds then, either.
    """
    rng = generator(problem, seed + 1)
    largest_bias = min(magnitude**2, min(LARGEST_EXACT_INTEGER.values()))
    shrinking = 1 if (reach := _reach(problem)) is None else _power_of_two(problem, magnitude, reach)
    return rounded(
        problem,
        **{
            name: _nonzero_integers(rng, largest_bias if name in _ADDED else magnitude, shape)
            * (1 if name == "x" else shrinking)
            for name, shape in problem.operand_shapes.items()
        },
    )


def _power_of_two(problem: ConvProblem, magnitude: int, reach: float) -> float:
    """By which sums of products of such integers get a standard deviation of about `reach`; 1 at the most."""
    variance_of_operand = (magnitude + 1) * (2 * magnitude + 1) / 6
    deviation = variance_of_operand * math.sqrt(problem.reduction_length)
    return float(2.0 ** min(0, round(math.log2(reach / deviation))))


def changed(problem: ConvProblem, operands: Operands) -> Operands:
    """Minus the one operand that is multiplied, twice the other, and minus twice what is only added; of a step twice
    the output gradient as well. What becomes of the answer is `change_of_answer`; quantised ones are `complemented`,
    and have another answer."""
    if problem.quantization is not None:
        return complemented(problem, operands)
    factors = _changes(problem.direction)
    of_dtype = operands.dtype.type
    return Operands(**{name: array * of_dtype(factors[name]) for name, array in operands.named().items()})


def complemented(problem: ConvProblem, operands: Operands) -> Operands:
    """Quantised operands with every bit of the integers turned over, zero points as well: other data in the same
    formats. 127 becomes -127, because -128 is not in the int8 of every library. Scales of the weight are doubled, and
    in the reverse order of channels; that of a result of 8 bits is four times as large. What is stale in the answer to
    them shows."""
    q = problem.quantization
    assert q is not None
    turned = {name: ~array for name, array in operands.named().items() if name != "s"}
    turned = {name: np.maximum(array, -127) if array.dtype == np.int8 else array for name, array in turned.items()}
    (x_scale, x_zero, y_scale, y_zero), of_weight = operands.s[:4], operands.s[4:]
    w_scale, w_zero = np.split(of_weight, 2)
    if q.input_zero_point:
        x_zero = sum(LIMITS[q.input]) - x_zero
    if q.result_zero_point:
        y_zero = sum(LIMITS[q.result]) - y_zero
    if q.weight_zero_point:
        w_zero = -1 - w_zero
    if q.result != "s32":
        w_scale, y_scale = 2 * w_scale[::-1], y_scale * (4 if q.is_requantized else 1)
    return Operands(**turned, s=np.array([x_scale, x_zero, y_scale, y_zero, *w_scale, *w_zero]))


def _changes(direction: Direction) -> dict[str, int]:
    multiplied = OPERANDS[direction]
    if len(multiplied) == 1:
        return {multiplied[0]: -2}
    return {"b": -2, "r": -2, **dict(zip(multiplied, (-1, 2, 2), strict=False))}


def change_of_answer(problem: ConvProblem) -> NDArray[np.float64]:
    """What the answer is multiplied with for `changed` operands, a power of two with a sign: minus two; of a step,
    whose results differ in it, a number for each element of the row."""
    of_results = np.array(changes_of_results(problem), np.float64)
    if problem.direction != "step":
        return np.asarray(of_results[0])
    return np.repeat(of_results, list(map(math.prod, problem.result_shapes)))


def changes_of_results(problem: ConvProblem) -> list[int]:
    """What each result is multiplied with for `changed` operands."""
    factors = _changes(problem.direction)
    return [math.prod(factors[name] for name in OPERANDS[direction]) for direction in problem.computed]


def rounded(
    problem: ConvProblem,
    x: NDArray[Any] | None = None,
    w: NDArray[Any] | None = None,
    b: NDArray[Any] | None = None,
    g: NDArray[Any] | None = None,
    r: NDArray[Any] | None = None,
) -> Operands:
    """These as operands of `problem`: in its dtype, contiguous."""
    dtype = NUMPY_DTYPES[problem.dtype]
    return Operands(x, w, b, g, r).map(lambda array: np.ascontiguousarray(array, dtype))


def result_dtype(problem: ConvProblem) -> np.dtype[Any]:
    """The dtype of what `problem` computes."""
    q = problem.quantization
    return NUMPY_DTYPES[problem.dtype] if q is None else np.dtype(q.dtypes["y"])


def generator(problem: ConvProblem, seed: int) -> np.random.Generator:
    """Random numbers that the problem and the seed decide."""
    return np.random.default_rng([seed, zlib.crc32(problem.case_id.encode())])


def _nonzero_integers(rng: np.random.Generator, largest: int, shape: tuple[int, ...]) -> NDArray[Any]:
    values = rng.integers(-largest, largest, shape, dtype=np.int64)
    return values + (values >= 0)
