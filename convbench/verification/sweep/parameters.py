"""The parameters of many questions at once, as columns of integers: what levels and tables are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from convbench.problem import DIRECTIONS, DTYPES, PADDING_MODES
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Question

Whole = Any
"""An integer, or an array of them: one for each of many questions."""


@dataclass(frozen=True)
class Axis:
    """One axis of the convolution, the vertical or the horizontal."""

    kernel: Whole = 1
    stride: Whole = 1
    dilation: Whole = 1
    before: Whole = 0
    after: Whole = 0
    size: Whole = 1

    @property
    def span(self) -> Whole:
        """What the kernel reaches over, dilation counted."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def padded(self) -> Whole:
        return self.size + self.before + self.after

    @property
    def out(self) -> Whole:
        return (self.padded - self.span) // self.stride + 1


@dataclass(frozen=True)
class Parameters:
    """The parameters of one question or of many, one array each; words stand as their index in `PADDING_MODES`,
    `DTYPES`, `LAYOUTS`, `VALUES`, `CALLS` and `DIRECTIONS`."""

    down: Axis = Axis()
    across: Axis = Axis()
    padding_mode: Whole = 0
    batch: Whole = 1
    channels_in: Whole = 1
    channels_out: Whole = 1
    groups: Whole = 1
    bias: Whole = False
    dtype: Whole = 0
    layout: Whole = 0
    values: Whole = 0
    calls: Whole = 0
    direction: Whole = 0

    @classmethod
    def of(cls, question: Question) -> Parameters:
        """Those of one question, as integers."""
        numbers = _numbers(question)
        return cls(Axis(*numbers[:6]), Axis(*numbers[6:12]), *numbers[12:])

    @classmethod
    def of_all(cls, questions: Sequence[Question]) -> Parameters:
        """Those of `questions`, each as an array (questions,) of int64."""
        columns = np.array([_numbers(question) for question in questions], np.int64).reshape(-1, _NUMBERS).T
        return cls(Axis(*columns[:6]), Axis(*columns[6:12]), *columns[12:])


_NUMBERS = 2 * len(fields(Axis)) + len(fields(Parameters)) - 2


def _numbers(question: Question) -> list[int]:
    problem = question.problem
    extents = (problem.kernel_size, problem.stride, problem.dilation)
    axes = [
        [*(pair[axis] for pair in extents), *problem.padding[axis], problem.input_shape[2 + axis]] for axis in (0, 1)
    ]
    return [
        *axes[0],
        *axes[1],
        PADDING_MODES.index(problem.padding_mode),
        problem.batch,
        problem.in_channels,
        problem.out_channels,
        problem.groups,
        problem.bias,
        DTYPES.index(problem.dtype),
        LAYOUTS.index(question.layout),
        VALUES.index(question.values),
        CALLS.index(question.calls),
        DIRECTIONS.index(problem.direction),
    ]
