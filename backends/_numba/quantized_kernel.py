"""The steps around a quantised convolution in Numba, task by task: pairs of channels before it, rounding behind it."""

# Numba types these functions.
# mypy: ignore-errors
from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import carray

from .tasks import ARRAYS, helper, pointer, task_of


class Pairing(NamedTuple):
    """The numbers of a problem for the step that pads and pairs."""

    tasks: int
    pieces: int  # tasks for the rows of one phase of a pair
    own: int  # channels of a group
    pairs: int  # of a group
    height: int
    width: int
    row_phases: int
    column_phases: int
    rows: int  # of one phase
    columns: int  # of one phase
    step: int  # the stride along columns
    zero: int  # the zero point


class Requantization(NamedTuple):
    """The numbers of a problem for the step that rounds."""

    tasks: int
    pieces: int  # tasks for one plane
    channels: int
    pixels: int  # of a plane
    zero: int  # the zero point
    low: int  # the least number of the format
    high: int


ARRAYS |= {
    Pairing: ("x", "row_sources", "column_sources", "column_runs", "missing", "padded"),
    Requantization: ("sums", "multipliers", "out"),
}


@helper
def _pair(first, second, zero):
    """Two numbers without their zero point, as int16 in one int32."""
    return np.int32((np.int32(first) - zero & 0xFFFF) | (np.int32(second) - zero << 16))


@cache
def pair_task(dtype: str) -> Any:
    """The task that fills some rows of one pair of channels of the scratch image.

    The last channel of a group may have no second one: a row of zero points, `missing`, then stands for each of its
    rows. In `row_sources` and `column_sources` -1 means padding, for which a scratch without zero points has 0.
    """
    kind = np.dtype(dtype).type

    @helper
    def pair_run(target, left, right, count, step, zero):
        to = carray(pointer(target), 1, np.int32)
        first, second = carray(pointer(left), 1, kind), carray(pointer(right), 1, kind)
        if step == 1:  # which vectors compute
            for j in range(count):
                to[j] = _pair(first[j], second[j], zero)
        else:
            for j in range(count):
                to[j] = _pair(first[j * step], second[j * step], zero)

    @helper
    def pair_some(target, left, right, sources, begin, end, zero):
        to, sources = carray(pointer(target), 1, np.int32), carray(pointer(sources), 1, np.int64)
        first, second = carray(pointer(left), 1, kind), carray(pointer(right), 1, kind)
        for j in range(begin, end):
            at = sources[j]
            to[j] = _pair(first[at], second[at], zero) if at >= 0 else np.int32(0)

    @helper
    def clear(target, count):
        to = carray(pointer(target), 1, np.int32)
        for j in range(count):
            to[j] = 0

    @task_of(Pairing)
    def compute(task, thread, record):
        m = carray(record, 1)[0]
        row_sources, runs = carray(pointer(m.row_sources), 1, np.int64), carray(pointer(m.column_runs), 1, np.int64)
        rest, piece = divmod(task, m.pieces)
        plane, row_phase = divmod(rest, m.row_phases)
        group, pair = divmod(plane, m.pairs)
        x = m.x + (group * m.own + 2 * pair) * m.height * m.width
        alone, zero = 2 * pair + 1 == m.own, np.int32(m.zero)
        for phase in range(m.column_phases):
            begin, end, source = runs[3 * phase], runs[3 * phase + 1], runs[3 * phase + 2]
            sources = m.column_sources + phase * m.columns * 8
            target = m.padded + (rest * m.column_phases + phase) * m.rows * m.columns * 4
            for i in range(piece * m.rows // m.pieces, (piece + 1) * m.rows // m.pieces):
                row, to = row_sources[row_phase * m.rows + i], target + i * m.columns * 4
                if row < 0:
                    clear(to, m.columns)
                    continue
                left = x + row * m.width
                right = m.missing if alone else left + m.height * m.width
                pair_some(to, left, right, sources, 0, begin, zero)
                pair_run(to + begin * 4, left + source, right + source, end - begin, m.step, zero)
                pair_some(to, left, right, sources, end, m.columns, zero)

    return compute


@cache
def requantize_task(dtype: str) -> Any:
    """The task that turns some sums of one plane into numbers of `dtype`: float32, or rounded and clamped to 8 bits."""
    kind, size = np.dtype(dtype).type, np.dtype(dtype).itemsize

    @helper
    def scale(source, target, count, multiplier):
        sums, out = carray(pointer(source), 1, np.int32), carray(pointer(target), 1, np.float32)
        for i in range(count):
            out[i] = np.float32(sums[i]) * multiplier

    @helper
    def requantize(source, target, count, multiplier, zero, low, high):
        sums, out = carray(pointer(source), 1, np.int32), carray(pointer(target), 1, kind)
        for i in range(count):
            rounded = np.rint(np.float32(sums[i]) * multiplier)
            # Clamped before it is an integer, because a conversion of what int32 cannot hold is not defined.
            rounded = low if rounded < low else rounded
            rounded = high if rounded > high else rounded
            out[i] = np.int32(rounded) + zero

    floating = dtype == "float32"

    @task_of(Requantization)
    def compute(task, thread, record):
        m = carray(record, 1)[0]
        plane, piece = divmod(task, m.pieces)
        begin, end = piece * m.pixels // m.pieces, (piece + 1) * m.pixels // m.pieces
        multiplier = carray(pointer(m.multipliers), 1, np.float32)[plane % m.channels]
        at = plane * m.pixels + begin
        source, target = m.sums + at * 4, m.out + at * size
        if floating:
            scale(source, target, end - begin, multiplier)
        else:
            low, high = np.float32(m.low - m.zero), np.float32(m.high - m.zero)
            requantize(source, target, end - begin, multiplier, np.int32(m.zero), low, high)

    return compute
