"""The sweep: questions to one backend that meet every combination of a few parameter classes that it supports."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from convbench.backend import Backend
from convbench.problem import DTYPES, ConvProblem, Direction, Epilogue
from convbench.verification.question import Question
from convbench.verification.sweep.catalogue import Catalogue, catalogue, is_supported, supported_epilogues
from convbench.verification.sweep.combinations import FactorBlock, Refusal, Space, Tally
from convbench.verification.sweep.covering_array import CoveringArray, Row, covering_array
from convbench.verification.sweep.factors import CHANNELS, DTYPE, FACTORS, GEOMETRY, OTHERS, levels_of

_VARIANTS = 3  # questions with all the same levels that are tried; a row counts as unsupported when none is supported


@dataclass(frozen=True)
class Coverage:
    """How many of the combinations of `strength` parameter classes were met."""

    strength: int
    reached: int
    combinations: int

    @property
    def share(self) -> float:
        """1 when there was nothing to reach."""
        return self.reached / self.combinations if self.combinations else 1.0


@dataclass(frozen=True)
class Sweep:
    """Questions in the order in which they are best asked: every pair of classes is met early on.

    `refusals` are combinations, of as many classes or fewer, that the backend supported in none of some 200 attempts;
    neither they nor what its capabilities as data rule out nor what does not exist is counted as a combination.
    """

    questions: tuple[Question, ...]
    strength: int
    space: Space
    refusals: tuple[Refusal, ...]

    def coverage_of(self, questions: Iterable[Question]) -> Coverage:
        """The coverage by `questions`, which may be some of the sweep's or any others."""
        if not self.questions:
            return Coverage(self.strength, 0, 0)
        tally = Tally(self.space, self.strength, self.refusals)
        combinations = int(tally.unmet.sum())
        tally.meet(levels_of(list(questions)).astype(np.intp))
        return Coverage(self.strength, combinations - int(tally.unmet.sum()), combinations)


def sweep(
    backend: Backend,
    strength: int = 3,
    seed: int = 0,
    direction: Direction = "forward",
    epilogues: tuple[Epilogue | None, ...] = (None,),
) -> Sweep:
    """The sweep of `backend` in a direction, always the same. Every question has `seed`, by which data are drawn, and
    one of the `epilogues` that the backend supports, in turn."""
    variant = (direction, supported_epilogues(backend.supports, epilogues))
    offered = catalogue(backend.supports, backend.thread_safe, frozenset(), *variant)
    first = _array(backend, offered, 1, seed)
    if first.refusals:  # what is left is looked through more closely
        refused = (FACTORS[refusal.factors[0]].words[refusal.levels[0]] for refusal in first.refusals)
        offered = catalogue(backend.supports, backend.thread_safe, frozenset(refused), *variant)
    array = _array(backend, offered, strength, seed)
    return Sweep(array.items, strength, _space(offered), first.refusals + array.refusals)


def _array(backend: Backend, offered: Catalogue, strength: int, seed: int) -> CoveringArray[Question]:
    def accept(row: Row, number: int) -> Question | None:
        for question in itertools.islice(offered.questions(row, number), _VARIANTS):
            if is_supported(backend, question.problem):
                return question.replace(seed=seed)
        return None

    return covering_array(_space(offered), strength, accept, _usual_row(offered))


def _space(offered: Catalogue) -> Space:
    """Of all `FACTORS`, in their order."""
    geometry, channels = len(GEOMETRY), len(GEOMETRY) + len(CHANNELS)
    return Space(
        [
            FactorBlock(tuple(range(geometry)), offered.geometries.possible),
            FactorBlock(tuple(range(geometry, channels)), offered.channels.possible),
            *(FactorBlock((factor,), np.array(there)) for factor, there in enumerate(offered.others, channels)),
        ]
    )


def _usual_row(offered: Catalogue) -> Row:
    dtypes = offered.others[OTHERS.index(DTYPE)]
    dtype = next((dtype for dtype, there in zip(DTYPES, dtypes, strict=True) if there), DTYPES[0])
    problem = ConvProblem(in_channels=3, height=9, width=9, out_channels=16, kernel_size=3, padding=1, dtype=dtype)
    if offered.direction == "bias_gradient":
        problem = problem.replace(bias=True)
    return tuple(levels_of([Question(problem=problem)])[0].tolist())
