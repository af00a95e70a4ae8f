"""The gradient of a weight as tables and numbers: how planes are packed, and which sums are computed together.

Each element of the gradient is a sum over the output's pixels. So both operands are packed with pixel after pixel, and
as many channels of each side by side as a register tile takes:

* channels in lanes: a pixel's gradient in the lanes, for a block of output channels, times its input channels;
* groups in lanes: for few channels in each of many groups, a pixel's gradient in a block of groups, times the input
  pixels of these groups that its kernel met. Both have one channel of each group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .plan import TASKS_PER_THREAD, Register, Scratch, parts

if TYPE_CHECKING:
    from convbench.problem import ConvProblem

CHUNK_PIXELS = 256
"""Pixels that all tiles of a task read before the next ones, so that their gradients stay in the first-level cache."""
SUMS_BYTES = 128 * 1024
"""The sums of a task, which stay in a core's second-level cache for all pixels."""


class Packing(NamedTuple):
    """The numbers of a packing step: planes, element after element, to elements with a block of planes side by side.

    The planes of an image are `rows` rows of `columns` planes. A block is of neighbours in a row.
    """

    tasks: int
    pieces: int  # tasks for the elements of one block
    rows: int
    columns: int
    blocks: int  # of a row
    block: int
    image: int  # elements from image to image
    row: int  # from row to row
    column: int  # from column to column
    plane: int  # elements of a plane


class Sums(NamedTuple):
    """The numbers of a problem for the step that adds up the gradient of a weight. Distances are in elements."""

    tasks: int
    images: int
    groups: int
    own: int  # input channels of a group
    filters: int  # output channels of a group
    taps: int
    pixels: int  # of an output plane
    plane: int  # elements of a packed channel of the input
    blocks: int  # of the gradient's lanes
    x_blocks: int  # of packed input channels, or groups
    strips: int  # tiles side by side: of input channels, or of taps
    shares: int  # tasks for the strips of one block
    chunk: int  # pixels
    sums_size: int  # of one thread


@dataclass(frozen=True)
class WeightPlan:
    """All of it: how the input and the output's gradient are packed, the sums, and their tables."""

    groups_in_lanes: bool
    of_input: Packing
    of_gradient: Packing
    sums: Sums
    places: np.ndarray
    """Where the first tap of each output pixel is in the packed input."""
    shifts: np.ndarray
    """How far from it each tap is."""
    starts: np.ndarray
    """The first channel, or tap, of each strip, and the end of the last."""

    @classmethod
    def of(cls, scratch: Scratch, register: Register, itemsize: int, threads: int) -> WeightPlan:
        if groups_fit_better(scratch.problem, register):
            return _with_groups(scratch, register, threads)
        return _with_channels(scratch, register, itemsize, threads)


def groups_fit_better(problem: ConvProblem, register: Register) -> bool:
    """Whether the multiply-adds of a tap and pixel take fewer cycles with groups in the lanes. Each cycle can load and
    multiply about two vectors. Of groups every vector is loaded anew."""
    own, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    blocks = -(-filters // register.columns)
    tiles = np.diff(_strips(own, register)).tolist()
    with_channels = problem.groups * blocks * sum(max(height, 1 + height / 2) for height in tiles)
    return bool(1.2 * own * filters * -(-problem.groups // register.columns) < with_channels)


def _with_channels(scratch: Scratch, register: Register, itemsize: int, threads: int) -> WeightPlan:
    problem, lanes, block = scratch.problem, register.lanes, register.columns
    groups, own, filters, pixels = _extents(problem)
    plane, blocks, x_blocks = scratch.channel, -(-filters // block), -(-own // lanes)
    starts, taps = _strips(own, register), problem.kernel_size[0] * problem.kernel_size[1]
    strips, highest = len(starts) - 1, int(np.diff(starts).max())
    fitting = max(1, SUMS_BYTES // (highest * taps * block * itemsize))
    shared = -(-TASKS_PER_THREAD * threads // (groups * blocks)) if threads > 1 else 1
    shares = min(strips, max(shared, -(-strips // fitting)))
    return WeightPlan(
        groups_in_lanes=False,
        of_input=_packing(problem.batch, groups, own, plane, lanes, threads),
        of_gradient=_packing(problem.batch, groups, filters, pixels, block, threads),
        sums=Sums(
            tasks=groups * blocks * shares,
            images=problem.batch,
            groups=groups,
            own=own,
            filters=filters,
            taps=taps,
            pixels=pixels,
            plane=plane,
            blocks=blocks,
            x_blocks=x_blocks,
            strips=strips,
            shares=shares,
            chunk=CHUNK_PIXELS,
            sums_size=-(-strips // shares) * highest * taps * block,
        ),
        places=_places(scratch) * lanes,
        shifts=_tap_shifts(scratch) * lanes,
        starts=starts,
    )


def _with_groups(scratch: Scratch, register: Register, threads: int) -> WeightPlan:
    problem, block = scratch.problem, register.columns
    groups, own, filters, pixels = _extents(problem)
    plane, blocks, shifts = scratch.channel, -(-groups // block), _tap_shifts(scratch) * block
    starts = parts(len(shifts), max(1, register.max_height // 2))
    return WeightPlan(
        groups_in_lanes=True,
        of_input=_packing(problem.batch, own, groups, plane, block, threads, by_column=True),
        of_gradient=_packing(problem.batch, filters, groups, pixels, block, threads, by_column=True),
        sums=Sums(
            tasks=blocks * own * filters,
            images=problem.batch,
            groups=groups,
            own=own,
            filters=filters,
            taps=len(shifts),
            pixels=pixels,
            plane=plane,
            blocks=blocks,
            x_blocks=blocks,
            strips=len(starts) - 1,
            shares=1,
            chunk=CHUNK_PIXELS,
            sums_size=len(shifts) * block,
        ),
        places=_places(scratch) * block,
        shifts=shifts,
        starts=starts,
    )


def _extents(problem: ConvProblem) -> tuple[int, int, int, int]:
    groups = problem.groups
    own, filters = problem.in_channels // groups, problem.out_channels // groups
    return groups, own, filters, problem.out_height * problem.out_width


def _strips(channels: int, register: Register) -> np.ndarray:
    """The first channel of each strip, and the end of the last. A strip is part of a block of `lanes` channels."""
    blocks = [
        first + parts(min(register.lanes, channels - first), register.max_height)[:-1]
        for first in range(0, channels, register.lanes)
    ]
    return np.append(np.concatenate(blocks), channels)


def _places(scratch: Scratch) -> np.ndarray:
    problem = scratch.problem
    return (np.arange(problem.out_height)[:, None] * scratch.pitch + np.arange(problem.out_width)).reshape(-1)


def _tap_shifts(scratch: Scratch) -> np.ndarray:
    """The offsets of the taps of one channel, by kernel row."""
    kernel_height, kernel_width = scratch.problem.kernel_size
    return np.ascontiguousarray(scratch.taps().reshape(kernel_height, -1, kernel_width)[:, 0].reshape(-1))


def _packing(
    images: int, rows: int, columns: int, plane: int, block: int, threads: int, *, by_column: bool = False
) -> Packing:
    """Of planes that lie row by row, or with `by_column` column by column."""
    blocks = -(-columns // block)
    whole = images * rows * blocks
    pieces = min(-(-plane // block), -(-TASKS_PER_THREAD * threads // whole)) if threads > 1 else 1
    row, column = (plane, rows * plane) if by_column else (columns * plane, plane)
    image = rows * columns * plane
    return Packing(whole * pieces, pieces, rows, columns, blocks, block, image, row, column, plane)
