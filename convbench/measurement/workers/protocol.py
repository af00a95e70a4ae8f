"""How a run and its worker processes talk: frames of JSON and arrays over two pipes.

A frame is four bytes that nothing else begins with, the id of the process that sends it, the number of the request, the
length of its header, the header (JSON, UTF-8: the message's name and fields), then the bytes of its arrays. In the
header an array is its dtype and shape, and shared arrays are their file and locations. It is JSON rather than pickle
because data from a worker must not run anything, and because worker and run may be different versions of Python.

The run believes nothing: it bounds every length before it allocates, and checks which process sent a frame, which
request it answers, and the type of every field. The worker, which may lack msgspec, trusts the run.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, Protocol, get_type_hints

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from convbench.measurement.workers.messages import REQUESTS, Failed, Reply, ReplyT, Request
from convbench.measurement.workers.shared_arrays import ArrayLocation, SharedArrays
from convbench.problem import ConvProblem
from convbench.status import Status

_PREFIX = struct.Struct("<4sIQI")  # the mark, the sender's process id, the request's number, bytes of the header
_MARK = b"\xc0nv\x02"
_LONGEST_HEADER_BYTES = 2**20  # 16,000 readings of a visit take a third of it
_MOST_AXES = 16
_LONGEST_REASON = 2000
_FAILURES = (Status.UNAVAILABLE, Status.UNSUPPORTED, Status.OUT_OF_MEMORY, Status.CRASHED, Status.ERROR)
_ALIGNMENT_BYTES = 64
_ARRAY, _SHARED = "$array", "$shared"
_FLOATS, _INTEGERS = ("float64", "float32", "float16"), ("uint8", "int8", "int32")
SENT_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in (*_FLOATS, *_INTEGERS)} | {
    "bfloat16": np.dtype(ml_dtypes.bfloat16)
}


class ProtocolError(Exception):
    """Bytes that are not a frame, or a reply of another type than its request needs."""


class Stream(Protocol):
    """What frames are read from."""

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill some of `buffer` and return how many bytes; 0 at the end."""


class Frame(NamedTuple):
    """A message as it was read: the name of its class or request, and its fields, not checked yet; the process that
    sent it, and the number of the request."""

    name: str
    fields: dict[str, Any]
    sender: int = 0
    number: int = 0


