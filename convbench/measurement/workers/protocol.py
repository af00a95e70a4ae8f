"""How a run and its worker processes talk: frames of JSON and arrays over two pipes.

A frame is the length of its header (4 bytes, little-endian), the header (JSON, UTF-8: the message's name and fields),
then the bytes of its arrays. In the header an array is its dtype and shape, and shared arrays are their file and
locations. It is JSON rather than pickle because data from a worker must not run anything, and because worker and run
may be different versions of Python. The run checks the type of every field; the worker, which may lack msgspec, trusts
the run.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, get_type_hints

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from convbench.measurement.workers.messages import REQUESTS, Failed, Reply, ReplyT, Request
from convbench.measurement.workers.shared_arrays import ArrayLocation, SharedArrays

_LENGTH = struct.Struct("<I")
_LONGEST_HEADER_BYTES = 2**26
_ALIGNMENT_BYTES = 64
_ARRAY, _SHARED = "$array", "$shared"
SENT_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in ("float64", "float32", "float16")} | {
    "bfloat16": np.dtype(ml_dtypes.bfloat16)
}


class ProtocolError(Exception):
    """Bytes that are not a frame, or a reply of another type than its request needs."""


class Frame(NamedTuple):
    """A message as it was read: the name of its class or request, and its fields, not checked yet."""

    name: str
    fields: dict[str, Any]


def write_message(stream: BinaryIO, message: Request[Any] | Reply) -> None:
    """Write one frame and flush it."""
    arrays: list[NDArray[Any]] = []

    def encoded(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(np.ascontiguousarray(value))
            return {_ARRAY: [value.dtype.name, value.shape]}
        if isinstance(value, SharedArrays):
            return {_SHARED: [value.path, value.locations]}
        return {field.name: getattr(value, field.name) for field in fields(value)}

    name = message.name if isinstance(message, Request) else type(message).__name__
    header = json.dumps([name, encoded(message)], default=encoded).encode()
    stream.write(_LENGTH.pack(len(header)) + header)
    for array in arrays:
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def read_frame(stream: BinaryIO, *, from_run: bool = False) -> Frame | None:
    """Read one frame; None at the end of the stream. Only a frame `from_run` may name a file to read from. Raises
    `EOFError` when the stream ends inside a frame, `ProtocolError` for bytes that are no frame."""
    start = stream.read(_LENGTH.size)
    if not start:
        return None
    if len(start) < _LENGTH.size:
        raise EOFError("the stream ended inside a message")
    (length,) = _LENGTH.unpack(start)
    if length > _LONGEST_HEADER_BYTES:
        raise ProtocolError(f"a header of {length:,} bytes")
    header = _read_exactly(stream, bytearray(length))
    arrays: list[NDArray[Any]] = []  # their bytes follow the header in the order of their places in it

    def decoded(value: dict[str, Any]) -> Any:
        if value.keys() == {_ARRAY}:
            dtype, shape = value[_ARRAY]
            arrays.append(aligned_empty(tuple(shape), SENT_DTYPES[dtype]))
            return arrays[-1]
        return _read_shared(*value[_SHARED]) if from_run and value.keys() == {_SHARED} else value

    try:
        name, content = json.loads(header, object_hook=decoded)
    except (ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise ProtocolError(f"a header that cannot be read: {error}") from None
    if not isinstance(name, str) or not isinstance(content, dict):
        raise ProtocolError("a header without a name and fields")
    for array in arrays:
        _read_into(stream, array)
    return Frame(name, content)


def request_of(frame: Frame) -> Request[Any]:
    cls = REQUESTS[frame.name]
    types = {name: hint for name, hint in get_type_hints(cls).items() if is_dataclass(hint) and isinstance(hint, type)}
    return cls(**{name: types[name](**v) if name in types else v for name, v in frame.fields.items()})


def reply_of(frame: Frame, request: Request[ReplyT]) -> ReplyT | Failed:
    """The reply to `request`. Raises `ProtocolError` where it has another type, or a field of it has."""
    import msgspec

    expected = request.reply_type()
    if frame.name not in (expected.__name__, Failed.__name__):
        raise ProtocolError(f"a {frame.name[:40]!r} and no {expected.__name__!r}")
    try:
        received: type[ReplyT | Failed] = Failed if frame.name == Failed.__name__ else expected
        return msgspec.convert(frame.fields, received)
    except msgspec.ValidationError as error:
        raise ProtocolError(str(error)) from None


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An uninitialised array on a cache line's boundary, as frameworks allocate, so that alignment does not vary."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT_BYTES
    return raw[start : start + size].view(dtype).reshape(shape)


def _read_shared(path: str, locations: Sequence[ArrayLocation]) -> dict[str, NDArray[Any]]:
    arrays = {}
    with Path(path).open("rb", buffering=0) as file:
        for name, dtype, shape, offset in locations:
            file.seek(offset)
            arrays[name] = aligned_empty(tuple(shape), SENT_DTYPES[dtype])
            _read_into(file, arrays[name])
    return arrays


def _read_into(stream: Any, array: NDArray[Any]) -> None:
    if array.size:
        _read_exactly(stream, array.reshape(-1).view(np.uint8).data)


def _read_exactly(stream: Any, buffer: Any) -> Any:
    view = memoryview(buffer).cast("B")
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            raise EOFError("the stream ended inside a message")
        done += count
    return buffer
