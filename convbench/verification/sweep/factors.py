"""The factors that a sweep combines, and the level of each that a question has.

Wrong results come from combinations of two or three classes of parameters, not from size. A *factor* is one such
division of all questions, its *levels* are the classes, each named by words that read well in a sentence. A level is a
condition, and the first one that holds is a question's level: every question, swept, random or real, has one of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import DIRECTIONS, DTYPES, PADDING_MODES
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Question
from convbench.verification.sweep.factor import Factor, both, differ, either, equals, otherwise
from convbench.verification.sweep.parameters import Axis, Parameters


def _channels(name: str, side: str) -> Factor:
    """Against the widths of vectors, which are 4, 8 and 16."""
    return Factor(
        f"channels {side}",
        {
            f"1 channel {side}": lambda p: getattr(p, name) == 1,
            f"2 to 4 channels {side}": lambda p: getattr(p, name) <= 4,
            f"5 to 15 channels {side}": lambda p: getattr(p, name) < 16,
            f"a multiple of 16 channels {side}": lambda p: getattr(p, name) % 16 == 0,
            f"more than 16 channels {side}, no multiple": otherwise,
        },
    )


def _channels_of_a_group(name: str, side: str) -> Factor:
    return Factor(
        f"channels {side} of a group",
        {
            f"1 channel {side} of each group": lambda p: getattr(p, name) == p.groups,
            f"2 to 15 channels {side} of each group": lambda p: getattr(p, name) < 16 * p.groups,
            f"16 or more channels {side} of each group": otherwise,
        },
    )


def _worded(name: str, known: Sequence[str], words: Mapping[str, str] = MappingProxyType({})) -> Factor:
    """A level for each of the words that a parameter may be, called by `words` where those say it better."""
    levels = {words.get(word, word): equals(name, index) for index, word in enumerate(known)}
    return Factor(name.replace("_", " "), levels)


KERNEL = Factor(
    "kernel",
    {
        "1x1 kernel": both(lambda a: a.kernel == 1),
        "1xN kernel": lambda p: p.down.kernel == 1,
        "Nx1 kernel": lambda p: p.across.kernel == 1,
        "kernel of unequal sides": differ("kernel"),
        "2x2 kernel": both(lambda a: a.kernel == 2),
        "3x3 kernel": both(lambda a: a.kernel == 3),
        "4x4 or 5x5 kernel": both(lambda a: a.kernel <= 5),
        "kernel of 6x6 or larger": otherwise,
    },
)
STRIDE = Factor(
    "stride",
    {
        "stride 1": both(lambda a: a.stride == 1),
        "stride larger than the kernel": both(lambda a: a.stride > a.kernel),
        "unequal strides": differ("stride"),
        "stride 2": both(lambda a: a.stride == 2),
        "stride 3 or more": otherwise,
    },
)
DILATION = Factor(
    "dilation",
    {
        "dilation 1": both(lambda a: a.dilation == 1),
        "unequal dilations": differ("dilation"),
        "dilation 2 or more": otherwise,
    },
)
PADDING = Factor(
    "padding",
    {
        "negative padding": either(lambda a: (a.before < 0) | (a.after < 0)),
        "no padding": both(lambda a: (a.before == 0) & (a.after == 0)),
        "same padding": both(lambda a: (a.before + a.after == a.span - 1) & (abs(a.before - a.after) <= 1)),
        "padding on one side only": both(lambda a: (a.before == 0) | (a.after == 0)),
        "asymmetric padding": either(lambda a: a.before != a.after),
        "padding as large as the kernel": either(lambda a: a.before >= a.span),
        "symmetric padding": otherwise,
    },
)
IMAGE = Factor(
    "image",
    {
        "one-pixel image": both(lambda a: a.size == 1),
        "image of one row or column": either(lambda a: a.size == 1),
        "square image": lambda p: p.down.size == p.across.size,
        "tall image": lambda p: p.down.size > p.across.size,
        "wide image": otherwise,
    },
)
OUTPUT = Factor(
    "output",
    {
        "one-pixel output": both(lambda a: a.out == 1),
        "output of one column": lambda p: p.across.out == 1,
        "output of one row": lambda p: p.down.out == 1,
        "output 2 to 7 wide": lambda p: p.across.out < 8,
        "output 8 to 15 wide": lambda p: p.across.out < 16,
        "output 16 wide or more": otherwise,
    },
)
REACH = Factor(
    "reach",
    {
        "kernel as large as the padded image": both(lambda a: a.span == a.padded),
        "kernel larger than the image": either(lambda a: a.span > a.size),
        "kernel within the image": otherwise,
    },
)
PADDING_MODE = _worded("padding_mode", PADDING_MODES, {word: f"padding mode {word}" for word in PADDING_MODES})
CHANNELS_IN = _channels("channels_in", "in")
CHANNELS_OUT = _channels("channels_out", "out")
GROUPS = Factor(
    "groups",
    {
        "one group": lambda p: p.groups == 1,
        "several groups": lambda p: p.groups < p.channels_in,
        "depthwise": lambda p: p.channels_out == p.channels_in,
        "depthwise with a multiplier": otherwise,
    },
)
BATCH = Factor(
    "batch", {"batch 1": lambda p: p.batch == 1, "batch 2": lambda p: p.batch == 2, "batch above 2": otherwise}
)
BIAS = Factor("bias", {"no bias": equals("bias", 0), "a bias": otherwise})
DTYPE = _worded("dtype", DTYPES)
LAYOUT = _worded(
    "layout",
    LAYOUTS,
    {
        "contiguous": "contiguous arrays",
        "channels-last": "channels-last strides",
        "sliced": "sliced arrays",
        "reversed": "reversed arrays",
        "misaligned": "misaligned arrays",
        "read-only": "read-only arrays",
        "odd-strides": "odd strides of size-1 axes",
    },
)
VALUES_OF = _worded(
    "values",
    VALUES,
    {
        "integers": "integer values",
        "normal": "normal values",
        "positive": "positive values",
        "wide": "values of a wide range",
        "one-tap": "filters of one tap",
        "special": "NaN and infinities",
    },
)
CALLS_OF = _worded("calls", CALLS, {"few": "few calls", "many": "many calls", "threads": "calls from two threads"})

GEOMETRY = (KERNEL, STRIDE, DILATION, PADDING, IMAGE, OUTPUT, REACH, PADDING_MODE)
CHANNELS = (CHANNELS_IN, CHANNELS_OUT, GROUPS)
OTHERS = (BATCH, BIAS, DTYPE, LAYOUT, VALUES_OF, CALLS_OF)
FACTORS = (*GEOMETRY, *CHANNELS, *OTHERS)
"""What a sweep combines."""


def _reduction(p: Parameters) -> Any:
    return p.channels_in // p.groups * p.down.kernel * p.across.kernel


def _first_row_seen_last(a: Axis) -> Any:
    """The input row, or column, at which the last output begins."""
    return (a.out - 1) * a.stride - a.before


DETAILS = (
    Factor("grouping", {"ungrouped": lambda p: p.groups == 1, "grouped": otherwise}),
    Factor("striding", {"unstrided": both(lambda a: a.stride == 1), "strided": otherwise}),
    Factor("dilating", {"undilated": both(lambda a: a.dilation == 1), "dilated": otherwise}),
    Factor("sides", {"unpadded": both(lambda a: (a.before == 0) & (a.after == 0)), "padded or cropped": otherwise}),
    Factor("significand", {"half format": lambda p: p.dtype >= DTYPES.index("float16"), "float": otherwise}),
    Factor("stride down", {"stride 1 down": lambda p: p.down.stride == 1, "stride above 1 down": otherwise}),
    Factor("stride across", {"stride 1 across": lambda p: p.across.stride == 1, "stride above 1 across": otherwise}),
    _channels_of_a_group("channels_in", "in"),
    _channels_of_a_group("channels_out", "out"),
    Factor(
        "reduction",
        {
            "1 product summed": lambda p: _reduction(p) == 1,
            "2 to 16 products summed": lambda p: _reduction(p) <= 16,
            "17 to 256 products summed": lambda p: _reduction(p) <= 256,
            "more than 256 products summed": otherwise,
        },
    ),
    Factor(
        "padding seen alone",
        {
            "outputs that see padding alone": either(
                lambda a: (a.before >= a.span) | (_first_row_seen_last(a) >= a.size)
            ),
            "no output that sees padding alone": otherwise,
        },
    ),
    Factor("direction", {word.replace("_", " "): equals("direction", i) for i, word in enumerate(DIRECTIONS)}),
)
"""Further divisions, which tell failures apart; a sweep does not combine them."""


def classes(question: Question) -> dict[str, str]:
    """The level of `question` in every factor and every detail, as words by the factor's name."""
    parameters = Parameters.of(question)
    return {factor.name: factor.word_of(parameters) for factor in (*FACTORS, *DETAILS)}


def levels_of(questions: Sequence[Question]) -> NDArray[np.int8]:
    """The index of the level in each of `FACTORS`: (questions, factors)."""
    parameters = Parameters.of_all(questions)
    return np.stack([np.broadcast_to(factor.levels_of(parameters), len(questions)) for factor in FACTORS], axis=1)
