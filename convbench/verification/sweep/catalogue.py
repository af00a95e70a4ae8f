"""The catalogue: the concrete numbers that every combination of levels can be asked with.

Geometries and channels are listed; the other parameters are free. Within one combination the numbers vary: "above 16,
no multiple" is 17 in one question and 34 in another.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import WHOLE_OF_CONV2D, Backend, Supports
from convbench.problem import DTYPES, PADDING_MODES, ConvProblem, Direction, Dtype, Epilogue
from convbench.problem.vocabulary import OPERANDS
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Layout, Question
from convbench.verification.sweep.factors import (
    BIAS,
    CALLS_OF,
    CHANNELS,
    DTYPE,
    FACTORS,
    GEOMETRY,
    OTHERS,
    Factor,
    codes,
)
from convbench.verification.sweep.geometries import every_kind
from convbench.verification.sweep.parameters import AXES, CHANNEL_NAMES, Parameters, parameters_of_geometries

Mask = NDArray[np.bool_]

_WITHOUT_BIAS: tuple[Direction, ...] = ("input_gradient", "weight_gradient")
"""In these nothing depends on whether there is a bias, so they are asked without."""

_CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 17, 18, 20, 24, 32, 33, 34, 36, 48)
_LARGEST_PRODUCT_OF_CHANNELS = 33 * 34  # per group, times groups
_BATCHES = ((1,), (2,), (3, 3, 5, 4))
_KEPT = 8  # geometries of each combination
_WEIGHED = 32  # questions of one combination from which the cheap ones are taken first
_CHEAP = 2**20  # multiplications
_MACS_PER_ELEMENT = 8


@dataclass(frozen=True)
class CombinationListing:
    """Numbers listed by the combination of levels of `factors` that they have: columns (numbers, n), sorted so."""

    factors: tuple[Factor, ...]
    columns: NDArray[np.int16]
    codes: NDArray[np.intp]

    @classmethod
    def of(
        cls, factors: tuple[Factor, ...], columns: NDArray[Any], parameters: Parameters, most: int
    ) -> CombinationListing:
        """`most` of each combination, the first ones."""
        unsorted = codes(factors, parameters)
        order = np.argsort(unsorted, kind="stable")
        in_order = unsorted[order]
        place = np.arange(len(order)) - np.searchsorted(in_order, in_order)
        kept = place < most
        return cls(factors, columns[:, order[kept]], in_order[kept])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(factor.levels) for factor in self.factors)

    @functools.cached_property
    def possible(self) -> Mask:
        """Which combinations of the levels of all factors there are numbers for: an axis for each factor."""
        table = np.zeros(math.prod(self.shape), bool)
        table[self.codes] = True
        return table.reshape(self.shape)

    def numbers_of(self, levels: Sequence[int]) -> list[list[int]]:
        code = np.ravel_multi_index(tuple(levels), self.shape)
        first, last = np.searchsorted(self.codes, [code, code + 1])
        numbers: list[list[int]] = self.columns[:, first:last].T.tolist()
        return numbers


@dataclass(frozen=True)
class Catalogue:
    """Everything that can be asked in a direction, or that a backend can be asked."""

    geometries: CombinationListing
    channels: CombinationListing
    others: tuple[tuple[bool, ...], ...]
    """Which levels there are of each of the other factors."""
    direction: Direction = "forward"
    epilogues: tuple[Epilogue | None, ...] = (None,)
    """Each `variant` of a row has one of them, in turn."""
    factors: tuple[Factor, ...] = FACTORS

    @property
    def tables(self) -> list[Mask]:
        """Which combinations of levels there are, for `factors` in their order: a table with an axis for each of the
        factors of which not all levels go together, and one for each other factor."""
        return [self.geometries.possible, self.channels.possible, *map(np.array, self.others)]

    def usual(self) -> Question:
        """A question that a backend most likely takes, in the first dtype there is."""
        dtypes = self.others[OTHERS.index(DTYPE)]
        dtype = next((dtype for dtype, there in zip(DTYPES, dtypes, strict=True) if there), DTYPES[0])
        problem = ConvProblem(in_channels=3, height=9, width=9, out_channels=16, kernel_size=3, padding=1, dtype=dtype)
        return Question(problem=problem.replace(bias=self.direction == "bias_gradient"))

    def questions(self, row: Sequence[int], variant: int = 0) -> Iterator[Question]:
        """All questions whose levels, each the index in its one of `FACTORS`, are `row`: none, or some hundred. They
        come in an order that `variant` decides, cheap ones of each few dozen first."""
        channels, others = len(GEOMETRY), len(GEOMETRY) + len(CHANNELS)
        batch, bias, dtype, layout, values, calls = row[others:]
        if not all(there[level] for there, level in zip(self.others, row[others:], strict=True)):
            return
        batches, epilogue = _BATCHES[batch], self.epilogues[variant % len(self.epilogues)]
        words: dict[str, Any] = {"layout": LAYOUTS[layout], "values": VALUES[values], "calls": CALLS[calls]}
        listed = self.geometries.numbers_of(row[:channels]), self.channels.numbers_of(row[channels:others])
        walk = _walk(*listed, variant)
        while some := list(itertools.islice(walk, _WEIGHED)):
            dear = []
            for numbers in some:
                sizes = (*numbers, batches[variant % len(batches)])
                problem = _problem(*sizes, bool(bias), DTYPES[dtype], self.direction, epilogue)
                if not lies_otherwise(problem, LAYOUTS[layout]):
                    continue
                if _cost(problem) <= _CHEAP:
                    yield Question(problem=problem, **words)
                else:
                    dear.append(problem)
            for problem in sorted(dear, key=_cost):
                yield Question(problem=problem, **words)


def _walk(
    geometries: list[list[int]], channels: list[list[int]], variant: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Every geometry with all channels, once, in steps that `variant` decides."""
    pairs = len(geometries) * len(channels)
    if not pairs:
        return
    mixed = (variant + 1) * 0x9E3779B1 % 2**32  # a multiplicative hash: neighbours fall far apart
    step = mixed // 2**16 % pairs + 1
    while math.gcd(step, pairs) > 1:
        step += 1
    for place in range(pairs):
        geometry, channel = divmod((mixed + place * step) % pairs, len(channels))
        yield geometries[geometry], channels[channel]


