"""Padding that is done before a convolution, made part of it where that is the same convolution.

Models pad in three ways: by the convolution's own zeros, by an operation of its own (a padding module, `F.pad`, ONNX's
Pad), or by both. What a library is asked to do is one convolution with all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convbench.errors import ProblemError
from convbench.problem import ConvProblem, PaddingMode, Pair, Sides

NO_SIDES: Sides = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Padding:
    """Sides ((top, bottom), (left, right)) and what they are filled with; negative zeros are a crop."""

    sides: Sides = NO_SIDES
    mode: PaddingMode = "zeros"

    def then(self, other: Padding) -> Padding | None:
        """This padding and then `other` on its result, as one; None where there is no one padding that is the same.

        Zeros add up, but for a crop that is padded again, which loses what was cropped.
        """
        if other.sides == NO_SIDES:
            return self
        if self.sides == NO_SIDES:
            return other
        if self.mode != "zeros" or other.mode != "zeros":
            return None
        (top, bottom), (left, right) = self.sides
        (more_top, more_bottom), (more_left, more_right) = other.sides
        pairs = ((top, more_top), (bottom, more_bottom), (left, more_left), (right, more_right))
        if any(first < 0 < second for first, second in pairs):
            return None
        return Padding(((top + more_top, bottom + more_bottom), (left + more_left, right + more_right)))


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A call of conv2d as it was met: the image that it reads itself, and its own padding with zeros."""

    batch: int
    in_channels: int
    image: Pair
    out_channels: int
    kernel_size: Pair
    stride: Pair
    padding: Sides
    dilation: Pair
    groups: int
    bias: bool
    dtype: str

    def problem(self, done_before: Sequence[tuple[Pair, Padding]]) -> ConvProblem:
        """The problem, with as much as can be of the paddings that made its image, the last one first.

        Each is (the image before it, itself). Raises `ProblemError` where there is no such convolution.
        """
        image, padding = self.image, Padding(self.padding)
        found = self._problem(image, padding)
        for before, earlier in done_before:
            joined = earlier.then(padding)
            if joined is None:
                break
            try:
                found = self._problem(before, joined)
            except ProblemError:  # such as a crop of all there is, which is then filled up again
                break
            padding = joined
        return found

    def _problem(self, image: Pair, padding: Padding) -> ConvProblem:
        return ConvProblem(
            batch=self.batch,
            in_channels=self.in_channels,
            height=image[0],
            width=image[1],
            out_channels=self.out_channels,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=padding.sides,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias,
            padding_mode=padding.mode,
            dtype=self.dtype,  # type: ignore[arg-type]  # checked by ConvProblem
        )
