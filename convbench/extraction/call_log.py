"""`CallLog`: the calls that a reader of models meets, and the layers that follow from them.

The reader gives each tensor a key, so that it is known when a convolution reads the result of a padding. If something
else reads that result as well, the padding is not counted as part of the convolution.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from convbench.errors import ModelError, ProblemError
from convbench.extraction.layers import Layer, Reading, left_out_sentences
from convbench.extraction.padding import Convolution, Padding
from convbench.problem import Pair, Sides


@dataclass
class CallLog:
    """Calls in the order in which the reader meets them."""

    convolutions: list[tuple[str, Hashable, Convolution]] = field(default_factory=list)
    """Each call with its layer and the key of its image."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """What runs and is no conv2d, as the beginning of a sentence, with its layer."""
    remarks: list[str] = field(default_factory=list)
    """Sentences on what is left out, for no single layer."""
    _padded: dict[Hashable, tuple[Hashable, Pair, Padding]] = field(default_factory=dict)
    _same_as: dict[Hashable, Hashable] = field(default_factory=dict)
    _other_reads: set[Hashable] = field(default_factory=set)

    def padded(self, result: Hashable, source: Hashable, before: Pair, padding: Padding) -> None:
        """`result` is the image `source`, whose (height, width) was `before`, with that padding around it."""
        self._padded[result] = (source, before, padding)

    def same(self, result: Hashable, source: Hashable) -> None:
        """`result` is the same image as `source`."""
        if self.knows(source):
            self._same_as[result] = source

    def read(self, key: Hashable) -> None:
        """An operation other than a convolution or a padding reads, or changes, the image with that key."""
        self._other_reads.add(self._origin(key))

    def knows(self, key: Hashable) -> bool:
        """Whether padding made the image with that key."""
        return self._origin(key) in self._padded

    def reading(self, input_shape: tuple[int, ...]) -> Reading:
        """The layers. Raises `ModelError` for an impossible convolution."""
        layers = tuple(self._layer(*call) for call in self.convolutions)
        return Reading(layers, (*left_out_sentences(self.left_out), *self.remarks), input_shape)

    def _layer(self, name: str, image: Hashable, call: Convolution) -> Layer:
        paddings = []
        while (padded := self._padded.get(key := self._origin(image))) and key not in self._other_reads:
            image, before, padding = padded
            paddings.append((before, padding))
        try:
            return Layer(name, call.problem(paddings))
        except ProblemError as error:
            raise ModelError(f"the convolution {name or 'of this model'} cannot be computed: {error}") from None

    def _origin(self, key: Hashable) -> Hashable:
        while key in self._same_as:
            key = self._same_as[key]
        return key


def pair_of(numbers: Sequence[int]) -> Pair:
    """(height, width), from one number for both or two."""
    return (numbers[0], numbers[-1])


def sides_of(last_first: tuple[int, ...]) -> Sides | None:
    """The sides of (left, right, top, bottom, ...), as `F.pad` takes them; None when it pads batch or channels."""
    if any(last_first[4:]) or len(last_first) < 2:
        return None
    left, right, top, bottom = (*last_first[:4], 0, 0)[:4]
    return ((top, bottom), (left, right))
