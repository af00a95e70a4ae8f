"""One problem as tables (the sources of padded pixels, the offsets of taps, the tiles) and packed weights.

This is plain NumPy. Nothing is compiled, and nothing depends on the values of the input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from convbench.problem import ConvProblem

CACHED_WEIGHTS_BYTES = 256 * 1024
"""The weights of a chunk of taps, which stay in a core's second-level cache for all tiles of a band."""
BAND_SUMS_BYTES = 16 * 1024
"""The sums of a band, which stay in the first-level cache until they are stored."""
TASKS_PER_THREAD = 16
"""The fewest, if the work allows it: threads that finish early take what is left."""


class Register(NamedTuple):
    """The register tile: up to `max_height` rows of `vectors` vectors of `lanes` numbers. Operands need the rest."""

    lanes: int
    vectors: int
    max_height: int

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes


class Margins(NamedTuple):
    """The numbers of a problem for the padding step."""

    tasks: int
    pieces: int  # tasks for the rows of one phase of a channel
    height: int
    width: int
    row_phases: int
    column_phases: int
    rows: int  # of one phase
    columns: int  # of one phase
    row_step: int  # the stride
    column_step: int
    zero_margins: int  # whether everything outside the evenly spaced block is zero


class Extents(NamedTuple):
    """The numbers of a problem for the convolution step. Distances are in elements."""

    tasks: int
    groups: int
    blocks: int  # of output channels, per group
    bands: int  # of output pixels, per image
    blocks_first: int  # 1: all bands of a block, then the next block; 0: all blocks of a band first
    channels: int  # output channels per group
    block: int  # output channels per block
    image: int  # from image to image of the scratch
    group: int  # from group to group of the scratch
    pitch: int  # from output row to output row in the scratch
    width: int  # of an output row
    pixels: int  # of an output plane
    tiles: int  # of an output plane
    band: int  # tiles per band, or pixels per band with pixels in the lanes
    taps: int
    chunk: int  # taps of a tile before the next tile
    sums_size: int  # of one thread
    end_square: int = 0  # the addresses of the stores with an epilogue (`epilogue.EndedCode`)
    end_row: int = 0


@dataclass(frozen=True)
class Axis:
    """Rows, or columns, of the scratch image: `source[phase, i]` of the input, -1 for a zero.

    Tap t of output i is at i * stride + t * dilation of the padded axis. With one phase for each remainder of the
    stride, that is element i + `shift[t]` of phase `phase[t]`, so neighbouring outputs read neighbouring elements.
    Phases that no tap reads are left out.
    """

    source: np.ndarray
    phase: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, problem: ConvProblem, axis: int) -> Axis:
        stride, outputs = problem.stride[axis], problem.output_shape[2 + axis]
        taps = np.arange(problem.kernel_size[axis]) * problem.dilation[axis]
        remainders, phase = np.unique(taps % stride, return_inverse=True)
        shift = taps // stride
        padded = _padded_axis(problem.input_shape[2 + axis], problem.padding[axis], problem.padding_mode)
        position = np.arange(outputs + shift.max()) * stride + remainders[:, None]
        # All phases have the same length. No tap reads what this adds at the end.
        source = np.append(padded, -1)[np.minimum(position, len(padded))]
        return cls(source, phase, shift)

    def taps_inside(self) -> tuple[np.ndarray, np.ndarray]:
        """For each output, the range of taps outside which all taps read zeros. It has at least one tap."""
        outputs = self.source.shape[1] - self.shift.max()
        inside = self.source[self.phase, np.arange(outputs)[:, None] + self.shift] >= 0
        begin, end = inside.argmax(1), len(self.shift) - inside[:, ::-1].argmax(1)
        return begin, np.where(inside.any(1), end, begin + 1)

    def runs(self, step: int) -> np.ndarray:
        """For each phase, the longest run source, source + step, ... as (begin, end, source). It may be empty."""
        runs = []
        for line in self.source:
            ends = (np.diff(line) != step) | (line[:-1] < 0) | (line[1:] < 0)
            edges = np.concatenate([[0], np.flatnonzero(ends) + 1, [len(line)]])
            lengths = np.diff(edges) * (line[edges[:-1]] >= 0)
            begin = edges[lengths.argmax()]
            runs.append((begin, begin + lengths.max(), line[begin]))
        return np.array(runs, np.int64)


