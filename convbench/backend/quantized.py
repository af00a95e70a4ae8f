"""What a backend declares about quantised problems, as data: what it computes, and how it rounds.

`convbench.backend` has both names, for `Supports.quantized` and `Arithmetic.quantized`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass
from typing import Literal, get_args

from convbench.problem.quantization import INPUT_FORMATS, RESULT_FORMATS, Quantization

Halves = Literal["even", "even-with-zero-point", "away", "up", "any"]
Multiplier = Literal["exact", "float64", "float32", "fixed"]

FORMATS = tuple(f"{first}:{result}" for first in INPUT_FORMATS for result in RESULT_FORMATS)
"""Every pair `input:result`: u8:s32, u8:f32, u8:u8, u8:s8, s8:s32 ..."""

_WITH_ZERO_POINTS = tuple(f"{word}{z}" for word in INPUT_FORMATS for z in ("", "z"))


@dataclass(frozen=True)
class QuantizedSupport:
    """The quantised problems that a backend computes. Weights are int8.

    `formats` takes any iterable of pairs `input:result`, such as {"u8:u8", "s8:s8", "u8:s32"}. Raises `TypeError` for
    an unknown pair.
    """

    formats: Set[str]
    input_zero_point: bool = True
    result_zero_point: bool = True
    """Whether the zero points of input and result may be other than 0."""
    per_channel: bool = True
    per_tensor: bool = True
    """Whether weights may have a scale for each output channel, and one for all."""
    weight_zero_point: bool = False
    """Whether weights may have zero points other than 0."""

    def __post_init__(self) -> None:
        if isinstance(self.formats, str) or (unknown := sorted(set(self.formats) - set(FORMATS))):
            shown = self.formats if isinstance(self.formats, str) else ", ".join(unknown)
            raise TypeError(f"formats is or has {shown!r}; it should be a set of {', '.join(FORMATS)}")
        object.__setattr__(self, "formats", frozenset(self.formats))

    def reason_against(self, quantization: Quantization) -> str | None:
        """Why problems with this quantization are not supported, as a sentence; None when they are."""
        q = quantization
        if (pair := f"{q.input}:{q.result}") not in self.formats:
            known = ", ".join(pair for pair in FORMATS if pair in self.formats)
            return f"computes int8 as {known} only (input:result), not {pair}"
        if q.input_zero_point and not self.input_zero_point:
            return "takes no zero point of the input other than 0"
        if q.result_zero_point and not self.result_zero_point:
            return "takes no zero point of the result other than 0"
        if q.weight_zero_point and not self.weight_zero_point:
            return "takes no zero points of the weight other than 0"
        has_scales = q.result != "s32"
        if has_scales and q.per_channel and not self.per_channel:
            return "takes one weight scale for all channels only"
        if has_scales and not q.per_channel and not self.per_tensor:
            return "takes a weight scale for each channel only"
        return None


@dataclass(frozen=True)
class QuantizedArithmetic:
    """How a backend gets from int32 sums to a result of 8 bits or float32. Sums themselves have to be exact.

    Let v = sum * x_scale * w_scale[o] / y_scale, an exact number. The result is v rounded once to an integer, plus the
    zero point, clamped. Where the declared arithmetic may have computed v on the other side of a half, the neighbour is
    right, too: one step, for the few elements that are so near. Everything else is wrong. Raises `TypeError` for an
    unknown word.
    """

    halves: Halves = "even"
    """Where a v goes that lies exactly between two integers: to the even one; to the one that is even after the zero
    point is added; away from zero; up; or to either ("any"). Checked on scales that are powers of two, where every
    arithmetic but "fixed" is exact."""
    multiplier: Multiplier = "float32"
    """How v is computed from the sum: with no error at all ("exact"); in some float64 or float32 operations, the bias
    perhaps scaled and added in that format; or by gemmlowp's integer arithmetic, a multiplier of 31 bits and a shift,
    with a rounding after each ("fixed")."""
    saturates: bool | Collection[str] = False
    """Whether sums of two products pass through 16 bits and are clamped there, as by AVX2's vpmaddubsw; or for which
    inputs, such as {"u8"}. Such a backend is right only with weights in [-64, 63]; with larger ones, what clamping can
    change is forgiven. Declare it only where the library documents it. It may depend on the CPU, as all of
    `Backend.arithmetic`."""

    halves_weights: bool = False
    """Whether weights may be halved and rounded to even integers where the input is s8, and sums doubled, as oneDNN
    does without VNNI: half of a weight is small enough that no sum of two products saturates. An answer is then right
    for the weights w, or for 2 * round(w / 2) in their place, at all of its elements. Sums do not saturate where the
    input is s8, whatever `saturates` says."""

    float_sums: Collection[str] = ()
    """The inputs, such as {"u8z"}, where z is a zero point, of which the library may add dequantised numbers in float32
    instead of integers, as a QDQ model is written. The neighbour is then right, too, where such a sum may have crossed
    a half. Where all scales are powers of two and no sum is above 2^24, nothing rounds and nothing is forgiven."""

    least_weight: int = -128
    """The least weight that the library takes; -127 for those whose documentation leaves -128 out."""

    symmetric: bool = False
    """Whether -128 is no number of the library's int8: it is never given as an input, and results are clamped to
    [-127, 127]. Such a library takes no zero points."""

    def __post_init__(self) -> None:
        for name, known in (("halves", get_args(Halves)), ("multiplier", get_args(Multiplier))):
            if getattr(self, name) not in known:
                raise TypeError(f"{name} is {getattr(self, name)!r}; it should be one of {', '.join(known)}")
        if not isinstance(self.saturates, bool):
            object.__setattr__(self, "saturates", _inputs("saturates", self.saturates, INPUT_FORMATS))
        object.__setattr__(self, "float_sums", _inputs("float_sums", self.float_sums, _WITH_ZERO_POINTS))

    def saturates_on(self, quantization: Quantization) -> bool:
        """Whether sums of two products may be clamped where the input has the format of `quantization`."""
        declared = self.saturates if isinstance(self.saturates, bool) else quantization.input in self.saturates
        return declared and not self.halves_weights_of(quantization)

    def adds_floats_on(self, quantization: Quantization) -> bool:
        """Whether dequantised numbers may be added in float32 where the input has the format of `quantization`."""
        return quantization.input + "z" * quantization.input_zero_point in self.float_sums

    def halves_weights_of(self, quantization: Quantization) -> bool:
        """Whether weights may be halved where the input has the format of `quantization`."""
        return self.halves_weights and quantization.input == "s8"


def _inputs(name: str, words: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """`words` without order, as records keep them. Raises `TypeError` where one is not known, and for a text."""
    if isinstance(words, str) or (unknown := sorted(set(words) - set(known))):
        shown = words if isinstance(words, str) else ", ".join(unknown)
        raise TypeError(f"{name} is or has {shown!r}; it should be a set of {', '.join(known)}")
    return tuple(sorted(words))
