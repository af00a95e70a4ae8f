"""A factor: a division of all questions into levels, each a condition on their parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.verification.sweep.parameters import Axis, Parameters

Condition = Callable[[Parameters], Any]


@dataclass(frozen=True)
class Factor:
    """A division of all questions into levels: the first whose condition holds; the last one's always does."""

    name: str
    levels: dict[str, Condition]

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.levels)

    def word_of(self, parameters: Parameters) -> str:
        """The level of one question, whose parameters are plain integers."""
        return next(word for word, holds in self.levels.items() if holds(parameters))

    def levels_of(self, parameters: Parameters) -> NDArray[np.int8]:
        """The index of the level of each of many questions: (questions,) or, where all have the same, ()."""
        *conditions, _ = self.levels.values()
        level: Any = np.int8(len(conditions))
        for index in reversed(range(len(conditions))):
            level = np.where(conditions[index](parameters), np.int8(index), level)
        return np.asarray(level, np.int8)


def otherwise(_: Parameters) -> bool:
    """Always."""
    return True


def both(holds: Callable[[Axis], Any]) -> Condition:
    """That it holds of both axes."""
    return lambda p: holds(p.down) & holds(p.across)


def either(holds: Callable[[Axis], Any]) -> Condition:
    """That it holds of one axis or both."""
    return lambda p: holds(p.down) | holds(p.across)


def differ(name: str) -> Condition:
    """That the axes are not alike in the parameter of that name."""
    return lambda p: getattr(p.down, name) != getattr(p.across, name)


def equals(name: str, index: int) -> Condition:
    """That the parameter of that name is `index`."""
    return lambda p: getattr(p, name) == index


def codes(factors: Sequence[Factor], parameters: Parameters) -> NDArray[np.intp]:
    """One number for each question's combination of levels of `factors`: the index into a table of all of them."""
    shape = [len(factor.levels) for factor in factors]
    return np.ravel_multi_index([factor.levels_of(parameters).astype(np.intp) for factor in factors], shape)