def _padded_axis(size: int, sides: tuple[int, int], mode: str) -> np.ndarray:
    """The source of each position of a padded axis; -1 for a zero."""
    if mode == "zeros":
        position = np.arange(-sides[0], size + sides[1])
        return np.where((position >= 0) & (position < size), position, -1)
    words: Any = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return np.pad(np.arange(size), sides, mode=words[mode])


@dataclass(frozen=True)
class Scratch:
    """The padded input. Each channel has row phases of column phases of planes, with every pixel that a tap reads."""

    problem: ConvProblem
    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, problem: ConvProblem) -> Scratch:
        return cls(problem, Axis.of(problem, 0), Axis.of(problem, 1))

    def margins(self, threads: int) -> Margins:
        problem = self.problem
        (row_phases, rows), (column_phases, columns) = self.rows.source.shape, self.columns.source.shape
        whole = problem.batch * problem.in_channels * row_phases
        pieces = min(rows, -(-TASKS_PER_THREAD * threads // whole))
        return Margins(
            tasks=whole * pieces,
            pieces=pieces,
            height=problem.height,
            width=problem.width,
            row_phases=row_phases,
            column_phases=column_phases,
            rows=rows,
            columns=columns,
            row_step=problem.stride[0],
            column_step=problem.stride[1],
            zero_margins=int(problem.padding_mode == "zeros"),
        )

    @property
    def pitch(self) -> int:
        """Elements from one output row to the next."""
        return int(self.columns.source.shape[1])

    @property
    def channel(self) -> int:
        """Elements of one channel."""
        return int(self.rows.source.size * self.columns.source.size)

    @property
    def is_input(self) -> bool:
        """Whether the scratch equals the input, which can then be used in its place."""
        problem = self.problem
        rows, columns = np.arange(problem.height)[None], np.arange(problem.width)[None]
        return np.array_equal(self.rows.source, rows) and np.array_equal(self.columns.source, columns)

    def taps(self) -> np.ndarray:
        """The offsets of a group's taps from the place of an output pixel, by kernel row, then by channel."""
        height, columns = self.rows.source.shape[1], self.columns.source
        channels = np.arange(self.problem.in_channels // self.problem.groups) * self.channel
        down = self.rows.phase * height * columns.size + self.rows.shift * self.pitch
        across = self.columns.phase * height * self.pitch + self.columns.shift
        return np.asarray(down[:, None, None] + channels[:, None] + across).reshape(-1)

    def extents(self, *, blocks: int, bands: int, **numbers: int) -> Extents:
        """Extents with `numbers`, and with those that do not depend on what is in the lanes."""
        problem = self.problem
        return Extents(
            tasks=problem.batch * problem.groups * blocks * bands,
            blocks=blocks,
            bands=bands,
            groups=problem.groups,
            channels=problem.out_channels // problem.groups,
            image=problem.in_channels * self.channel,
            group=problem.in_channels // problem.groups * self.channel,
            pitch=self.pitch,
            width=problem.out_width,
            pixels=problem.out_height * problem.out_width,
            taps=problem.reduction_length,
            **numbers,
        )


def parts(length: int, most: int) -> np.ndarray:
    """The cuts of `length` into the fewest even parts of at most `most`, both ends included."""
    count = -(-length // most)
    return np.arange(count + 1) * length // count


def pixels_fit_better(scratch: Scratch, register: Register) -> bool:
    """Whether fewer lanes are idle with pixels in them than with the output channels of a group."""
    problem = scratch.problem
    channels = problem.out_channels // problem.groups
    pitch = scratch.pitch
    pixels = (problem.out_height - 1) * pitch + problem.out_width
    with_channels = -(-channels // register.columns) * register.columns * problem.out_height * problem.out_width
    # A tile of h channels loads h + 2 * vectors (unaligned, so twice) numbers to multiply h * vectors.
    height = np.diff(parts(channels, register.max_height)).max()
    loads = 1 + register.vectors / height
    with_pixels = channels * -(-pixels // register.columns) * register.columns * max(1.0, loads / 1.5)
    return bool(with_pixels < with_channels)


class Tiles(NamedTuple):
    """Runs of output pixels, one for each register tile."""

    starts: np.ndarray  # the first pixel of each, and the end of the last
    places: np.ndarray  # of the first pixels, in the scratch
    tap_begins: np.ndarray  # the taps of each, without those that read only zeros above and below the input
    tap_ends: np.ndarray

    @classmethod
    def of(cls, scratch: Scratch, register: Register, skip_zeros: bool) -> Tiles:
        problem, pitch = scratch.problem, scratch.pitch
        rows, width = problem.out_height, problem.out_width
        if pitch == width:  # output rows are contiguous in the scratch, too
            rows, width = 1, rows * width
        cuts = parts(width, register.max_height)[:-1]
        starts = np.append((np.arange(rows)[:, None] * width + cuts).reshape(-1), rows * width)
        places = (np.arange(rows)[:, None] * pitch + cuts).reshape(-1)
        if not skip_zeros:
            return cls(starts, places, np.zeros_like(places), np.full_like(places, problem.reduction_length))
        begins, ends = scratch.rows.taps_inside()
        first, last = starts[:-1] // problem.out_width, (starts[1:] - 1) // problem.out_width
        row_taps = problem.reduction_length // problem.kernel_size[0]
        begin = np.array([begins[a : b + 1].min() for a, b in zip(first, last, strict=True)])
        end = np.array([ends[a : b + 1].max() for a, b in zip(first, last, strict=True)])
        return cls(starts, places, begin * row_taps, end * row_taps)

    @property
    def number(self) -> int:
        return len(self.places)

    @property
    def max_height(self) -> int:
        return int(np.diff(self.starts).max())


def plan_channels(scratch: Scratch, register: Register, tiles: Tiles, itemsize: int, threads: int) -> Extents:
    """Extents for output channels in the lanes."""
    problem, block = scratch.problem, register.columns
    blocks = -(-(problem.out_channels // problem.groups) // block)
    most = max(1, BAND_SUMS_BYTES // (tiles.max_height * block * itemsize))
    shared = -(-TASKS_PER_THREAD * threads // (problem.batch * problem.groups * blocks))
    bands = min(tiles.number, max(shared, -(-tiles.number // most)))
    band = -(-tiles.number // bands)
    weights = blocks * block * problem.reduction_length * itemsize
    return scratch.extents(
        blocks=blocks,
        bands=-(-tiles.number // band),
        blocks_first=int(weights > CACHED_WEIGHTS_BYTES),
        block=block,
        tiles=tiles.number,
        band=band,
        chunk=max(1, CACHED_WEIGHTS_BYTES // (block * itemsize)),
        sums_size=band * tiles.max_height * block,
    )


def plan_pixels(scratch: Scratch, register: Register, itemsize: int, threads: int) -> Extents:
    """Extents for pixels in the lanes."""
    problem, pitch = scratch.problem, scratch.pitch
    cuts = parts(problem.out_channels // problem.groups, register.max_height)
    block, blocks = int(np.diff(cuts).max()), len(cuts) - 1
    pixels = (problem.out_height - 1) * pitch + problem.out_width
    most = max(1, BAND_SUMS_BYTES // (block * itemsize * register.columns)) * register.columns
    shared = -(-TASKS_PER_THREAD * threads // (problem.batch * problem.groups * blocks))
    even = -(-pixels // max(shared, -(-pixels // most)))
    band = -(-even // register.columns) * register.columns
    return scratch.extents(
        blocks=blocks,
        bands=-(-pixels // band),
        blocks_first=1,
        block=block,
        tiles=0,
        band=band,
        chunk=max(1, CACHED_WEIGHTS_BYTES // (block * itemsize)),
        sums_size=block * band,
    )


def packed_weights(w: np.ndarray, e: Extents) -> np.ndarray:
    """Weights by group, block, tap and channel of the block. Missing channels of the last block are zeros."""
    by_tap = w.transpose(0, 2, 1, 3).reshape(e.groups, e.channels, e.taps)
    padded = np.zeros((e.groups, e.blocks * e.block, e.taps), w.dtype)
    padded[:, : e.channels] = by_tap
    packed = aligned_empty((e.groups, e.blocks, e.taps, e.block), w.dtype)
    packed[...] = padded.reshape(e.groups, e.blocks, e.block, e.taps).swapaxes(2, 3)
    return packed


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that starts at a cache line, so that no vector crosses two lines."""
    line, size = 64 // dtype.itemsize, math.prod(shape)
    raw = np.empty(size + line, dtype)
    skip = -raw.ctypes.data // dtype.itemsize % line
    return raw[skip : skip + size].reshape(shape)
