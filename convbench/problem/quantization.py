"""`Quantization`: the number formats of an int8 convolution, a part of what a `ConvProblem` computes.

The affine scheme of ONNX, TFLite and torch: an integer q stands for scale * (q - zero point). The input has one scale
and one zero point; the weight is int8 with a scale for each output channel o, or one for all. With

    sum[o] = sum over the taps of (x - x_zero) * (w[o] - w_zero[o]) + b[o]      an exact integer, |sum| < 2^31

where padding stands for 0, so holds x_zero, and b is int32, the result is one of

    s32      sum
    f32      sum * x_scale * w_scale[o]                                         in float32
    u8, s8   clamp(round(sum * x_scale * w_scale[o] / y_scale) + y_zero)        to [0, 255] or [-128, 127]

with scales that are float32 numbers. How halves are rounded is a property of the backend.

Formats and granularity are part of the problem, so of its case id. Scales and zero points are data, drawn with the
operands: `Scales`. A zero point that the problem does not name is 0.

One line of text names a `Quantization`, `u8z:s8:u8z`, for input, weight and result: `z` for a zero point other than 0,
`t` behind the weight for one scale for the whole tensor. A case id has it without colons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from convbench.errors import ProblemError

if TYPE_CHECKING:
    import numpy as np

Integer8 = Literal["u8", "s8"]
QuantizedResult = Literal["s32", "f32", "u8", "s8"]

INPUT_FORMATS: tuple[Integer8, ...] = get_args(Integer8)
RESULT_FORMATS: tuple[QuantizedResult, ...] = get_args(QuantizedResult)
NUMPY_NAMES = {"u8": "uint8", "s8": "int8", "s32": "int32", "f32": "float32"}
"""The formats as NumPy calls them."""
LIMITS = {"u8": (0, 255), "s8": (-128, 127)}
"""The least and the largest number of a format."""
LARGEST_BIAS = 2**24
"""A bias is at most this large, so that 32 bits hold every sum that a problem may have."""

PATTERN = "[us]8z?:?s8t?z?:?(?:s32|f32|[us]8z?)"
_PARTS = re.compile("([us]8)(z?):?s8(t?)(z?):?(s32|f32|[us]8)(z?)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantization:
    """The formats of a quantised convolution. By default the most usual: uint8 with zero points, weights per channel.

    Without scales, so with result "s32", `per_channel` means nothing and is kept as true. Raises `ProblemError` for
    an unknown format, and for a zero point of a result that has none.
    """

    input: Integer8 = "u8"
    input_zero_point: bool = True
    """Whether the input's zero point may be other than 0."""
    per_channel: bool = True
    """Whether each output channel has a weight scale (and zero point) of its own."""
    weight_zero_point: bool = False
    """Whether weights have zero points other than 0 (asymmetric); most engines refuse it."""
    result: QuantizedResult = "u8"
    result_zero_point: bool = False

    def __post_init__(self) -> None:
        for name, known in (("input", INPUT_FORMATS), ("result", RESULT_FORMATS)):
            if getattr(self, name) not in known:
                raise ProblemError(f"{name} is {getattr(self, name)!r}; it should be one of {', '.join(known)}.")
        if self.result_zero_point and not self.is_requantized:
            raise ProblemError(f"result {self.result} has no zero point; leave the z behind it out.")
        if self.result == "s32" and not self.weight_zero_point:
            object.__setattr__(self, "per_channel", True)

    @property
    def is_requantized(self) -> bool:
        """Whether the result is rounded to 8 bits."""
        return self.result in INPUT_FORMATS

    @property
    def dtypes(self) -> dict[str, str]:
        """The NumPy dtypes by operand: input `x`, weight `w`, bias `b`, and the result as `y`."""
        return {"x": NUMPY_NAMES[self.input], "w": "int8", "b": "int32", "y": NUMPY_NAMES[self.result]}

    @property
    def itemsizes_bytes(self) -> dict[str, int]:
        """The bytes of one number, by operand as in `dtypes`."""
        return {"x": 1, "w": 1, "b": 4, "y": 1 if self.is_requantized else 4}

    @property
    def largest_product(self) -> int:
        """The largest absolute value of (x - x_zero) * (w - w_zero), whatever the zero points."""
        return 255 * (255 if self.weight_zero_point else 128)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The one that `u8z:s8:u8z` names, or the same without colons. Raises `ProblemError`."""
        match = _PARTS.fullmatch(text.strip())
        if match is None:
            raise ProblemError(
                f"quantization is {text[:80]!r}; it should look like 'u8z:s8:u8z': input u8 or s8, weight s8 (s8t with "
                "one scale for all channels), result u8, s8, s32 or f32, each with a z where its zero point is not 0."
            )
        first, has_x, per_tensor, has_w, result, has_y = match.groups()
        words: dict[str, Any] = {"input": first, "result": result, "per_channel": not per_tensor}
        zero_points = {"input_zero_point": has_x, "weight_zero_point": has_w, "result_zero_point": has_y}
        return cls(**words | {name: bool(letter) for name, letter in zero_points.items()})

    def __str__(self) -> str:
        weight = f"s8{'' if self.per_channel else 't'}{'z' if self.weight_zero_point else ''}"
        first = f"{self.input}{'z' if self.input_zero_point else ''}"
        return f"{first}:{weight}:{self.result}{'z' if self.result_zero_point else ''}"


USUAL = Quantization(result_zero_point=True)
"""What dtype int8 means where nothing more is said: `u8z:s8:u8z`."""


def every_quantization() -> tuple[Quantization, ...]:
    """All there are, the plainest first."""
    both, named = (False, True), dict[str, Quantization]()
    for flags in sorted(product(both, repeat=4), key=sum):
        x_zero, per_tensor, w_zero, y_zero = flags
        for first, result in product(INPUT_FORMATS, RESULT_FORMATS):
            words: dict[str, Any] = {"input": first, "result": result, "input_zero_point": x_zero}
            words |= {"per_channel": not per_tensor, "weight_zero_point": w_zero}
            known = Quantization(**words, result_zero_point=y_zero and result in INPUT_FORMATS)
            named.setdefault(str(known), known)
    return tuple(named.values())


def properties_of(quantization: Quantization | None) -> dict[str, Any]:
    """The formats as words and the rest as truth values, by their names in conditions; empty words, and false, of a
    problem in floating point."""
    if quantization is None:
        return {"input_format": "", "result_format": ""} | dict.fromkeys(_TRUTHS, False)
    formats = {"input_format": quantization.input, "result_format": quantization.result}
    return formats | {name: getattr(quantization, name) for name in _TRUTHS}


_TRUTHS = ("input_zero_point", "per_channel", "weight_zero_point", "result_zero_point")


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales and zero points of one set of operands. All are there whatever the result is: those that a problem does
    not use are 1 and 0. Numbers in floats and in `w_scale` are float32 numbers, positive and finite."""

    x_scale: float
    x_zero: int
    w_scale: np.ndarray
    """float32, of shape (O,), or (1,) where all channels have one."""
    w_zero: np.ndarray
    """int8, of the same shape."""
    y_scale: float
    y_zero: int


