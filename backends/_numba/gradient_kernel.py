"""The gradients of weight and bias in Numba, task by task: packing, sums of products, sums."""

# Numba types these functions.
# mypy: ignore-errors
from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import carray

from .gradient_plan import Packing, Sums
from .kernel import transposing_store
from .tasks import ARRAYS, helper, pointer, task_of
from .vectors import VECTORS, vector_code


class Planes(NamedTuple):
    """The numbers of a problem for the gradient of a bias."""

    tasks: int  # channels
    images: int
    plane: int  # elements


ARRAYS |= {
    Packing: ("source", "zeros", "packed"),
    Sums: ("x", "g", "places", "shifts", "starts", "zeros", "sums", "out"),
    Planes: ("g", "out"),
}


@cache
def pack_task(dtype: str, lanes: int, max_height: int) -> Any:
    """The task that packs some elements of a block of planes. Lanes of planes that do not exist are left as they are.

    Of every square of `lanes` planes and elements the last of a row is moved back to fit.
    """
    store_transposed = vector_code(dtype, lanes, max_height, "channels").store_transposed
    size, kind = np.dtype(dtype).itemsize, np.dtype(dtype).type

    @helper
    def pack_some(source, column, planes, target, block, first, last):
        planes_of, packed = carray(pointer(source), 1, kind), carray(pointer(target), 1, kind)
        for at in range(first, last):
            for lane in range(planes):
                packed[at * block + lane] = planes_of[lane * column + at]

    @task_of(Packing)
    def pack(task, thread, record):
        m = carray(record, 1)[0]
        rest, piece = divmod(task, m.pieces)
        line, block = divmod(rest, m.blocks)
        image, row = divmod(line, m.rows)
        first, last = piece * m.plane // m.pieces, (piece + 1) * m.plane // m.pieces
        valid = min(m.block, m.columns - block * m.block)
        source = m.source + (image * m.image + row * m.row + block * m.block * m.column) * size
        target = m.packed + rest * m.plane * m.block * size
        for lane in range(0, valid, lanes):
            planes, to = source + lane * m.column * size, target + lane * size
            if valid - lane < lanes or last - first < lanes:
                pack_some(planes, m.column, min(lanes, valid - lane), to, m.block, first, last)
                continue
            for place in range(first, last, lanes):
                at = min(place, last - lanes)
                store_transposed(planes + at * size, m.column, m.zeros, to + at * m.block * size, m.block)

    return pack


@cache
def channels_sums(dtype: str, lanes: int, max_height: int) -> Any:
    """The task that sums for some strips of input channels and a block of output channels, which are in the lanes."""
    code = vector_code(dtype, lanes, max_height, "channels")
    multiply_tile, store = code.multiply_tile, transposing_store(code, dtype, lanes)
    block, size = VECTORS * lanes, np.dtype(dtype).itemsize

    @task_of(Sums)
    def compute(task, thread, record):
        e = carray(record, 1)[0]
        rest, share = divmod(task, e.shares)
        group, which = divmod(rest, e.blocks)
        starts, shifts = carray(pointer(e.starts), 1, np.int64), carray(pointer(e.shifts), 1, np.int64)
        first, last = share * e.strips // e.shares, (share + 1) * e.strips // e.shares
        sums, channel = e.sums + thread * e.sums_size * size, starts[first]
        for image in range(e.images):
            here = image * e.groups + group
            x, g = e.x + here * e.x_blocks * e.plane * lanes * size, (here * e.blocks + which) * e.pixels
            for pixel in range(0, e.pixels, e.chunk):
                count = min(e.chunk, e.pixels - pixel)
                for strip in range(first, last):
                    begin, end = starts[strip], starts[strip + 1]
                    channels = x + (begin // lanes * e.plane * lanes + begin % lanes) * size
                    for tap in range(e.taps):
                        multiply_tile(
                            end - begin,
                            channels + shifts[tap] * size,
                            e.places + pixel * 8,
                            count,
                            e.g + (g + pixel) * block * size,
                            sums + ((begin - channel) * e.taps + tap) * block * size,
                            e.taps * block,
                            image + pixel,
                        )
        rows, valid = (starts[last] - channel) * e.taps, min(block, e.filters - which * block)
        out = ((group * e.filters + which * block) * e.own + channel) * e.taps
        store(e.own * e.taps, sums, rows, e.zeros, valid, e.out + out * size)

    return compute


@cache
def groups_sums(dtype: str, lanes: int, max_height: int) -> Any:
    """The task that sums for one input and one output channel of each group of a block, which is in the lanes."""
    code = vector_code(dtype, lanes, max_height // 2, "groups")
    multiply_tile, store = code.multiply_tile, transposing_store(code, dtype, lanes)
    block, size = VECTORS * lanes, np.dtype(dtype).itemsize

    @task_of(Sums)
    def compute(task, thread, record):
        e = carray(record, 1)[0]
        rest, which = divmod(task, e.blocks)
        own_filter, channel = divmod(rest, e.own)
        starts = carray(pointer(e.starts), 1, np.int64)
        sums = e.sums + thread * e.sums_size * size
        for image in range(e.images):
            x = e.x + ((image * e.own + channel) * e.blocks + which) * e.plane * block * size
            g = ((image * e.filters + own_filter) * e.blocks + which) * e.pixels
            for pixel in range(0, e.pixels, e.chunk):
                count = min(e.chunk, e.pixels - pixel)
                for strip in range(e.strips):
                    multiply_tile(
                        starts[strip + 1] - starts[strip],
                        x,
                        e.places + pixel * 8,
                        count,
                        e.g + (g + pixel) * block * size,
                        sums + starts[strip] * block * size,
                        block,
                        image + pixel,
                        e.shifts + starts[strip] * 8,
                    )
        out = ((which * block * e.filters + own_filter) * e.own + channel) * e.taps
        valid = min(block, e.groups - which * block)
        store(e.filters * e.own * e.taps, sums, e.taps, e.zeros, valid, e.out + out * size)

    return compute


@cache
def planes_sums(dtype: str) -> Any:
    """The task that sums the planes of one channel, in any order, so that vectors can."""
    size, kind = np.dtype(dtype).itemsize, np.dtype(dtype).type

    @helper
    def total(address, count):
        values, parts = carray(pointer(address), 1, kind), np.zeros(_PARTS, kind)
        whole = count // _PARTS * _PARTS
        for begin in range(0, whole, _PARTS):
            for i in range(_PARTS):
                parts[i] += values[begin + i]
        rest = kind(0)
        for i in range(whole, count):
            rest += values[i]
        for i in range(_PARTS):
            rest += parts[i]
        return rest

    @task_of(Planes)
    def compute(task, thread, record):
        e = carray(record, 1)[0]
        result = kind(0)
        for image in range(e.images):
            result += total(e.g + (image * e.tasks + task) * e.plane * size, e.plane)
        carray(pointer(e.out), 1, kind)[task] = result

    return compute


_PARTS = 64
