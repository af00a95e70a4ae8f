"""Transposed convolutions: each is the gradient of an input, under another name.

What `ConvTranspose2d` computes from an image and a weight is what the gradient of the input is for a convolution whose
input has the shape of the result, and whose output gradient is the image (Dumoulin and Visin 2016, arXiv:1603.07285).
Its weight (C_in, C_out/groups, kh, kw) is that convolution's weight (O, C/groups, kh, kw) as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.errors import ProblemError
from convbench.problem import ConvProblem, Pair, Sides, output_size

BIAS_LEFT_OUT = "The bias of a transposed convolution, which the gradient of an input does not have"


@dataclass(frozen=True)
class TransposedConvolution:
    """One call: the shapes of its image (NCHW or CHW) and of its weight (C_in, C_out/groups, kh, kw), the (height,
    width) of its result, its padding, and `stride`, `dilation`, `groups` and `dtype` by name.

    Of the padding only the beginnings count; what is cut off at the ends follows from the size of the result.
    """

    image: tuple[int, ...]
    weight: tuple[int, ...]
    result: Pair
    padding: Sides
    arguments: Mapping[str, Any]

    @classmethod
    def of_output_padding(
        cls,
        image: tuple[int, ...],
        weight: tuple[int, ...],
        padding: Sides,
        output_padding: Pair,
        words: Mapping[str, Any],
    ) -> TransposedConvolution:
        """That whose result is larger by `output_padding`, which is added at the ends (torch's ConvTranspose2d)."""
        spans = _spans(weight, words["dilation"])
        extents = zip(image[-2:], words["stride"], spans, padding, output_padding, strict=True)
        height, width = (
            (size - 1) * step + span + more - before - after for size, step, span, (before, after), more in extents
        )
        return cls(image, weight, (height, width), padding, words)

    def problem(self, paddings: Sequence[Any] = ()) -> ConvProblem:
        """The gradient of the input that this is. `paddings` of its image are no part of it. Raises `ProblemError`."""
        batch, channels, *size = (1,) * (4 - len(self.image)) + self.image
        if channels != self.weight[0]:
            raise ProblemError(f"the weight is for {self.weight[0]} channels, and the image has {channels}.")
        spans, steps = _spans(self.weight, self.arguments["dilation"]), self.arguments["stride"]
        height, width = map(_sides, size, self.result, spans, steps, self.padding)
        return ConvProblem(
            batch=batch,
            in_channels=self.weight[1] * self.arguments["groups"],
            height=self.result[0],
            width=self.result[1],
            out_channels=channels,
            kernel_size=(self.weight[2], self.weight[3]),
            padding=(height, width),
            direction="input_gradient",
            **self.arguments,
        )


def _spans(weight: tuple[int, ...], dilation: Pair) -> tuple[int, ...]:
    return tuple(spacing * (taps - 1) + 1 for taps, spacing in zip(weight[2:], dilation, strict=True))


def _sides(size: int, result: int, span: int, step: int, sides: Pair) -> Pair:
    """The padding with which a convolution over `result` has `size` outputs: `sides` if they do. Else the end is where
    the last window ends, which crops rows that no window reaches; they are zero in both."""
    before, after = sides
    if output_size(result, span, step, before, after) == size:
        return sides
    return (before, (size - 1) * step + span - result - before)
