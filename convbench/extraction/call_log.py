"""`CallLog`: the calls that a reader of models meets, and the layers that follow from them.

The reader gives each tensor a key, so that it is known when a convolution reads the result of a padding. If something
else reads that result as well, the padding is not counted as part of the convolution.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from convbench.errors import ModelError, ProblemError
from convbench.extraction.layers import Layer, Reading, left_out_sentences
from convbench.extraction.padding import Convolution, Padding
from convbench.problem import Pair, Sides


@dataclass(frozen=True)
class _Padded:
    """The image of key `source`, (height, width) `before` it was padded."""

    source: Hashable
    before: Pair
    padding: Padding


@dataclass
class CallLog:
    """Calls in the order in which the reader meets them."""

    _convolutions: list[tuple[str, Hashable, Convolution]] = field(default_factory=list)
    _left_out: list[tuple[str, str]] = field(default_factory=list)
    _remarks: list[str] = field(default_factory=list)
    _padded: dict[Hashable, _Padded] = field(default_factory=dict)
    _same_as: dict[Hashable, Hashable] = field(default_factory=dict)
    _other_reads: set[Hashable] = field(default_factory=set)

    def convolution(self, layer: str, image: Hashable, call: Convolution) -> None:
        """`layer` calls conv2d on the image with that key."""
        self._convolutions.append((layer, image, call))

    def padded(self, result: Hashable, source: Hashable, before: Pair, padding: Padding) -> None:
        """`result` is the image `source`, whose (height, width) was `before`, with that padding around it."""
        self._padded[result] = _Padded(source, before, padding)

    def same(self, result: Hashable, source: Hashable) -> None:
        """`result` is the same image as `source`."""
        if self.knows(source):
            self._same_as[result] = source

    def read(self, key: Hashable) -> None:
        """An operation other than a convolution or a padding reads, or changes, the image with that key."""
        self._other_reads.add(self._origin(key))

    def leave_out(self, kind: str, layer: str) -> None:
        """`layer` runs something that is not a conv2d: `kind`, the beginning of a sentence."""
        self._left_out.append((kind, layer))

    def remark(self, sentence: str) -> None:
        """A sentence on what is left out, for no single layer."""
        self._remarks.append(sentence)

    def knows(self, key: Hashable) -> bool:
        """Whether padding made the image with that key."""
        return self._origin(key) in self._padded

    @property
    def is_empty(self) -> bool:
        return not self._convolutions

    def reading(self, input_shape: tuple[int, ...]) -> Reading:
        """The layers. Raises `ModelError` for an impossible convolution."""
        layers = tuple(self._layer(*call) for call in self._convolutions)
        return Reading(layers, (*left_out_sentences(self._left_out), *self._remarks), input_shape)

    def _layer(self, name: str, image: Hashable, call: Convolution) -> Layer:
        paddings = []
        while (padded := self._padded.get(key := self._origin(image))) and key not in self._other_reads:
            paddings.append((padded.before, padded.padding))
            image = padded.source
        try:
            return Layer(name, call.problem(paddings))
        except ProblemError as error:
            raise ModelError(f"the convolution {name or 'of this model'} cannot be computed: {error}") from None

    def _origin(self, key: Hashable) -> Hashable:
        while key in self._same_as:
            key = self._same_as[key]
        return key


def sides_of(last_first: tuple[int, ...]) -> Sides | None:
    """The sides of (left, right, top, bottom, ...), as `F.pad` takes them; None when it pads batch or channels."""
    if any(last_first[4:]) or len(last_first) < 2:
        return None
    left, right, top, bottom = (*last_first[:4], 0, 0)[:4]
    return ((top, bottom), (left, right))
