"""Operands as lines of NumPy that make them again, to the last bit, where convbench is not installed."""

from __future__ import annotations

import math
import textwrap
import zlib
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from convbench.problem import ConvProblem
from convbench.problem.vocabulary import OPERANDS
from convbench.verification.bounds import LARGEST_EXACT_INTEGER
from convbench.verification.operands import NUMPY_DTYPES, WIDE_BINADES, Operands
from convbench.verification.question import Layout, Values

_MOST_LITERALS = 256
"""Numbers to write out, all arrays together; more are drawn as `operands` draws them."""
_MOST_ANYWAY = 4096
"""Numbers to write out where these lines cannot draw them."""
_COLUMNS = 112


def operand_lines(
    problem: ConvProblem, operands: Operands, values: Values, seed: int, magnitude: int | None = None
) -> list[str] | None:
    """Lines that define `x`, `w` and `b`, perhaps a residual `r`, or of a gradient what it takes, with `np` and, for
    bfloat16, `ml_dtypes` imported; None for many numbers that no short lines draw.

    `values` and `seed` say how `operands` were drawn, and `magnitude` how large integers are.
    """
    arrays = operands.named()
    no_bias = ["b = None"] if problem.direction == "forward" and not problem.bias else []
    is_drawn = problem.direction == "forward" or values not in ("one-tap", "special")
    is_drawn = is_drawn and problem.epilogue is None
    if sum(array.size for array in arrays.values()) <= (_MOST_LITERALS if is_drawn else _MOST_ANYWAY):
        return [line for name, array in arrays.items() for line in literal(name, array)] + no_bias
    if not is_drawn:
        return None
    if values == "integers":
        assert magnitude is not None
        return _integers(problem, seed, magnitude) + no_bias
    draw = {"wide": _wide, "one-tap": _one_tap, "special": _special}.get(values, _normal)
    return draw(problem, seed, values) + no_bias


def dtype_word(problem: ConvProblem) -> str:
    """NumPy's name of the problem's dtype, as code."""
    return "ml_dtypes.bfloat16" if problem.dtype == "bfloat16" else f"np.{problem.dtype}"


def layout_lines(layout: Layout, names: Sequence[str], between: str = "np.nan") -> list[str]:
    """Lines that lay arrays of these names out in memory as `layouts.lay_out` does; none for arrays as NumPy makes
    them. Slices have `between` between their elements."""
    if layout == "contiguous":
        return []
    body = textwrap.indent(_LAY_OUT[layout].replace("np.nan", between), "    ").splitlines()
    return ["def lay_out(a):", *body, *(f"{name} = lay_out({name})" for name in names)]


_LAY_OUT: dict[Layout, str] = {
    "channels-last": """\
return np.array(a.transpose(0, 2, 3, 1), order="C").transpose(0, 3, 1, 2) if a.ndim == 4 else a""",
    "sliced": """\
inner = np.full([2 * size + 1 for size in a.shape], np.nan, a.dtype)[(slice(1, None, 2),) * a.ndim]
inner[...] = a
return inner""",
    "reversed": """\
back = (slice(None, None, -1),) * a.ndim
return np.array(a[back], order="C")[back]""",
    "misaligned": """\
raw = np.empty(a.nbytes + 128, np.uint8)
start = -raw.ctypes.data % 64 + a.itemsize  # one element after a cache line's boundary
copy = raw[start:start + a.nbytes].view(a.dtype).reshape(a.shape)
copy[...] = a
return copy""",
    "read-only": """\
a.flags.writeable = False
return a""",
    "odd-strides": """\
strides = [5 * a.itemsize if size == 1 else stride for size, stride in zip(a.shape, a.strides)]
return np.lib.stride_tricks.as_strided(a, a.shape, strides)""",
}


