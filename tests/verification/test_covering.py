"""The covering array, counted again by brute force, and the sweep that is made of it."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from idle_backends import Idle, Narrow, Whole

from convbench.backend import WHOLE_OF_CONV2D, Backend, Supports
from convbench.problem import ConvProblem
from convbench.verification.question import Question
from convbench.verification.sweep.combinations import FactorBlock, Refusal, Space
from convbench.verification.sweep.covering import Coverage, Sweep, sweep
from convbench.verification.sweep.covering_array import covering_array
from convbench.verification.sweep.factors import FACTORS, classes
from convbench.verification.sweep.search import search

pytestmark = pytest.mark.slow

# --- the array --------------------------------------------------------------------------------------------------------


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Of up to six factors, in blocks of which some hardly have a row."""
    blocks: list[FactorBlock] = []
    first = 0
    for _ in range(draw(st.integers(1, 3))):
        shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=2 if blocks else 3)))
        possible = draw(arrays.arrays(bool, shape))
        possible.flat[draw(st.integers(0, possible.size - 1))] = True
        blocks.append(FactorBlock(tuple(range(first, first + len(shape))), possible))
        first += len(shape)
    return Space(blocks)


def every_row(space: Space) -> list[tuple[int, ...]]:
    rows = np.array(list(itertools.product(*map(range, space.sizes))))
    return [tuple(row) for row in rows[space_has(space, rows)].tolist()]


def space_has(space: Space, rows: Any) -> Any:
    return [all(block.possible[tuple(row[list(block.factors)])] for block in space.blocks) for row in rows]


def everything(made: Sweep) -> Coverage:
    return made.coverage_of(made.questions)


def refused(made: Sweep) -> tuple[str, ...]:
    """The refusals in words, such as "depthwise with bfloat16"."""
    return tuple(
        " with ".join(FACTORS[factor].words[level] for factor, level in zip(each.factors, each.levels, strict=True))
        for each in made.refusals
    )


def met(rows: Iterable[tuple[Any, ...]], strength: int) -> set[Any]:
    return {combination for row in rows for combination in itertools.combinations(enumerate(row), strength)}


@settings(max_examples=60)
@given(space=spaces(), strength=st.integers(1, 4))
def test_every_combination_of_a_row_that_exists_is_met_by_rows_that_exist(space: Space, strength: int) -> None:
    strength = min(strength, len(space.sizes))
    rows = every_row(space)
    array = covering_array(space, strength, lambda row, number: row, rows[-1])
    assert set(array.items) <= set(rows)
    assert len(set(array.items)) == len(array.items)
    assert met(array.items, strength) == met(rows, strength)
    assert not array.refusals
    assert [tuple(row) for row in array.rows.tolist()] == list(array.items)


@settings(max_examples=40)
@given(data=st.data(), space=spaces())
def test_a_combination_that_is_never_accepted_is_refused_and_no_other_is_lost(
    data: st.DataObject, space: Space
) -> None:
    rows = every_row(space)
    ways = data.draw(st.integers(1, min(3, len(space.sizes))))
    forbidden = data.draw(st.sampled_from(sorted(met(rows, ways))))
    allowed = [row for row in rows if not set(forbidden) <= set(enumerate(row))]
    accepted = set(allowed)
    strength = min(3, len(space.sizes))
    array = covering_array(space, strength, lambda row, number: row if row in accepted else None, rows[0])
    assert set(array.items) <= accepted
    assert met(array.items, strength) == met(allowed, strength)
    for refusal in array.refusals:
        assert not any(all(row[f] == level for f, level in of(refusal)) for row in allowed)


def of(refusal: Refusal) -> Iterable[tuple[int, int]]:
    return zip(refusal.factors, refusal.levels, strict=True)


def test_nothing_accepted_is_no_row() -> None:
    space = Space([FactorBlock((0, 1), np.ones((3, 3), bool))])
    assert covering_array(space, 2, lambda row, number: None, (0, 0)).items == ()


def test_an_array_is_hardly_larger_than_it_must_be() -> None:
    space = Space([FactorBlock((factor,), np.ones(5, bool)) for factor in range(10)])
    assert 25 <= len(covering_array(space, 2, lambda row, number: row, (0,) * 10).items) <= 2 * 25
    assert 125 <= len(covering_array(space, 3, lambda row, number: row, (0,) * 10).items) <= 2.5 * 125


# --- the sweep --------------------------------------------------------------------------------------------------------


class Particular(Idle):
    """Says no for reasons that are not data."""

    supports = WHOLE_OF_CONV2D

    def unsupported(self, problem: ConvProblem) -> str | None:
        if problem.dtype == "bfloat16" and problem.groups > 1:
            return "no groups in bfloat16"
        if problem.padding_mode == "replicate" and max(map(max, problem.padding)) > min(problem.height, problem.width):
            return "replicates no more than the image"
        return super().unsupported(problem)


class Winograd(Idle):
    def unsupported(self, problem: ConvProblem) -> str | None:
        blocks = problem.in_channels % 16 == 0 == problem.out_channels % 16
        usual = problem.kernel_size == (3, 3) and problem.stride == (1, 1) == problem.dilation
        return super().unsupported(problem) or (None if blocks and usual else "3x3 at stride 1 in blocks of 16 alone")


