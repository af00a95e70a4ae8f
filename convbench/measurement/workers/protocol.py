"""How a run and its worker processes talk: frames of one JSON object and some arrays, over two pipes.

A frame is the length of its header (4 bytes, little-endian), the header (JSON, UTF-8), then the bytes of each array
that the header announces; of arrays on a shelf it has the places, and the worker fetches them. JSON rather than pickle:
what comes from a worker is data and can run nothing, and worker and run may be different versions of Python.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from convbench.measurement.workers.shared_arrays import ArrayLocation, SharedArrays

_LENGTH = struct.Struct("<I")
_ALIGNMENT_BYTES = 64
SENT_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in ("float64", "float32", "float16")} | {
    "bfloat16": np.dtype(ml_dtypes.bfloat16)
}


@dataclass(frozen=True)
class Message:
    """What one side tells the other: JSON-ready fields, and arrays by name."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def write_message(stream: BinaryIO, message: Message) -> None:
    """Write one frame and flush it."""
    shelf = message.arrays if isinstance(message.arrays, SharedArrays) else None
    arrays = {name: np.ascontiguousarray(array) for name, array in ({} if shelf else message.arrays).items()}
    announced = [(name, array.dtype.name, array.shape) for name, array in arrays.items()]
    shelved = {"shelf": [shelf.path, shelf.places]} if shelf else {}
    header = json.dumps({"fields": message.fields, "arrays": announced} | shelved).encode()
    stream.write(_LENGTH.pack(len(header)) + header)
    for array in arrays.values():
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def read_message(stream: BinaryIO, *, from_run: bool = False) -> Message | None:
    """Read one frame; None at the end of the stream. Raises `EOFError` when it ends inside a frame. Only what is
    `from_run` may name a file to read from."""
    start = stream.read(_LENGTH.size)
    if not start:
        return None
    if len(start) < _LENGTH.size:
        raise EOFError("the stream ended inside a message")
    header = json.loads(_exactly(stream, bytearray(_LENGTH.unpack(start)[0])))
    arrays = {name: _read_array(stream, dtype, tuple(shape)) for name, dtype, shape in header["arrays"]}
    if from_run and "shelf" in header:
        arrays |= _fetch(*header["shelf"])
    return Message(header["fields"], arrays)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An uninitialised array on a cache line's boundary, as frameworks allocate: alignment is no part of the luck."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT_BYTES
    return raw[start : start + size].view(dtype).reshape(shape)


def _fetch(path: str, places: Sequence[ArrayLocation]) -> dict[str, NDArray[Any]]:
    found = {}
    with Path(path).open("rb", buffering=0) as file:
        for name, dtype, shape, offset in places:
            file.seek(offset)
            found[name] = _read_array(file, dtype, tuple(shape))
    return found


def _read_array(stream: BinaryIO, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    array = aligned_empty(shape, SENT_DTYPES[dtype])
    if array.size:
        _exactly(stream, array.reshape(-1).view(np.uint8).data)
    return array


def _exactly(stream: BinaryIO, buffer: Any) -> Any:
    view = memoryview(buffer).cast("B")
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the stream ended inside a message")
        done += count
    return buffer
