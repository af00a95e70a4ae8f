"""The factors that a sweep combines, and the level of each that a question has.

Wrong results come from combinations of two or three classes of parameters, not from size. A *factor* is one such
division of all questions, its *levels* are the classes, each named by words that read well in a sentence. A level is a
condition, and the first one that holds is a question's level: every question, swept, random or real, has one of each.
`factors.toml` beside this module has them all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convbench.verification.question import Question
from convbench.verification.sweep.factor import Factor
from convbench.verification.sweep.parameters import parameters_of, parameters_of_all

_TABLES = tomllib.loads(Path(__file__).with_name("factors.toml").read_text(encoding="utf-8"))
GEOMETRY, CHANNELS, OTHERS, DETAILS = (
    tuple(Factor(name, levels) for name, levels in _TABLES[table].items())
    for table in ("geometry", "channels", "others", "details")
)
FACTORS = (*GEOMETRY, *CHANNELS, *OTHERS)
"""What a sweep combines. `DETAILS` are further divisions, which tell failures apart; a sweep does not combine them."""
KERNEL, STRIDE, DILATION, PADDING, IMAGE, OUTPUT, *_ = GEOMETRY
BATCH, BIAS, DTYPE, LAYOUT, VALUES_OF, CALLS_OF = OTHERS
NOT_OF_THE_PROBLEM = ("layout", "values", "calls")
"""The names of the factors of how a question is put, about which `--where` knows nothing."""


def classes(question: Question) -> dict[str, str]:
    """The level of `question` in every factor and every detail, as words by the factor's name."""
    parameters = parameters_of(question)
    return {factor.name: factor.word_of(parameters) for factor in (*FACTORS, *DETAILS)}


def levels_of(questions: Sequence[Question]) -> NDArray[np.int8]:
    """The index of the level in each of `FACTORS`: (questions, factors)."""
    if not questions:
        return np.zeros((0, len(FACTORS)), np.int8)
    parameters = parameters_of_all(questions)
    return np.stack([np.broadcast_to(factor.levels_of(parameters), len(questions)) for factor in FACTORS], axis=1)


def level_condition(name: str, level: str) -> str:
    """The condition, as for `--where`, that a problem has this level of the factor of that name."""
    return next(factor for factor in (*FACTORS, *DETAILS) if factor.name == name).condition(level)