def quantization_of(value: Any, dtype: str) -> Quantization | None:
    """The one that `ConvProblem`'s arguments `quantization` and `dtype` name; None for a problem in floating point.

    Raises `ProblemError` where the two do not go together.
    """
    if value is None:
        return USUAL if dtype == "int8" else None
    if dtype not in ("int8", "float32"):  # float32 is the default of dtype
        raise ProblemError(f"quantization is {str(value)!r} and dtype {dtype!r}; leave dtype out, or give 'int8'.")
    if isinstance(value, str):
        return Quantization.parse(value)
    if not isinstance(value, Quantization):
        raise ProblemError(f"quantization is {value!r}; it should be a text such as 'u8z:s8:u8z', or a Quantization.")
    return value


def check_quantized(quantization: Quantization, direction: str, epilogue: object, terms: int) -> None:
    """Raise `ProblemError` for what is not defined: a gradient, an epilogue, or sums that 32 bits may not hold."""
    if direction != "forward":
        raise ProblemError(f"a quantised problem has no direction {direction!r}; it is computed forward only.")
    if epilogue is not None:
        raise ProblemError(
            f"a quantised problem has no epilogue such as {epilogue}; clamping to the result's format, with a "
            "zero point, is what relu and clip become, so leave the epilogue out."
        )
    most = (2**31 - 1 - LARGEST_BIAS) // quantization.largest_product
    if terms > most:
        raise ProblemError(
            f"each sum of {quantization} has {terms:,} products, and 32 bits hold {most:,} of any size; use fewer "
            "channels, more groups or a smaller kernel."
        )
