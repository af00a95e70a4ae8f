"""Direct convolution in Numba: pad into a scratch image, then fill the output tile by tile, task by task.

The scratch image of one channel is cut into phases, one for each remainder of the stride that a tap needs. So pixels
that one tap reads a stride apart are neighbours, and the inner loop needs no stride, dilation or padding: a tap is an
offset, a tile is a run of neighbouring output pixels, and both are tables (see `_numba/plan.py`).

A task is compiled once per dtype, width of vectors and assignment of the lanes, and never per problem.
"""

# Numba types these functions.
# mypy: ignore-errors
from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from .plan import Extents, Margins
from .tasks import called, helper, pointer, task_of
from .vectors import VECTORS, VectorCode, vector_code


@intrinsic
def _call_square(typingctx, function, sums, pitch, bias, out, plane, residual):
    """Call the store at the address `function` (`epilogue.EndedCode.square`)."""
    return types.void(function, sums, pitch, bias, out, plane, residual), called


@intrinsic
def _call_row(typingctx, function, out, source, count, bias, residual):
    """Call the store at the address `function` (`epilogue.EndedCode.row`)."""
    return types.void(function, out, source, count, bias, residual), called


@cache
def pad_task(dtype: str, lanes: int, max_height: int) -> Any:
    """The task that fills some rows of one channel of the scratch image.

    Nearly all rows and columns come from the input at even distances, and are copied as one block by vectors. The
    margins around it are zeros, or come from `row_sources` and `column_sources`, in which -1 means zero.
    """
    code = vector_code(dtype, lanes, max_height, "channels")
    copy_rows, copy_every_second = code.copy_rows, code.copy_every_second
    size, kind = np.dtype(dtype).itemsize, np.dtype(dtype).type

    @helper
    def copy_block(target, source, count, rows, target_pitch, source_pitch, step):
        if step == 1:
            copy_rows(target, source, count, rows, target_pitch, source_pitch)
        elif step == 2:
            copy_every_second(target, source, count, rows, target_pitch, source_pitch)
        else:
            padded, x = carray(pointer(target), 1, kind), carray(pointer(source), 1, kind)
            for i in range(rows):
                for j in range(count):
                    padded[i * target_pitch + j] = x[i * source_pitch + j * step]

    @helper
    def fill_margin(target, rows, columns, pitch, row_sources, column_sources, x, width):
        padded, x = carray(pointer(target), 1, kind), carray(pointer(x), 1, kind)
        row_sources = carray(pointer(row_sources), 1, np.int64)
        column_sources = carray(pointer(column_sources), 1, np.int64)
        for j in range(columns):
            for i in range(rows):
                inside = row_sources[i] >= 0 and column_sources[j] >= 0
                padded[i * pitch + j] = x[row_sources[i] * width + column_sources[j]] if inside else kind(0)

    @task_of(Margins)
    def pad(task, thread, record):
        m = carray(record, 1)[0]
        row_runs, column_runs = carray(pointer(m.row_runs), 1, np.int64), carray(pointer(m.column_runs), 1, np.int64)
        rest, piece = divmod(task, m.pieces)
        plane, row_phase = divmod(rest, m.row_phases)
        x = m.x + plane * m.height * m.width * size
        first, last = piece * m.rows // m.pieces, (piece + 1) * m.rows // m.pieces
        top = min(max(row_runs[3 * row_phase], first), last)
        bottom = min(max(row_runs[3 * row_phase + 1], top), last)
        source_row = row_runs[3 * row_phase + 2] + (top - row_runs[3 * row_phase]) * m.row_step
        row_sources = m.row_sources + row_phase * m.rows * 8
        for phase in range(m.column_phases):
            column_sources = m.column_sources + phase * m.columns * 8
            left, right, source = column_runs[3 * phase], column_runs[3 * phase + 1], column_runs[3 * phase + 2]
            target = m.padded + (rest * m.column_phases + phase) * m.rows * m.columns * size
            copy_block(
                target + (top * m.columns + left) * size, x + (source_row * m.width + source) * size,
                right - left, bottom - top, m.columns, m.row_step * m.width, m.column_step,
            )  # fmt: skip
            for begin, end, margin_begin, margin_end in (
                (first, top, 0, m.columns),
                (top, bottom, 0, left),
                (top, bottom, right, m.columns),
                (bottom, last, 0, m.columns),
            ):
                margin = target + (begin * m.columns + margin_begin) * size
                rows, columns = end - begin, margin_end - margin_begin
                if m.zero_margins:
                    copy_rows(margin, m.zeros, columns, rows, m.columns, 0)
                else:
                    at = row_sources + begin * 8, column_sources + margin_begin * 8
                    fill_margin(margin, rows, columns, m.columns, *at, x, m.width)

    return pad


