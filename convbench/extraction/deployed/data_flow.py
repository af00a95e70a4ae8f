"""`DataFlow`: the operations of a model that may be joined to its convolutions, and what reads which tensor.

Readers of models note every operation in the order in which it runs. A tensor has a key, which is its own for each
value: what is written in place has another key afterwards.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from convbench.problem.epilogue import Epilogue

Kind = Literal["convolution", "batch norm", "activation", "sum", "product", "other"]


@dataclass(frozen=True)
class Operation:
    """An operation in the layer of that name. A sum and a product are of two tensors."""

    kind: Kind
    operands: tuple[Hashable, ...]
    result: Hashable
    layer: str = ""
    activation: Epilogue | None = None
    """Of an activation that an epilogue has, without a sum."""
    name: str = ""
    """Of another activation, in the field's words."""
    obstacle: str | None = None
    """Why it can be joined to no convolution, such as `it is in training mode`."""


@dataclass
class DataFlow:
    """Operations in order, by keys of their operands and results. Keys of one value are replaced by one of them."""

    operations: list[Operation] = field(default_factory=list)
    _same_as: dict[Hashable, Hashable] = field(default_factory=dict)
    _outputs: set[Hashable] = field(default_factory=set)

    def add(self, operation: Operation) -> None:
        """Note the next operation."""
        operands = tuple(map(self._origin, operation.operands))
        self._same_as.pop(operation.result, None)
        self.operations.append(replace(operation, operands=operands))

    def same(self, result: Hashable, source: Hashable) -> None:
        """`result` has the value of `source`."""
        if (origin := self._origin(source)) != result:
            self._same_as[result] = origin

    def leaves(self, keys: Iterable[Hashable]) -> None:
        """The model gives these tensors to its caller."""
        self._outputs.update(map(self._origin, keys))

    def readers(self) -> dict[Hashable, list[int | None]]:
        """The places of the operations that read each tensor, one for each time; None is the caller of the model."""
        readers: dict[Hashable, list[int | None]] = {key: [None] for key in self._outputs}
        for place, operation in enumerate(self.operations):
            for key in operation.operands:
                readers.setdefault(key, []).append(place)
        return readers

    def _origin(self, key: Hashable) -> Hashable:
        return self._same_as.get(key, key)
