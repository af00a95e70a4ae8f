"""Padding before a convolution, made part of the convolution when the result is the same.

Models pad by the convolution's own zeros, by a separate operation (a padding module, `F.pad`, ONNX's Pad), or by both.
A library gets one convolution with all of the padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.errors import ProblemError
from convbench.problem import ConvProblem, PaddingMode, Pair, Sides

NO_SIDES: Sides = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Padding:
    """Sides ((top, bottom), (left, right)) and how they are filled. Negative sides in mode "zeros" crop."""

    sides: Sides = NO_SIDES
    mode: PaddingMode = "zeros"

    def then(self, other: Padding) -> Padding | None:
        """This padding followed by `other`, as one padding; None when no single padding does the same.

        Zeros add up, unless a crop is padded again: the cropped values are lost.
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


@dataclass(frozen=True)
class Convolution:
    """One call of conv2d: the shapes of its image (NCHW or CHW) and of its weight (OIHW), its own padding with zeros,
    and the other arguments of the `ConvProblem`."""

    image: tuple[int, ...]
    weight: tuple[int, ...]
    padding: Sides
    arguments: Mapping[str, Any]

    def problem(self, paddings: Sequence[tuple[Pair, Padding]]) -> ConvProblem:
        """The problem, with as many as possible of the `paddings` that made its image, the last one first.

        Each is a pair of the (height, width) before it, and the padding. Raises `ProblemError` for an impossible
        convolution.
        """
        padding = Padding(self.padding)
        problem = self._problem(self.image[-2:], padding)
        for before, earlier in paddings:
            joined = earlier.then(padding)
            if joined is None:
                break
            try:
                problem = self._problem(before, joined)
            except ProblemError:  # such as a crop of the whole image, which is then padded again
                break
            padding = joined
        return problem

    def _problem(self, size: tuple[int, ...], padding: Padding) -> ConvProblem:
        batch, channels, _, _ = (1,) * (4 - len(self.image)) + self.image
        return ConvProblem(
            batch=batch,
            in_channels=channels,
            height=size[0],
            width=size[1],
            out_channels=self.weight[0],
            kernel_size=(self.weight[2], self.weight[3]),
            padding=padding.sides,
            padding_mode=padding.mode,
            **self.arguments,
        )