def _problem(
    geometry: list[int],
    channels: list[int],
    batch: int,
    bias: bool,
    dtype: Dtype,
    direction: Direction,
    epilogue: Epilogue | None,
) -> ConvProblem:
    (kh, sh, dh, top, bottom, height), (kw, sw, dw, left, right, width) = geometry[:6], geometry[6:12]
    return ConvProblem(
        batch=batch,
        in_channels=channels[0],
        height=height,
        width=width,
        out_channels=channels[1],
        kernel_size=(kh, kw),
        stride=(sh, sw),
        padding=((top, bottom), (left, right)),
        dilation=(dh, dw),
        groups=channels[2],
        bias=bias,
        padding_mode=PADDING_MODES[geometry[12]],
        dtype=dtype,
        direction=direction,
        epilogue=epilogue,
    )


def _cost(problem: ConvProblem) -> int:
    """About the time it takes, in multiplications."""
    elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
    return problem.macs + _MACS_PER_ELEMENT * elements


@functools.lru_cache(maxsize=4)
def catalogue(
    supports: Supports = WHOLE_OF_CONV2D,
    thread_safe: bool = True,
    refused: frozenset[str] = frozenset(),
    direction: Direction = "forward",
    epilogues: tuple[Epilogue | None, ...] = (None,),
) -> Catalogue:
    """What a backend with these capabilities can be asked, but for the levels that are `refused`, by their words."""
    geometries = every_kind(
        lambda parameters: _allowed(supports, parameters) & none_of(refused, GEOMETRY, parameters),
        [mode for mode in PADDING_MODES if mode in supports.padding_modes],
    )
    channels = np.array(
        [
            (inputs, outputs, groups)
            for inputs in _CHANNELS
            for outputs in (*_CHANNELS, 80, 144)
            for groups in range(1, inputs + 1 if supports.groups else 2)
            if inputs % groups == 0 == outputs % groups and inputs * outputs <= groups * _LARGEST_PRODUCT_OF_CHANNELS
        ],
        np.int16,
    ).T
    channels = channels[:, np.full(channels.shape[1], none_of(refused, CHANNELS, _by_name(channels)))]
    dtypes = supports.dtypes if direction in supports.directions and epilogues else ()
    gone = {*refused, *(dtype for dtype in DTYPES if dtype not in dtypes)}
    gone |= set() if thread_safe else {CALLS_OF.words[CALLS.index("threads")]}
    gone |= {BIAS.words[False]} if direction == "bias_gradient" else set()
    gone |= {BIAS.words[True]} if direction in _WITHOUT_BIAS else set()
    return Catalogue(
        CombinationListing.of(GEOMETRY, geometries, parameters_of_geometries(geometries), _KEPT),
        CombinationListing.of(CHANNELS, channels, _by_name(channels), channels.shape[1]),
        tuple(tuple(word not in gone for word in factor.words) for factor in OTHERS),
        direction,
        epilogues,
    )


def _by_name(channels: NDArray[np.int16]) -> Parameters:
    return dict(zip(CHANNEL_NAMES, channels, strict=True))


def _allowed(supports: Supports, parameters: Parameters) -> Mask:
    """Which geometries the capabilities allow, as `Supports.reason_against` has it."""
    allowed = np.isin(parameters["padding_mode"], [PADDING_MODES.index(mode) for mode in supports.padding_modes])
    for names in AXES:
        _, stride, dilation, before, after, _ = (parameters[name] for name in names)
        allowed &= supports.stride | (stride == 1)
        allowed &= supports.dilation | (dilation == 1)
        allowed &= supports.asymmetric_padding | (before == after)
        allowed &= supports.negative_padding | (np.minimum(before, after) >= 0)
    return allowed


def none_of(refused: frozenset[str], factors: tuple[Factor, ...], parameters: Parameters) -> Any:
    """Which have no level that is refused; True where all have none."""
    allowed: Any = True
    for factor in factors:
        levels = [level for level, word in enumerate(factor.words) if word in refused]
        if levels:
            allowed = allowed & ~np.isin(factor.levels_of(parameters), levels)
    return allowed


def supported_epilogues(supports: Supports, epilogues: Iterable[Epilogue | None]) -> tuple[Epilogue | None, ...]:
    """Those of `epilogues` that these capabilities have."""
    return tuple(e for e in epilogues if e is None or supports.reason_against_epilogue(e) is None)


def is_supported(backend: Backend, problem: ConvProblem) -> bool:
    """Whether the backend says so; an error of its own counts as yes, and is met again when the question is put."""
    try:
        return backend.unsupported(problem) is None
    except Exception:
        return True


def lies_otherwise(problem: ConvProblem, layout: Layout) -> bool:
    """Whether the layout makes a difference: odd strides need an axis of size 1 to be odd on."""
    shapes = problem.operand_shapes
    return layout != "odd-strides" or any(1 in shapes[name] for name in OPERANDS[problem.direction])
