"""Shared operands: each worker gets them whole, the run reads no file that a worker names, and nothing stays behind."""

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

from convbench.measurement.workers import shared_arrays
from convbench.measurement.workers.messages import Prepare
from convbench.measurement.workers.protocol import read_frame, request_of, write_message
from convbench.measurement.workers.shared_arrays import SharedArrayCache, SharedArrays
from convbench.problem import ConvProblem
from convbench.verification.operands import Operands

PROBLEM = ConvProblem(in_channels=2, height=3, width=4, out_channels=3, kernel_size=1)
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
    monkeypatch.setattr(shared_arrays.sys, "platform", request.param)
    return str(request.param)


def sent(arrays: Mapping[str, NDArray[Any]], from_run: bool = True) -> tuple[int, Any]:
    """The length of the frame, and the arrays that are read from it."""
    stream = io.BytesIO()
    write_message(stream, Prepare(problem=PROBLEM, operands=arrays))
    length = stream.tell()
    stream.seek(0)
    frame = read_frame(stream, from_run=from_run)
    assert frame is not None
    request = request_of(frame)
    assert isinstance(request, Prepare) and request.problem == PROBLEM
    return length, request.operands


def test_arrays_arrive_as_they_were_though_only_their_locations_were_sent(system: str) -> None:
    kept = SharedArrays(ARRAYS)
    try:
        for _ in range(2):  # for every reader
            length, received = sent(kept)
            assert length < 700
            assert list(received) == list(ARRAYS) == list(kept)
            for name, array in received.items():
                assert array.dtype == ARRAYS[name].dtype and np.array_equal(array, ARRAYS[name])
                assert array.flags.writeable and (array.ctypes.data % 64 == 0 or not array.size)
                array[...] = 0  # its own
    finally:
        kept.close()
    assert np.array_equal(kept["x"], ARRAYS["x"])
    with pytest.raises(OSError):
        sent(kept)


def test_the_run_reads_no_file_that_a_worker_names() -> None:
    kept = SharedArrays(ARRAYS)
    try:
        _, received = sent(kept, from_run=False)
    finally:
        kept.close()
    assert not any(isinstance(value, np.ndarray) for value in received.values())


def test_each_set_of_operands_of_a_case_is_shared_once_and_cleared_at_its_end(system: str) -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").is_dir() else 0

    before = open_files()
    one, other = Operands(ARRAYS["x"], ARRAYS["w"], ARRAYS["b"]), Operands(ARRAYS["x"], ARRAYS["w"], None)
    with SharedArrayCache() as cache:
        first = cache.of(one)
        assert cache.of(one) is first is not cache.of(other)
        assert (
            isinstance(first, SharedArrays) and list(first) == ["x", "w", "b"] and list(cache.of(other)) == ["x", "w"]
        )
    assert open_files() == before
    assert system == "linux" or not Path(first.path).exists()


def test_arrays_are_sent_where_they_cannot_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    for refused in ("memfd_create", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(shared_arrays.os, refused, full, raising=False)
            with SharedArrayCache() as cache:
                arrays = cache.of(Operands(ARRAYS["x"], ARRAYS["w"], None))
                length, received = sent(arrays)
        assert not isinstance(arrays, SharedArrays) and length > ARRAYS["x"].nbytes
        assert np.array_equal(received["w"], ARRAYS["w"])
