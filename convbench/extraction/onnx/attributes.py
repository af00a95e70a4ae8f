"""The attributes of an ONNX node, each checked when it is read: its type, its length and its values."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from convbench.errors import ModelError

_INT, _FLOAT, _STRING, _INTS = 2, 1, 3, 7  # AttributeProto.AttributeType
_LARGEST = 2**31
AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


class Attributes:
    """The attributes of `node`, a node of the file `path`. Readers raise `ModelError`: the node, what is given and what
    is expected."""

    def __init__(self, path: Path | str, node: Any) -> None:
        self._path, self._node = path, node
        self._attributes = {attribute.name: attribute for attribute in node.attribute}

    def __contains__(self, name: str) -> bool:
        return name in self._attributes

    def integers(self, name: str, count: int, meaning: str, least: int = -_LARGEST) -> tuple[int, ...] | None:
        """A list of `count` integers from `least` on; None if it is not given."""
        if name not in self._attributes:
            return None
        attribute = self._attributes[name]
        numbers = tuple(map(int, attribute.ints))
        if self._type(name) != _INTS or len(numbers) != count or any(not least <= n < _LARGEST for n in numbers):
            from_ = f" from {least} on" if least > -_LARGEST else ""
            raise self.refused(name, f"{count} integers{from_}, {meaning}")
        return numbers

    def integer(self, name: str, default: int, least: int) -> int:
        if name not in self._attributes:
            return default
        number = int(self._attributes[name].i)
        if self._type(name) != _INT or not least <= number < _LARGEST:
            raise self.refused(name, f"an integer from {least} on")
        return number

    def number(self, name: str, default: float) -> float:
        if name not in self._attributes:
            return default
        if self._type(name) != _FLOAT:
            raise self.refused(name, "a number")
        return float(self._attributes[name].f)

    def word(self, name: str, default: str, words: Collection[str]) -> str:
        if name not in self._attributes:
            return default
        word = bytes(self._attributes[name].s).decode(errors="replace")
        if self._type(name) != _STRING or word not in words:
            raise self.refused(name, f"one of {', '.join(words)}")
        return word

    def refused(self, name: str, expected: str) -> ModelError:
        return ModelError(
            f"{self._path}: {self._node.op_type} {layer_of(self._node)}: {name} is {self._shown(name)}; "
            f"it should be {expected}."
        )

    def _type(self, name: str) -> int:
        """Its type. In files of the first format it is not written, and follows from the field that is set."""
        attribute = self._attributes[name]
        if attribute.type:
            return int(attribute.type)
        fields = {"f": _FLOAT, "i": _INT, "s": _STRING}
        return next((kind for field, kind in fields.items() if attribute.HasField(field)), _INTS)

    def _shown(self, name: str) -> str:
        from onnx.helper import get_attribute_value

        try:
            text = str(get_attribute_value(self._attributes[name]))
        except Exception:  # of an unknown type
            return "of an unknown type"
        return text if len(text) <= 80 else f"{text[:77]}..."


def layer_of(node: Any) -> str:
    """The name of a node; of its first output if it has none."""
    return str(node.name or next(iter(node.output), ""))
