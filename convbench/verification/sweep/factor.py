"""A factor: a division of all questions into levels, each a condition on their parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.verification.sweep.parameters import WORDS, Parameters

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
        return [compile(re.sub(r"'([\w-]+)'", _index, text), self.name, "eval") for text in texts]


def _index(quoted: re.Match[str]) -> str:
    return str(_INDEX[quoted[1]])


def _value(condition: CodeType, parameters: Parameters) -> Any:
    return eval(condition, {"__builtins__": {}}, parameters)


def codes(factors: Sequence[Factor], parameters: Parameters) -> NDArray[np.intp]:
    """One number for each question's combination of levels of `factors`: the index into a table of all of them."""
    shape = [len(factor.levels) for factor in factors]
    return np.ravel_multi_index([factor.levels_of(parameters).astype(np.intp) for factor in factors], shape)