def literal(name: str, array: NDArray[Any]) -> list[str]:
    """Lines that define the array `name`, number by number, to the last bit."""
    dtype = "ml_dtypes.bfloat16" if array.dtype == NUMPY_DTYPES["bfloat16"] else f"np.{array.dtype.name}"
    numbers = ", ".join(_number(value) for value in array.reshape(-1))
    shape = f".reshape{array.shape}" if array.ndim > 1 else ""
    line = f"{name} = np.array([{numbers}], {dtype}){shape}"
    return textwrap.wrap(line, _COLUMNS, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _number(value: Any) -> str:
    wide = float(value)
    if not math.isfinite(wide):
        return {math.inf: "np.inf", -math.inf: "-np.inf"}.get(wide, "np.nan")
    if wide == int(wide) and abs(wide) < 2**53 and not (wide == 0 and math.copysign(1, wide) < 0):
        return str(int(wide))
    shortest = str(value)  # in its own format: 0.1, where float64 has 0.10000000149011612
    return shortest if type(value)(float(shortest)) == value else repr(wide)


def _rng(problem: ConvProblem, seed: int) -> str:
    return f"np.random.default_rng([{seed}, {zlib.crc32(problem.case_id.encode())}])"


def _integers(problem: ConvProblem, seed: int, magnitude: int) -> list[str]:
    largest_bias = min(magnitude**2, min(LARGEST_EXACT_INTEGER.values()))
    return [
        f"rng = {_rng(problem, seed + 1)}",
        "def integers(largest, shape):  # without zero",
        "    drawn = rng.integers(-largest, largest, shape, dtype=np.int64)",
        f"    return (drawn + (drawn >= 0)).astype({dtype_word(problem)})",
        *(
            f"{name} = integers({largest_bias if name == 'b' else magnitude}, {shape})"
            for name, shape in problem.operand_shapes.items()
        ),
    ]


def _scale(problem: ConvProblem) -> dict[str, float]:
    """What the last operand that is multiplied is scaled by."""
    return {OPERANDS[problem.direction][-1]: 1 / math.sqrt(problem.reduction_length)}


def _normal(problem: ConvProblem, seed: int, values: Values) -> list[str]:
    precision, scale = "np.float64" if problem.dtype == "float64" else "np.float32", _scale(problem)
    sign = "np.abs({})" if values == "positive" else "{}"

    def line(name: str, shape: tuple[int, ...]) -> str:
        scaled = f" * {precision}({scale[name]!r})" if name in scale else ""
        drawn = f"(rng.standard_normal({shape}, dtype={precision}){scaled}).astype({dtype_word(problem)})"
        return f"{name} = {sign.format(drawn)}"

    return [f"rng = {_rng(problem, seed)}", *(line(*each) for each in problem.operand_shapes.items())]


def _wide(problem: ConvProblem, seed: int, _: Values) -> list[str]:
    binades, scale = WIDE_BINADES[problem.dtype], _scale(problem)

    def line(name: str, shape: tuple[int, ...]) -> str:
        drawn = f"(drawn({shape}) * {scale[name]!r})" if name in scale else f"drawn({shape})"
        return f"{name} = {drawn}.astype({dtype_word(problem)})"

    return [
        f"rng = {_rng(problem, seed + 2)}",
        "def drawn(shape):",
        f"    return np.exp2(rng.uniform({-binades}, {binades}, shape)) * rng.choice((-1.0, 1.0), shape)",
        *(line(*each) for each in sorted(problem.operand_shapes.items(), key=lambda each: each[0] != "b")),
    ]


def _one_tap(problem: ConvProblem, seed: int, _: Values) -> list[str]:
    largest, dtype, (o, *filters) = LARGEST_EXACT_INTEGER[problem.dtype], dtype_word(problem), problem.weight_shape
    return [
        f"rng = {_rng(problem, seed + 3)}",
        f"x = (rng.integers({largest // 2}, {largest}, {problem.input_shape}) | 1) / {largest}",
        "x = (x * rng.choice((-1.0, 1.0), x.shape)).astype(" + dtype + ")",
        f"w = np.zeros(({o}, {math.prod(filters)}), {dtype})  # filters of one tap",
        f"w[np.arange({o}), rng.integers(0, {math.prod(filters)}, {o})] = rng.choice((-1.0, 1.0), {o})",
        f"w = w.reshape{problem.weight_shape}",
        *([f"b = np.zeros({o}, {dtype})"] if problem.bias else []),
    ]


def _special(problem: ConvProblem, seed: int, values: Values) -> list[str]:
    target = "b if rng.random() < 0.2 else x" if problem.bias else "x"
    return [
        *_normal(problem, seed, values),
        f"rng = {_rng(problem, seed + 4)}",
        f"flat = ({target}).reshape(-1)",
        "chosen = rng.permutation(np.array([np.nan, np.inf, -np.inf]))[:max(1, min(3, flat.size // 8))]",
        "flat[rng.choice(flat.size, chosen.size, replace=False)] = chosen",
    ]
