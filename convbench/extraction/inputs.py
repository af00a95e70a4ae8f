"""The inputs of a model, as the caller gives them: shapes, by the names of the inputs or in their order.

`1,3,224,224` is a shape, `mask=1,1,224,224` that of the input called mask. Where no file says the types, as for a torch
module, `ids=1,16:int64` is a tensor of integers, and `scale=0.5`, `steps=4:int` and `flag=true` are plain values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.errors import ModelError, did_you_mean

_TENSORS = (
    *("float64", "float32", "float16", "bfloat16", "complex64", "bool"),
    *("int64", "int32", "int16", "int8", "uint8"),
)
_TEXT = re.compile(r"(?:(?P<name>.+)=)?(?P<value>[^=:]*?)(?::(?P<type>[A-Za-z0-9]+))?", re.DOTALL)
_SHAPE = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class InputRequest:
    """A tensor of `shape`, by default in the model's dtype, or a plain `value`. Without a name, its place says which
    input it is."""

    shape: tuple[int, ...] = ()
    name: str | None = None
    dtype: str | None = None
    value: bool | int | float | None = None

    def __str__(self) -> str:
        value = ",".join(map(str, self.shape)) if self.value is None else str(self.value).lower()
        kind = type(self.value).__name__ if isinstance(self.value, (int, float)) else self.dtype
        typed = f"{value}:{kind}" if kind and not isinstance(self.value, bool) else value
        return typed if self.name is None else f"{self.name}={typed}"


@dataclass(frozen=True)
class Inputs:
    """What is given of a model's inputs. `batch` replaces the batch of its image."""

    requested: tuple[InputRequest, ...] = ()
    batch: int | None = None

    @classmethod
    def of(cls, value: Any, batch: int | None = None) -> Inputs:
        """From None, a shape, a text, texts, or shapes and texts by name. Raises `ModelError`."""
        if batch is not None and batch < 1:
            raise ModelError(f"the batch is {batch}; it should be at least 1.")
        requested = tuple(_requests(value))
        for one in requested:
            if one.value is None and (not one.shape or min(one.shape) < 1):
                raise _misunderstood(str(one))
        if (
            len(requested) == 1
            and requested[0].name is None
            and requested[0].value is None
            and len(requested[0].shape) < 2
        ):
            raise ModelError(
                f"the input shape is {requested[0]}; it should be batch, channels, height and width, such as "
                "1,3,224,224."
            )
        names = [one.name for one in requested if one.name is not None]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ModelError(f"the input {repeated[0]} is given twice; give it once.")
        return cls(requested, batch)

    def by_name(self, names: Sequence[str], image: str, where: str) -> dict[str, InputRequest]:
        """What is given, by the names of the model's inputs. One shape without a name is that of the `image`.

        Raises `ModelError` for a name that the model lacks, and for more inputs than it has.
        """
        matched = {one.name: one for one in self.requested if one.name is not None}
        if unknown := [name for name in matched if name not in names]:
            raise ModelError(
                f"{where}: there is no input {unknown[0]!r}.{did_you_mean(unknown[0], names)} "
                f"Its inputs are {', '.join(names) or 'none'}."
            )
        unnamed = [one for one in self.requested if one.name is None]
        places = [name for name in names if name not in matched]
        if len(unnamed) == 1 and image in places:
            places = [image]
        if len(unnamed) > len(places):
            raise ModelError(
                f"{where}: {len(self.requested)} inputs are given, and it takes {len(names)}: "
                f"{', '.join(names) or 'none'}."
            )
        return matched | dict(zip(places, unnamed, strict=False))

    def only_shape(self, where: str) -> tuple[int, ...] | None:
        """The one shape that is given for the image of a model whose other inputs are known; None if there is none."""
        if len(self.requested) > 1 or any(one.name or one.value is not None or one.dtype for one in self.requested):
            texts = " and ".join(map(str, self.requested))
            raise ModelError(f"{where} takes an image; give its shape alone, such as --input 1,3,224,224, not {texts}.")
        return self.requested[0].shape if self.requested else None


def parse_input(text: str) -> InputRequest:
    """The input that a text such as `1,3,224,224` or `mask=1,1,224,224` gives. Raises `ModelError`."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise _misunderstood(text)
    name, value, kind = match["name"], match["value"].replace(" ", ""), match["type"]
    if value.lower() in _TRUTHS and kind in (None, "bool"):
        return InputRequest(name=name, value=_TRUTHS[value.lower()])
    if kind in ("int", "float") or (kind is None and not _SHAPE.fullmatch(value)):
        if not _NUMBER.fullmatch(value):
            raise _misunderstood(text)
        if kind == "int" and not re.fullmatch("[+-]?[0-9]{1,18}", value):
            raise _misunderstood(text)
        return InputRequest(name=name, value=int(value) if kind == "int" else float(value))
    if kind not in (None, *_TENSORS):
        raise ModelError(
            f"--input is {text!r}; there is no type {kind!r}.{did_you_mean(str(kind), _TENSORS)} "
            f"The types are {', '.join(_TENSORS)}, and int and float for plain numbers."
        )
    if not _SHAPE.fullmatch(value):
        raise _misunderstood(text)
    return InputRequest(tuple(map(int, value.split(","))), name, kind)


def _requests(value: Any) -> Iterable[InputRequest]:
    if value is None:
        return
    if isinstance(value, (str, InputRequest)):
        yield _one(value)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            requested = parse_input(f"{name}={one}") if isinstance(one, str) else _of_python(one)
            yield InputRequest(requested.shape, str(name), requested.dtype, requested.value)
    elif isinstance(value, Iterable):
        values = list(value)
        if values and all(isinstance(one, (str, InputRequest)) for one in values):
            yield from map(_one, values)
        elif values and all(isinstance(one, Iterable) for one in values):
            yield from map(_of_python, values)
        elif values:
            yield _of_python(values)
    else:
        raise _misunderstood(value)


def _one(value: str | InputRequest) -> InputRequest:
    return value if isinstance(value, InputRequest) else parse_input(value)


def _of_python(value: Any) -> InputRequest:
    """A shape as numbers, or a plain value."""
    if isinstance(value, (bool, int, float)):
        return InputRequest(value=value)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        sizes = list(value)
        if sizes and all(isinstance(size, int) and not isinstance(size, bool) for size in sizes):
            return InputRequest(tuple(sizes))
    raise _misunderstood(value)


def _misunderstood(requested: Any) -> ModelError:
    return ModelError(
        f"--input is {requested!r}; it should be whole numbers from 1, such as 1,3,224,224, or with an input's name, "
        "such as mask=1,1,224,224."
    )
