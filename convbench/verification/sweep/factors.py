"""The factors that a sweep combines, and the level of each that a question has.

Wrong results come from combinations of two or three classes of parameters, not from size. A *factor* is one such
division of all questions, its *levels* are the classes, each named by words that read well in a sentence. A level is a
condition, and the first one that holds is a question's level: every question, swept, random or real, has one of each.
`factors.toml` beside this module has them all.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.verification.question import Question
from convbench.verification.sweep.parameters import WORDS, Parameters, parameters_of, parameters_of_all

_INDEX = {word: index for words in WORDS.values() for index, word in enumerate(words)}


@dataclass(frozen=True)
class Factor:
    """A division of all questions into levels, each a condition in the language of `--where`: the first that holds; the
    last one always does."""

    name: str
    levels: dict[str, str]

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.levels)

    def word_of(self, parameters: Parameters) -> str:
        """The level of one question, whose parameters are plain integers."""
        held = (word for word, code in zip(self.levels, self._codes, strict=False) if _value(code, parameters))
        return next(held, self.words[-1])

    def levels_of(self, parameters: Parameters) -> NDArray[np.int8]:
        """The index of the level of each of many questions: (questions,) or, where all have the same, ()."""
        level: Any = np.int8(len(self._codes))
        for index in reversed(range(len(self._codes))):
            level = np.where(_value(self._codes[index], parameters), np.int8(index), level)
        return np.asarray(level, np.int8)

    def condition(self, word: str) -> str:
        """When a problem has the level `word`, for `--where`: its condition holds, and none of those before it."""
        place = self.words.index(word)
        *before, own = list(self.levels.values())[: place + 1]
        parts = [f"not ({text})" for text in before]
        if (equal := re.fullmatch(r"(\w+) == \S+", own)) is not None:  # a parameter never has two values at once
            parts = [f"not ({text})" for text in before if not text.startswith(f"{equal[1]} == ")]
        return " and ".join(parts + [f"({own})"] * (own != "True"))

    @cached_property
    def _codes(self) -> list[CodeType]:
        """The conditions but the last, as code that NumPy runs element by element. They are the package's own."""
        texts = [text.replace(" and ", " & ").replace(" or ", " | ") for text in self.levels.values()][:-1]
        numbers = [re.sub(r"'([\w-]+)'", lambda quoted: str(_INDEX[quoted[1]]), text) for text in texts]
        return [compile(text, self.name, "eval") for text in numbers]


def _value(condition: CodeType, parameters: Parameters) -> Any:
    return eval(condition, {"__builtins__": {}}, parameters)


_TABLES = tomllib.loads(Path(__file__).with_name("factors.toml").read_text(encoding="utf-8"))
GEOMETRY, CHANNELS, OTHERS, QUANTIZED, DETAILS = (
    tuple(Factor(name, levels) for name, levels in _TABLES[table].items())
    for table in ("geometry", "channels", "others", "quantized", "details")
)
FACTORS = (*GEOMETRY, *CHANNELS, *OTHERS)
"""What a sweep combines. `DETAILS` are further divisions, which tell failures apart; a sweep does not combine them."""
KERNEL, STRIDE, DILATION, PADDING, IMAGE, OUTPUT, *_ = GEOMETRY
BATCH, BIAS, DTYPE, LAYOUT, VALUES_OF, CALLS_OF = OTHERS
OTHERS_QUANTIZED = (BATCH, BIAS, LAYOUT, VALUES_OF, CALLS_OF)
FACTORS_QUANTIZED = (*GEOMETRY, *CHANNELS, *QUANTIZED, *OTHERS_QUANTIZED)
"""What a sweep of quantised problems combines: their formats, and no dtype."""
NOT_OF_THE_PROBLEM = ("layout", "values", "calls")
"""The names of the factors of how a question is put, about which `--where` knows nothing."""


def classes(question: Question) -> dict[str, str]:
    """The level of `question` in every factor and every detail, as words by the factor's name."""
    parameters = parameters_of(question)
    factors = FACTORS if question.problem.quantization is None else FACTORS_QUANTIZED
    return {factor.name: factor.word_of(parameters) for factor in (*factors, *DETAILS)}


def levels_of(questions: Sequence[Question], factors: Sequence[Factor] = FACTORS) -> NDArray[np.int8]:
    """The index of the level in each of `factors`: (questions, factors)."""
    if not questions:
        return np.zeros((0, len(factors)), np.int8)
    parameters = parameters_of_all(questions)
    return np.stack([np.broadcast_to(factor.levels_of(parameters), len(questions)) for factor in factors], axis=1)


def level_condition(name: str, level: str) -> str:
    """The condition, as for `--where`, that a problem has this level of the factor of that name."""
    return next(factor for factor in (*FACTORS, *QUANTIZED, *DETAILS) if factor.name == name).condition(level)


def codes(factors: Sequence[Factor], parameters: Parameters) -> NDArray[np.intp]:
    """One number for each question's combination of levels of `factors`: the index into a table of all of them."""
    shape = [len(factor.levels) for factor in factors]
    return np.ravel_multi_index([factor.levels_of(parameters).astype(np.intp) for factor in factors], shape)