@helper
def _place(task, e):
    """The image, group, block of channels and band of pixels of a task."""
    if e.blocks_first:
        rest, band = divmod(task, e.bands)
        rest, block = divmod(rest, e.blocks)
    else:
        rest, block = divmod(task, e.blocks)
        rest, band = divmod(rest, e.bands)
    return rest // e.groups, rest % e.groups, block, band


def transposing_store(code: VectorCode, dtype: str, lanes: int) -> Any:
    """A function that stores sums, pixels by a block of channels, as channels by pixels, with a bias for each."""
    store_transposed = code.store_transposed
    block, size, kind = VECTORS * lanes, np.dtype(dtype).itemsize, np.dtype(dtype).type

    @helper
    def store(plane, sums, pixels, bias, channels, out):
        if pixels < lanes or channels < lanes:
            total, added = carray(pointer(sums), 1, kind), carray(pointer(bias), 1, kind)
            stored = carray(pointer(out), 1, kind)
            for k in range(channels):
                for p in range(pixels):
                    stored[k * plane + p] = total[p * block + k] + added[k]
            return
        # The last square on each side is moved back to fit, and stores some sums again.
        for next_k in range(0, channels, lanes):
            k = min(next_k, channels - lanes)
            for next_p in range(0, pixels, lanes):
                p = min(next_p, pixels - lanes)
                source, target = sums + (p * block + k) * size, out + (k * plane + p) * size
                store_transposed(source, block, bias + k * size, target, plane)

    return store


def _stored_squares(code: VectorCode, dtype: str, lanes: int) -> Any:
    """A function that stores the sums of a task with the bias of each channel."""
    transposing, size = transposing_store(code, dtype, lanes), np.dtype(dtype).itemsize

    @helper
    def store(e, sums, pixels, channel, channels, place):
        transposing(e.pixels, sums, pixels, e.bias + channel * size, channels, e.out + place * size)

    return store


def _ended_squares(code: VectorCode, dtype: str, lanes: int) -> Any:
    """The same with an epilogue, in registers; where a square does not fit, by rows of the output."""
    block, size, kind = VECTORS * lanes, np.dtype(dtype).itemsize, np.dtype(dtype).type

    @helper
    def store(e, sums, pixels, channel, channels, place):
        bias, out, residual = e.bias + channel * size, e.out + place * size, e.residual + place * size
        if pixels < lanes or channels < lanes:
            total, stored = carray(pointer(sums), 1, kind), carray(pointer(out), 1, kind)
            for k in range(channels):
                for p in range(pixels):
                    stored[k * e.pixels + p] = total[p * block + k]
                row = k * e.pixels * size
                _call_row(e.end_row, out + row, out + row, pixels, bias + k * size, residual + row)
            return
        # The last square on each side is moved back to fit, and stores some sums again.
        for next_k in range(0, channels, lanes):
            k = min(next_k, channels - lanes)
            for next_p in range(0, pixels, lanes):
                p = min(next_p, pixels - lanes)
                at = (k * e.pixels + p) * size
                source = sums + (p * block + k) * size
                _call_square(e.end_square, source, block, bias + k * size, out + at, e.pixels, residual + at)

    return store


def _stored_row(code: VectorCode, size: int) -> Any:
    """A function that stores sums of one channel with its bias."""
    add_bias = code.add_bias

    @helper
    def store(e, place, source, count, channel):
        add_bias(e.out + place * size, source, count, 1, 0, 0, e.bias + channel * size)

    return store


