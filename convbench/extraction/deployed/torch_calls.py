"""The calls of ATen operators on tensors, as operations of a `DataFlow`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from convbench.extraction.deployed.data_flow import DataFlow, Operation
from convbench.extraction.deployed.torch_operators import TensorKind, operation_of

_SAME = ("alias", "detach", "clone")


class TorchCalls:
    """Notes calls in `flow`. A tensor's key is a number, and another one once it has been written to."""

    def __init__(self, flow: DataFlow) -> None:
        from torch.utils.weak import WeakTensorKeyDictionary

        self._flow, self._numbers = flow, count()
        self._keys: Any = WeakTensorKeyDictionary()

    def note(self, layer: str, function: Any, args: Sequence[Any], words: Mapping[str, Any], result: Any) -> None:
        """The call of an operator, other than a convolution that is listed."""
        self._note(operation_name(function), layer, function, args, words, result)

    def convolution(self, layer: str, args: Sequence[Any], result: Any) -> None:
        """The call of a convolution that is listed."""
        self._flow.add(Operation("convolution", (self._key(args[0]),), self._key(result), layer))

    def read(self, tensors: Iterator[Any]) -> None:
        """Something that is no operator reads these tensors."""
        self._flow.add(Operation("other", tuple(map(self._key, tensors)), self._new(None)))

    def leave(self, tensors: Iterator[Any]) -> None:
        """The model returns these tensors."""
        self._flow.leaves(map(self._key, tensors))

    def _note(
        self, name: str, layer: str, function: Any, args: Sequence[Any], words: Mapping[str, Any], result: Any
    ) -> None:
        schema = function._schema.arguments
        arguments = {entry.name: value for entry, value in zip(schema, args, strict=False)} | dict(words)
        tensors = list(_tensors_in(arguments.values()))
        operands = tuple(map(self._key, tensors))
        written = [arguments.get(e.name) for e in schema if e.alias_info is not None and e.alias_info.is_write]
        for tensor in _tensors_in(written):
            self._new(tensor)
        first = next(_tensors_in([result]), None)
        if name.removesuffix("_") in _SAME and not written and len(operands) == 1:
            self._flow.same(self._key(first), operands[0])
            return
        kinds = [TensorKind(tuple(t.shape), t.dim(), t.dtype, t.is_floating_point()) for t in tensors]
        self._flow.add(operation_of(name, arguments, kinds, operands, self._key(first), layer))

    def _key(self, tensor: Any) -> Hashable:
        if tensor is None:
            return self._new(None)
        key = self._keys.get(tensor)
        return self._new(tensor) if key is None else key

    def _new(self, tensor: Any) -> int:
        number = next(self._numbers)
        if tensor is not None:
            self._keys[tensor] = number
        return number


def operation_name(function: Any) -> str:
    """The name of an operator without its library and overload, such as `relu_`; empty for one that is not ATen's."""
    library, _, name = function.name().partition("::")
    return name.partition(".")[0] if library == "aten" else ""


def _tensors_in(nested: Any) -> Iterator[Any]:
    if isinstance(nested, (tuple, list, dict)) or type(nested).__name__ == "dict_values":
        for item in nested.values() if isinstance(nested, dict) else nested:
            yield from _tensors_in(item)
    elif hasattr(nested, "is_meta"):
        yield nested
