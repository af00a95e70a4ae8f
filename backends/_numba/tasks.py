"""Tasks in Numba: each compiled once and called by address, with the threads that take them one after the other.

Only `_each`, which hands tasks to threads, is compiled in Numba's parallel mode, because that takes half a second. It
calls the other functions by address, and finds their numbers and arrays through the address of a record.
"""

# Numba types these functions.
# mypy: ignore-errors
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, config, from_dtype, get_num_threads, njit, prange, types
from numba.extending import intrinsic

from .plan import Extents, Margins, Tiles


class Job:
    """A task function and its record of numbers and addresses of arrays. Keeps the arrays alive.

    `numbers` is a named tuple of a kind that `ARRAYS` knows. `code` is what else has to be kept alive.
    """

    def __init__(self, task: Any, numbers: Any, code: Any = None, **arrays: np.ndarray) -> None:
        fields = numbers._asdict() | dict.fromkeys(ARRAYS[type(numbers)], 0)
        self._place = {name: i for i, name in enumerate(fields)}
        self._record = np.array(list(fields.values()), np.int64)
        # The number of tasks taken from each thread's share, one cache line for each.
        self._taken = np.zeros((config.NUMBA_NUM_THREADS, _LINE // 8), np.int64)
        self._kept_alive = task, code, arrays
        self._call = task.address, numbers.tasks, self._taken.ctypes.data, self._record.ctypes.data
        self.point(**arrays)

    def point(self, **arrays: np.ndarray) -> None:
        """Use these arrays from now on. The caller keeps them alive until `run` is done."""
        for name, array in arrays.items():
            self._record[self._place[name]] = array.ctypes.data

    def run(self) -> None:
        self._taken[:] = 0
        _each(get_num_threads(), *self._call)


_LINE = 64
ARRAYS: dict[type, tuple[str, ...]] = {
    Margins: ("x", "row_sources", "column_sources", "row_runs", "column_runs", "zeros", "padded"),
    Extents: ("x", "taps_table", *Tiles._fields, "weights", "bias", "sums", "out", "residual"),
}

helper = njit(error_model="numpy")


def task_of(numbers: type) -> Callable[[Any], Any]:
    """Compile function(task, thread, address of the record of `numbers`), to be called by address."""
    record = from_dtype(np.dtype([(name, np.int64) for name in numbers._fields + ARRAYS[numbers]]))
    return cfunc(types.void(types.int64, types.int64, types.CPointer(record)), error_model="numpy")


@intrinsic
def pointer(typingctx, address):
    """The address in the type that `carray` takes. Arrays from it have length 1, but no index is checked."""

    def generate(context, builder, signature, values):
        return builder.inttoptr(values[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), generate


@intrinsic
def _take_one(typingctx, taken):
    """The number at address `taken`, atomically increased by 1 for the next thread."""

    def generate(context, builder, signature, values):
        counter = builder.inttoptr(values[0], values[0].type.as_pointer())
        return builder.atomic_rmw("add", counter, values[0].type(1), "monotonic")

    return types.int64(taken), generate


@intrinsic
def _call(typingctx, function, task, thread, record):
    """Call the function at the address `function` with (task, thread, record)."""
    return types.void(function, task, thread, record), called


def called(context, builder, signature, values):
    """The code of a call of the function at the address `values[0]` with the rest, which are numbers."""
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in values[1:]])
    builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
    return context.get_dummy_value()


@njit("void(int64, int64, int64, int64, int64)", parallel=True, nogil=True)
def _each(threads, function, tasks, taken, record):
    """Call function(task, thread, record) for each of `tasks`.

    A thread starts with its own share, which is always the same, so that its data may still be in its cache. Then it
    helps the others.
    """
    for worker in prange(threads):
        thread = np.int64(worker)
        for helped in range(thread, thread + threads):
            owner = helped % threads
            begin, end = owner * tasks // threads, (owner + 1) * tasks // threads
            task = begin + _take_one(taken + owner * _LINE)
            while task < end:
                _call(function, task, thread, record)
                task = begin + _take_one(taken + owner * _LINE)