def _ended_row(size: int) -> Any:
    """The same with an epilogue."""

    @helper
    def store(e, place, source, count, channel):
        out, residual = e.out + place * size, e.residual + place * size
        _call_row(e.end_row, out, source, count, e.bias + channel * size, residual)

    return store


@cache
def channels_task(dtype: str, lanes: int, max_height: int, ends: bool = False) -> Any:
    """The task that computes a band of tiles of a block of output channels, with the channels in the lanes; and their
    epilogue, if it `ends` them.

    Tile t has the pixels starts[t] to starts[t + 1] of the output plane. The taps of the first one start at places[t].
    """
    code = vector_code(dtype, lanes, max_height, "channels")
    multiply_tile = code.multiply_tile
    store = (_ended_squares if ends else _stored_squares)(code, dtype, lanes)
    block, size = VECTORS * lanes, np.dtype(dtype).itemsize

    @task_of(Extents)
    def compute(task, thread, record):
        e = carray(record, 1)[0]
        image, group, which, band = _place(task, e)
        starts = carray(pointer(e.starts), 1, np.int64)
        places = carray(pointer(e.places), 1, np.int64)
        tap_begins = carray(pointer(e.tap_begins), 1, np.int64)
        tap_ends = carray(pointer(e.tap_ends), 1, np.int64)
        x = e.x + (image * e.image + group * e.group) * size
        weights = e.weights + (group * e.blocks + which) * e.taps * block * size
        sums = e.sums + thread * e.sums_size * size
        first, last = band * e.band, min((band + 1) * e.band, e.tiles)
        for chunk in range(0, e.taps, e.chunk):
            for t in range(first, last):
                begin, end = max(chunk, tap_begins[t]), min(chunk + e.chunk, tap_ends[t])
                if begin < end:
                    multiply_tile(
                        starts[t + 1] - starts[t],
                        x + places[t] * size,
                        e.taps_table + begin * 8,
                        end - begin,
                        weights + begin * block * size,
                        sums + (starts[t] - starts[first]) * block * size,
                        block,
                        begin - tap_begins[t],
                    )
        channel, valid = group * e.channels + which * block, min(block, e.channels - which * block)
        place = (image * e.groups * e.channels + channel) * e.pixels + starts[first]
        store(e, sums, starts[last] - starts[first], channel, valid, place)

    return compute


@cache
def pixels_task(dtype: str, lanes: int, max_height: int, ends: bool = False) -> Any:
    """The task that computes a band of pixels with the pixels in the lanes, for few output channels per group; and
    their epilogue, if it `ends` them.

    Pixels are counted along the rows of the scratch image, with margins. Results for margins are not stored.
    """
    code = vector_code(dtype, lanes, max_height, "pixels")
    multiply_tile, tile, size = code.multiply_tile, VECTORS * lanes, np.dtype(dtype).itemsize
    store = _ended_row(size) if ends else _stored_row(code, size)

    @task_of(Extents)
    def compute(task, thread, record):
        e = carray(record, 1)[0]
        image, group, which, band = _place(task, e)
        x = e.x + (image * e.image + group * e.group) * size
        weights = e.weights + (group * e.blocks + which) * e.taps * e.block * size
        sums = e.sums + thread * e.sums_size * size
        first = band * e.band
        last = min(first + e.band, (e.pixels // e.width - 1) * e.pitch + e.width)
        for tap in range(0, e.taps, e.chunk):
            for q in range(first, last, tile):
                multiply_tile(
                    e.block,
                    x + q * size,
                    e.taps_table + tap * 8,
                    min(e.chunk, e.taps - tap),
                    weights + tap * e.block * size,
                    sums + (q - first) * size,
                    e.band,
                    tap,
                )
        channel, valid = group * e.channels + which * e.block, min(e.block, e.channels - which * e.block)
        for k in range(valid):
            plane = (image * e.groups * e.channels + channel + k) * e.pixels
            for row in range(first // e.pitch, (last - 1) // e.pitch + 1):
                begin, end = max(first, row * e.pitch), min(last, row * e.pitch + e.width)
                place = plane + begin - row * (e.pitch - e.width)
                source = sums + (k * e.band + begin - first) * size
                store(e, place, source, max(0, end - begin), channel + k)

    return compute