def encoded_message(message: Request[Any] | Reply, number: int = 0) -> list[Any]:
    """One frame, from this process, in pieces of bytes."""
    arrays: list[NDArray[Any]] = []

    def encoded(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(np.ascontiguousarray(value))
            return {_ARRAY: [value.dtype.name, value.shape]}
        if isinstance(value, SharedArrays):
            return {_SHARED: [value.path, value.locations]}
        if isinstance(value, ConvProblem):
            return value.as_dict()
        return {name: getattr(value, name) for name in _field_names(value.__class__)}

    name = message.name if isinstance(message, Request) else type(message).__name__
    header = json.dumps([name, encoded(message)], default=encoded).encode()
    prefix = _PREFIX.pack(_MARK, os.getpid(), number, len(header))
    return [prefix + header, *(array.reshape(-1).view(np.uint8).data for array in arrays)]


@cache
def _field_names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


def write_message(stream: BinaryIO, message: Request[Any] | Reply, number: int = 0) -> None:
    """Write one frame and flush it."""
    for piece in encoded_message(message, number):
        stream.write(piece)
    stream.flush()


def read_frame(stream: Stream, *, from_run: bool = False, most_bytes: int | None = None) -> Frame | None:
    """Read one frame; None at the end of the stream. Only a frame `from_run` may name a file to read from. Raises
    `EOFError` when the stream ends inside a frame, `ProtocolError` for bytes that are no frame, for a header that is
    too long, and for arrays of more than `most_bytes` bytes together."""
    prefix = bytearray(_PREFIX.size)
    if not (count := stream.readinto(prefix)):
        return None
    _read_exactly(stream, memoryview(prefix)[count:])
    mark, sender, number, length = _PREFIX.unpack(prefix)
    if mark != _MARK:
        raise ProtocolError(f"{bytes(prefix)!r}, which no message begins with")
    if length > _LONGEST_HEADER_BYTES:
        raise ProtocolError(f"a header of {length:,} bytes")
    header = _read_exactly(stream, bytearray(length))
    arrays: list[tuple[str, tuple[int, ...]]] = []  # their bytes follow the header in the order of their places in it
    places: list[tuple[dict[str, Any], str]] = []  # of those that stand in no list

    def decoded(value: dict[str, Any]) -> Any:
        if value.keys() == {_ARRAY}:
            arrays.append(_checked_array(*value[_ARRAY]))
            return _Position(len(arrays) - 1)
        places.extend((value, key) for key, item in value.items() if type(item) is _Position)
        return _read_shared(*value[_SHARED]) if from_run and value.keys() == {_SHARED} else value

    try:
        name, content = json.loads(header, object_hook=decoded, parse_constant=_refuse, parse_float=_finite)
    except (ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise ProtocolError(f"a header that cannot be read: {str(error)[:200]}") from None
    if not isinstance(name, str) or not isinstance(content, dict):
        raise ProtocolError("a header without a name and fields")
    size = sum(_size_bytes(*array) for array in arrays)
    if most_bytes is not None and size > most_bytes:
        raise ProtocolError(f"arrays of {size:,} bytes, where {most_bytes:,} are the most that can be meant")
    received = [_received(stream, *array) for array in arrays]
    if len(places) == len(arrays):
        for within, key in places:
            within[key] = received[within[key]]
        return Frame(name, content, sender, number)
    try:
        return Frame(name, _placed(content, received), sender, number)
    except RecursionError:
        raise ProtocolError("arrays in a header that is nested too deeply") from None


class _Position(int):
    """Where in the list of arrays one is that stands in a header."""


def _checked_array(dtype: Any, shape: Any) -> tuple[str, tuple[int, ...]]:
    if not isinstance(dtype, str) or dtype not in SENT_DTYPES:
        raise ValueError(f"an array of dtype {str(dtype)[:40]!r}")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise ValueError(f"an array of shape {str(shape)[:40]}")
    if not all(type(size) is int and 0 <= size < 2**62 for size in shape):
        raise ValueError(f"an array of shape {str(shape)[:40]}")
    return dtype, tuple(shape)


def _size_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * SENT_DTYPES[dtype].itemsize


def _received(stream: Stream, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        array = aligned_empty(shape, SENT_DTYPES[dtype])
    except (MemoryError, ValueError) as error:
        raise ProtocolError(f"an array of shape {list(shape)}: {error}") from None
    _read_into(stream, array)
    return array


def _placed(content: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    """`content` with the arrays at their places, in lists as well."""
    if isinstance(content, _Position):
        return arrays[content]
    if isinstance(content, dict):
        return {key: _placed(value, arrays) for key, value in content.items()}
    return [_placed(value, arrays) for value in content] if isinstance(content, list) else content


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant[:40]} is no finite number")


def request_of(frame: Frame) -> Request[Any]:
    cls = REQUESTS[frame.name]
    types = _dataclasses_in(frame.name)
    return cls(**{name: types[name](**v) if name in types else v for name, v in frame.fields.items()})


@cache  # because evaluating annotations takes longer than all else
def _dataclasses_in(request: str) -> dict[str, Any]:
    hints = get_type_hints(REQUESTS[request])
    return {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}


def reply_of(frame: Frame, request: Request[ReplyT]) -> ReplyT | Failed:
    """The reply to `request`. Raises `ProtocolError` where it has another type, a field of it has, or its figures are
    not those of the request."""
    import msgspec

    expected = request.reply_type()
    if frame.name not in (expected.__name__, Failed.__name__):
        raise ProtocolError(f"a {frame.name[:40]!r} and no {expected.__name__!r}")
    try:
        received: type[ReplyT | Failed] = Failed if frame.name == Failed.__name__ else expected
        reply = msgspec.convert(frame.fields, received)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise ProtocolError(str(error)[:400]) from None
    if isinstance(reply, Failed):
        if reply.status not in _FAILURES:
            raise ProtocolError(f"a failure whose status is {str(reply.status)!r}")
        return replace(reply, reason=reply.reason[:_LONGEST_REASON].encode(errors="backslashreplace").decode())
    if objection := request.objection(reply):
        raise ProtocolError(objection)
    return reply


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An uninitialised array on a cache line's boundary, as frameworks allocate, so that alignment does not vary."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
    start = -raw.__array_interface__["data"][0] % _ALIGNMENT_BYTES
    return raw[start : start + size].view(dtype).reshape(shape)


def _read_shared(path: str, locations: Sequence[ArrayLocation]) -> dict[str, NDArray[Any]]:
    arrays = {}
    with Path(path).open("rb", buffering=0) as file:
        for name, dtype, shape, offset in locations:
            file.seek(offset)
            arrays[name] = aligned_empty(tuple(shape), SENT_DTYPES[dtype])
            _read_into(file, arrays[name])
    return arrays


def _read_into(stream: Stream, array: NDArray[Any]) -> None:
    if array.size:
        _read_exactly(stream, array.reshape(-1).view(np.uint8).data)


def _read_exactly(stream: Stream, buffer: Any) -> Any:
    view = memoryview(buffer).cast("B")
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            raise EOFError("the stream ended inside a message")
        done += count
    return buffer