class Nothing(Idle):
    def unsupported(self, problem: ConvProblem) -> str | None:
        return "nothing at all"


class Raising(Idle):
    supports = Supports(groups=False)

    def unsupported(self, problem: ConvProblem) -> str | None:
        raise RuntimeError("a bug of the plugin's author")


BACKENDS = (Whole, Narrow, Particular, Winograd)
swept = cache(lambda backend, strength: sweep(backend(), strength))


def rows_of(questions: Iterable[Question]) -> list[tuple[str, ...]]:
    told = [classes(question) for question in questions]
    return [tuple(levels[factor.name] for factor in FACTORS) for levels in told]


@pytest.mark.parametrize("strength", [2, 3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_sweep_says_it_reached_is_what_its_questions_meet(backend: type[Backend], strength: int) -> None:
    made: Sweep = swept(backend, strength)
    counted = met(rows_of(made.questions), strength)
    assert everything(made) == Coverage(strength, len(counted), len(counted))
    assert len(made.questions) == len({str(question) for question in made.questions})
    assert all(backend().unsupported(question.problem) is None for question in made.questions)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_supported_question_has_a_combination_that_a_sweep_lacks(backend: type[Backend]) -> None:
    reached = met(rows_of(swept(backend, 3).questions), 3)
    questions = itertools.islice(search(backend(), seed=5), 400)
    lacking = met(rows_of(questions), 3) - reached
    assert not lacking


def test_a_sweep_is_of_hundreds_not_thousands_of_small_questions() -> None:
    questions = swept(Whole, 3).questions
    assert len(swept(Whole, 2).questions) < 100
    assert len(questions) < 700
    assert sum(question.problem.macs for question in questions) / len(questions) < 200_000
    assert max(question.problem.macs for question in questions) < 2**23


def test_a_stronger_sweep_begins_with_a_weaker_one() -> None:
    weaker, stronger = swept(Particular, 2), swept(Particular, 3)
    assert stronger.questions[: len(weaker.questions)] == weaker.questions
    assert weaker.coverage_of(stronger.questions) == everything(weaker)


def test_what_was_answered_so_far_is_what_is_counted() -> None:
    made: Sweep = swept(Narrow, 3)
    half = made.questions[: len(made.questions) // 2]
    counted = made.coverage_of(iter(half))
    assert counted == Coverage(3, len(met(rows_of(half), 3)), everything(made).combinations)
    assert 0.8 < counted.share < 1
    assert made.coverage_of([]).reached == 0
    foreign = swept(Winograd, 2).questions  # in float32, which Narrow does not compute
    assert made.coverage_of(foreign).reached == len(met(rows_of(foreign), 3) & met(rows_of(made.questions), 3))


def test_two_threads_call_only_what_is_thread_safe() -> None:
    assert {question.calls for question in swept(Whole, 2).questions} == {"few", "many", "threads"}
    assert {question.calls for question in swept(Narrow, 2).questions} == {"few", "many"}


def test_numbers_vary_within_a_level() -> None:
    problems = [question.problem for question in swept(Whole, 3).questions]
    level = {problem.in_channels for problem in problems if problem.in_channels > 16 and problem.in_channels % 16}
    assert len(level) > 4
    assert len({problem.kernel_size for problem in problems}) > 20


def test_what_was_refused_is_told_in_words() -> None:
    assert refused(swept(Whole, 2)) == refused(swept(Narrow, 2)) == ()
    grouped = {"several groups", "depthwise", "depthwise with a multiplier"}
    assert set(refused(swept(Particular, 2))) == {f"{words} with bfloat16" for words in grouped}
    assert {"1x1 kernel", "stride 2", "1 channel in", "dilation 2 or more"} <= set(refused(swept(Winograd, 2)))


def test_where_nothing_is_supported_nothing_is_asked() -> None:
    for backend in (Nothing(), type("Mute", (Idle,), {"supports": Supports(dtypes=set())})()):
        made = sweep(backend, 2)
        assert made.questions == ()
        assert everything(made) == made.coverage_of(swept(Whole, 2).questions) == Coverage(2, 0, 0)


def test_an_error_of_the_backends_own_is_left_for_the_question_to_meet() -> None:
    made = sweep(Raising(), 2)
    assert everything(made).share == 1
    assert {question.problem.groups for question in made.questions} == {1}


def test_the_seed_is_that_of_the_data() -> None:
    questions = sweep(Narrow(), 1, seed=7).questions
    assert {question.seed for question in questions} == {7}
    assert tuple(question.replace(seed=0) for question in questions) == swept(Narrow, 1).questions


PRINT_DIGEST = """
import hashlib
from convbench.backend import WHOLE_OF_CONV2D, Backend
from convbench.verification.sweep.covering import sweep
Whole = type("Whole", (Backend,), {"supports": WHOLE_OF_CONV2D, "thread_safe": True, "prepare": None})
print(hashlib.sha256("\\n".join(map(str, sweep(Whole(), 2).questions)).encode()).hexdigest())
"""


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_sweep_is_the_same_in_every_process(hash_seed: str) -> None:
    mine = hashlib.sha256("\n".join(map(str, swept(Whole, 2).questions)).encode()).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == mine


def test_coverage_is_a_share() -> None:
    assert math.isclose(Coverage(2, 1, 3).share, 1 / 3)
