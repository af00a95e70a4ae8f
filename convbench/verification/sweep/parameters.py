"""The parameters of many questions at once, as columns of integers: what levels and tables are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from convbench.problem import ACTIVATIONS, ALL_DTYPES, DIRECTIONS, PADDING_MODES, RESIDUALS
from convbench.problem.epilogue import NO_EPILOGUE
from convbench.problem.quantization import properties_of
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Question

Parameters = Mapping[str, Any]
"""The parameters of one question, or an array of each for many, by their names in `--where`; words stand as their index
in `WORDS`."""

WORDS: dict[str, Sequence[str]] = {
    "padding_mode": PADDING_MODES,
    "dtype": ALL_DTYPES,
    "layout": LAYOUTS,
    "values": VALUES,
    "calls": CALLS,
    "direction": DIRECTIONS,
    "activation": (NO_EPILOGUE, *ACTIVATIONS),
    "residual": (NO_EPILOGUE, *RESIDUALS),
    "input_format": ("", "u8", "s8"),
    "result_format": ("", "u8", "s8", "s32", "f32"),  # the first as those of the input: a word has one number
}
AXES = (
    ("kernel_height", "stride_height", "dilation_height", "padding_top", "padding_bottom", "height"),
    ("kernel_width", "stride_width", "dilation_width", "padding_left", "padding_right", "width"),
)
CHANNEL_NAMES = ("in_channels", "out_channels", "groups")


def parameters_of_geometries(columns: Iterable[Any]) -> Parameters:
    """Those of (kernel, stride, dilation, padding before and after, size), down and then across, and the mode."""
    parameters = dict(zip((*AXES[0], *AXES[1], "padding_mode"), columns, strict=True))
    for names in AXES:
        kernel, stride, dilation, before, after, size = (parameters[name] for name in names)
        span = dilation * (kernel - 1) + 1
        parameters[f"out_{names[-1]}"] = (size + before + after - span) // stride + 1
    return parameters


def parameters_of(question: Question) -> Parameters:
    """Those of one question, as integers."""
    p = question.problem
    axes = [
        (*(pair[axis] for pair in (p.kernel_size, p.stride, p.dilation)), *p.padding[axis], p.input_shape[2 + axis])
        for axis in (0, 1)
    ]
    numbers: dict[str, Any] = {name: getattr(p, name) for name in ("batch", "bias", *CHANNEL_NAMES)}
    named = properties_of(p.quantization)
    numbers |= {name: int(value) for name, value in named.items() if name not in WORDS}
    for name, words in WORDS.items():
        owner = next((one for one in (question, p) if hasattr(one, name)), p.epilogue)
        numbers[name] = words.index(named[name] if name in named else getattr(owner, name, None) or NO_EPILOGUE)
    return {**numbers, **parameters_of_geometries((*axes[0], *axes[1], numbers["padding_mode"]))}


def parameters_of_all(questions: Sequence[Question]) -> Parameters:
    """Those of `questions`, each as an array (questions,) of int64."""
    rows = [parameters_of(question) for question in questions]
    return {name: np.array([row[name] for row in rows], np.int64) for name in rows[0]}
