"""The sweep: questions to one backend that meet every combination of a few parameter classes that it supports."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np

from convbench.backend import Backend
from convbench.problem import DTYPES, Direction, Epilogue
from convbench.verification.question import Question
from convbench.verification.sweep.catalogue import Catalogue, catalogue, is_supported, supported_epilogues
from convbench.verification.sweep.combinations import FactorBlock, Refusal, Space, Tally
from convbench.verification.sweep.covering_array import CoveringArray, Row, covering_array
from convbench.verification.sweep.factors import FACTORS, Factor, levels_of
from convbench.verification.sweep.quantized_catalogue import QuantizedCatalogue, quantized_catalogue

_STAGGER = 7  # by how many epilogues one kind of values is ahead of the one before
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
    factors: tuple[Factor, ...] = FACTORS

    def coverage_of(self, questions: Iterable[Question]) -> Coverage:
        """The coverage by `questions`, which may be some of the sweep's or any others."""
        if not self.questions:
            return Coverage(self.strength, 0, 0)
        tally = Tally(self.space, self.strength, self.refusals)
        combinations = int(tally.unmet.sum())
        tally.meet(levels_of(list(questions), self.factors).astype(np.intp))
        return Coverage(self.strength, combinations - int(tally.unmet.sum()), combinations)


def sweep(
    backend: Backend,
    strength: int = 3,
    seed: int = 0,
    direction: Direction = "forward",
    epilogues: tuple[Epilogue | None, ...] = (None,),
    dtypes: Collection[str] = DTYPES,
) -> Sweep:
    """The sweep of `backend` in a direction, always the same. Every question has `seed`, by which data are drawn, and
    one of the `epilogues` that the backend supports, in turn.

    It combines those of the backend's dtypes that are named. With `dtypes` {"int8"} it is of quantised problems.
    """
    variant = (direction, supported_epilogues(backend.supports, epilogues), dtypes)
    offered = _offered(backend, *variant)
    first = _array(backend, offered, 1, seed)
    if first.refusals:  # what is left is looked through more closely
        factors = offered.factors
        refused = (factors[refusal.factors[0]].words[refusal.levels[0]] for refusal in first.refusals)
        offered = _offered(backend, *variant, frozenset(refused))
    array = _array(backend, offered, strength, seed)
    questions = _with_epilogues(backend, array.items, variant[1])
    return Sweep(questions, strength, _space(offered), first.refusals + array.refusals, offered.factors)


def _with_epilogues(
    backend: Backend, questions: tuple[Question, ...], epilogues: tuple[Epilogue | None, ...]
) -> tuple[Question, ...]:
    """The questions with `epilogues` in turn, each kind of values and each dtype in a turn of its own: in a sweep of a
    few hundred questions every epilogue meets every kind of values, and nearly all in every dtype."""
    if epilogues in ((), (None,)):
        return questions
    turns: dict[tuple[str, str], int] = {}
    spread = []
    for question in questions:
        cell = (question.values, question.problem.dtype)
        turn = turns.setdefault(cell, _STAGGER * len(turns))
        turns[cell] = turn + 1
        in_turn = (epilogues[(turn + more) % len(epilogues)] for more in range(len(epilogues)))
        problems = (question.problem.replace(epilogue=epilogue) for epilogue in in_turn)
        fitting = next((problem for problem in problems if is_supported(backend, problem)), question.problem)
        spread.append(question.replace(problem=fitting))
    return tuple(spread)


def _offered(
    backend: Backend,
    direction: Direction,
    epilogues: tuple[Epilogue | None, ...],
    dtypes: Collection[str],
    refused: frozenset[str] = frozenset(),
) -> Catalogue | QuantizedCatalogue:
    if "int8" in dtypes:
        return quantized_catalogue(backend.supports, backend.thread_safe, refused, direction)
    supports = replace(backend.supports, dtypes=backend.supports.dtypes & set(dtypes))
    return catalogue(supports, backend.thread_safe, refused, direction, epilogues)


def _array(
    backend: Backend, offered: Catalogue | QuantizedCatalogue, strength: int, seed: int
) -> CoveringArray[Question]:
    def accept(row: Row, number: int) -> Question | None:
        for question in itertools.islice(offered.questions(row, number), _VARIANTS):
            if is_supported(backend, question.problem):
                return question.replace(seed=seed)
        return None

    space = _space(offered)
    usual = () if space.is_empty else levels_of([offered.usual()], offered.factors)[0].tolist()
    return covering_array(space, strength, accept, tuple(usual))


def _space(offered: Catalogue | QuantizedCatalogue) -> Space:
    """Of all its factors, in their order."""
    ends = np.cumsum([0, *(table.ndim for table in offered.tables)]).tolist()
    return Space(
        FactorBlock(tuple(range(first, stop)), table)
        for first, stop, table in zip(ends, ends[1:], offered.tables, strict=False)
    )
