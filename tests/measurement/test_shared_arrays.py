"""Operands on a shelf: every worker gets them whole, nobody else is made to read a file, and nothing stays behind."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from convbench.measurement.workers import shared_arrays as shelf
from convbench.measurement.workers.protocol import Message, read_message, write_message
from convbench.measurement.workers.shared_arrays import SharedArrayCache, SharedArrays
from convbench.verification.operands import Operands

ARRAYS: dict[str, NDArray[Any]] = {
    "x": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4),
    "w": np.arange(6, dtype=np.float64).reshape(3, 2, 1, 1)[::-1],  # not contiguous
    "b": np.array([1.5, -2], ml_dtypes.bfloat16),
    "none": np.empty((0, 3), np.float16),
}


@pytest.fixture(params=["linux", "elsewhere"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "linux" and sys.platform != "linux":
        pytest.skip("there are no such files here")
    monkeypatch.setattr(shelf.sys, "platform", request.param)
    return str(request.param)


def sent(arrays: Mapping[str, NDArray[Any]], from_run: bool = True) -> tuple[int, Message]:
    """The length of the frame, and what is read from it."""
    stream = io.BytesIO()
    write_message(stream, Message({"command": "prepare"}, arrays))
    length = stream.tell()
    stream.seek(0)
    message = read_message(stream, from_run=from_run)
    assert message is not None
    return length, message


def test_arrays_arrive_as_they_were_though_only_their_places_were_sent(system: str) -> None:
    kept = SharedArrays(ARRAYS)
    try:
        for _ in range(2):  # however many fetch them
            length, message = sent(kept)
            assert length < 400 and message.fields == {"command": "prepare"}
            assert list(message.arrays) == list(ARRAYS) == list(kept)
            for name, array in message.arrays.items():
                assert array.dtype == ARRAYS[name].dtype and np.array_equal(array, ARRAYS[name])
                assert array.flags.writeable and (array.ctypes.data % 64 == 0 or not array.size)
                array[...] = 0  # its own
    finally:
        kept.clear()
    assert np.array_equal(kept["x"], ARRAYS["x"])
    with pytest.raises(OSError):
        sent(kept)


def test_the_run_reads_no_file_that_a_worker_names() -> None:
    kept = SharedArrays(ARRAYS)
    try:
        _, message = sent(kept, from_run=False)
    finally:
        kept.clear()
    assert message.arrays == {}


def test_a_case_has_one_shelf_for_each_set_of_operands_and_none_afterwards(system: str) -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").is_dir() else 0

    before = open_files()
    one, other = Operands(ARRAYS["x"], ARRAYS["w"], ARRAYS["b"]), Operands(ARRAYS["x"], ARRAYS["w"], None)
    with SharedArrayCache() as shelves:
        first = shelves.of(one)
        assert shelves.of(one) is first is not shelves.of(other)
        assert (
            isinstance(first, SharedArrays) and list(first) == ["x", "w", "b"] and list(shelves.of(other)) == ["x", "w"]
        )
    assert open_files() == before
    assert system == "linux" or not Path(first.path).exists()


def test_where_there_can_be_no_shelf_arrays_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    for refused in ("memfd_create", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(shelf.os, refused, full, raising=False)
            with SharedArrayCache() as shelves:
                arrays = shelves.of(Operands(ARRAYS["x"], ARRAYS["w"], None))
                length, message = sent(arrays)
        assert not isinstance(arrays, SharedArrays) and length > ARRAYS["x"].nbytes
        assert np.array_equal(message.arrays["w"], ARRAYS["w"])
