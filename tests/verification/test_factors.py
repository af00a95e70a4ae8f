"""The factors of a sweep, their levels, and the catalogue of numbers that each combination is asked with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SUPPORTS, forward_problems

from convbench.backend import Supports
from convbench.errors import ProblemError
from convbench.problem import DTYPES, PADDING_MODES, ConvProblem
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Question
from convbench.verification.sweep.catalogue import catalogue
from convbench.verification.sweep.combinations import FactorBlock, Space
from convbench.verification.sweep.drawing import DECISIONS, Drawing
from convbench.verification.sweep.factors import CHANNELS, DETAILS, FACTORS, GEOMETRY, OTHERS, classes, levels_of
from convbench.verification.sweep.geometries import existing

QUESTIONS = st.builds(
    Question,
    problem=forward_problems(),
    values=st.sampled_from(VALUES),
    layout=st.sampled_from(LAYOUTS),
    calls=st.sampled_from(CALLS),
)


@pytest.fixture(scope="module")
def possible_rows() -> Any:
    geometries = np.argwhere(catalogue().geometries.possible)
    channels = np.argwhere(catalogue().channels.possible)
    return geometries, channels


# --- levels -----------------------------------------------------------------------------------------------------------


@given(st.lists(QUESTIONS, min_size=1, max_size=5))
def test_every_question_has_one_level_of_every_factor_alone_and_among_others(questions: list[Question]) -> None:
    for question, levels in zip(questions, levels_of(questions), strict=True):
        told = classes(question)
        assert list(told) == [factor.name for factor in (*FACTORS, *DETAILS)]
        assert [factor.words.index(told[factor.name]) for factor in FACTORS] == levels.tolist()


def test_no_two_classes_are_called_alike() -> None:
    words = [word for factor in (*FACTORS, *DETAILS) for word in factor.words]
    assert len(set(words)) == len(words)


EXAMPLES = {
    "1x1 kernel": "n1c3h5w5_o4k1_s2",
    "1xN kernel": "n1c3h5w5_o4k1x3",
    "Nx1 kernel": "n1c3h5w5_o4k3x1",
    "kernel of unequal sides": "n1c3h5w5_o4k3x2",
    "2x2 kernel": "n1c3h5w5_o4k2",
    "3x3 kernel": "n1c3h5w5_o4k3",
    "4x4 or 5x5 kernel": "n1c3h5w5_o4k5",
    "kernel of 6x6 or larger": "n1c3h9w9_o4k11_p1",
    "stride 1": "n1c3h5w5_o4k3",
    "stride larger than the kernel": "n1c3h9w9_o4k2_s4x3",
    "unequal strides": "n1c3h9w9_o4k2_s4x2",
    "stride 2": "n1c3h9w9_o4k2_s2",
    "stride 3 or more": "n1c3h9w9_o4k3_s3",
    "dilation 1": "n1c3h9w9_o4k3",
    "unequal dilations": "n1c3h9w9_o4k3_d1x2",
    "dilation 2 or more": "n1c3h9w9_o4k3_d3",
    "negative padding": "n1c3h9w9_o4k3_pt-1b1l1r1",
    "no padding": "n1c3h9w9_o4k3",
    "same padding": "n1c3h9w9_o4k2x3_pt1b0l1r1",
    "padding on one side only": "n1c3h9w9_o4k3_pt1b0l0r2",
    "asymmetric padding": "n1c3h9w9_o4k3_pt1b2l0r0",
    "padding as large as the kernel": "n1c3h9w9_o4k2x3_p0x3",
    "symmetric padding": "n1c3h9w9_o4k3_p1x2",
    "one-pixel image": "n1c3h1w1_o4k1",
    "image of one row or column": "n1c3h7w1_o4k1",
    "square image": "n1c3h7w7_o4k1",
    "tall image": "n1c3h7w2_o4k1",
    "wide image": "n1c3h7w8_o4k1",
    "one-pixel output": "n1c3h7w8_o4k7x8",
    "output of one column": "n1c3h7w7_o4k1x7",
    "output of one row": "n1c3h7w7_o4k7x1",
    "output 2 to 7 wide": "n1c3h17w7_o4k1",
    "output 8 to 15 wide": "n1c3h7w15_o4k1",
    "output 16 wide or more": "n1c3h7w16_o4k1",
    "kernel as large as the padded image": "n1c3h1w1_o4k3_p1",
    "kernel larger than the image": "n1c3h9w2_o4k3_p1",
    "kernel within the image": "n1c3h9w3_o4k3",
    "padding mode circular": "n1c3h9w3_o4k3_p1_circular",
    "1 channel in": "n1c1h3w3_o4k1",
    "2 to 4 channels in": "n1c4h3w3_o4k1",
    "5 to 15 channels out": "n1c4h3w3_o15k1",
    "a multiple of 16 channels out": "n1c4h3w3_o48k1",
    "more than 16 channels in, no multiple": "n1c24h3w3_o4k1",
    "one group": "n1c1h3w3_o4k1",
    "several groups": "n1c4h3w3_o2k1_g2",
    "depthwise": "n1c4h3w3_o4k1_g4",
    "depthwise with a multiplier": "n1c4h3w3_o8k1_g4",
    "batch above 2": "n7c4h3w3_o8k1",
    "a bias": "n1c4h3w3_o8k1_bias",
    "bfloat16": "n1c4h3w3_o8k1_bf16",
    "odd strides of size-1 axes": "n1c4h3w3_o8k1 odd-strides",
    "NaN and infinities": "n1c4h3w3_o8k1 special",
    "calls from two threads": "n1c4h3w3_o8k1 threads",
    "stride above 1 across": "n1c3h9w9_o4k2_s1x2",
    "1 channel out of each group": "n1c4h3w3_o2k1_g2",
    "outputs that see padding alone": "n1c1h3w3_o1k2_pt0b2l0r0",
    "no output that sees padding alone": "n1c1h3w3_o1k2_s2_pt0b2l0r0",
    "more than 256 products summed": "n1c33h3w3_o1k3_bias",
}


@pytest.mark.parametrize("words", EXAMPLES)
def test_a_level_is_what_its_words_say(words: str) -> None:
    assert words in classes(Question.parse(EXAMPLES[words])).values()


# --- the catalogue ----------------------------------------------------------------------------------------------------


def build(levels: Mapping[str, str], variant: int = 0) -> Question | None:
    """The question of this number with a level of each of `FACTORS`, by name; None when no question has these."""
    row = [factor.words.index(levels[factor.name]) for factor in FACTORS]
    return next(catalogue().questions(row, variant), None)


@settings(max_examples=200)
@given(data=st.data())
def test_a_question_built_for_levels_has_them(possible_rows: Any, data: st.DataObject) -> None:
    levels: dict[str, str] = {}
    for factors, rows in zip((GEOMETRY, CHANNELS), possible_rows, strict=True):
        row = rows[data.draw(st.integers(0, len(rows) - 1))]
        levels |= {factor.name: factor.words[level] for factor, level in zip(factors, row, strict=True)}
    levels |= {factor.name: data.draw(st.sampled_from(factor.words)) for factor in FACTORS if factor.name not in levels}
    question = build(levels, data.draw(st.integers(0, 2**40)))
    if question is None:  # an axis of size 1 may be wanting
        assert levels["layout"] == "odd strides of size-1 axes"
    else:
        assert {name: classes(question)[name] for name in levels} == levels


def test_what_is_impossible_is_not_built() -> None:
    levels = classes(Question.parse("n1c4h9w9_o4k3_p1"))
    assert build(levels) is not None
    assert build(levels | {"channels in": "1 channel in", "groups": "depthwise"}) is None
    assert build(levels | {"padding": "negative padding", "padding mode": "padding mode reflect"}) is None
    assert build(levels | {"image": "one-pixel image", "output": "output of one row", "padding": "no padding"}) is None
    problem = Question.parse("n2c4h9w9_o4k3_p1").problem
    assert build(classes(Question(problem=problem)) | {"layout": "odd strides of size-1 axes"}) is None


def test_numbers_vary_within_levels_and_are_the_same_every_time() -> None:
    levels = classes(Question.parse("n3c17h9w9_o33k5x2_s1x2_p1x2_d2_bias"))
    built = [build(levels, variant) for variant in range(30)]
    assert built == [build(levels, variant) for variant in range(30)]
    assert len(set(built)) > 15
    assert len({question.problem.in_channels for question in built if question}) > 3


def test_every_geometry_and_all_channels_exist() -> None:
    geometries, channels = catalogue().geometries.columns, catalogue().channels.columns
    for column in geometries[:, ::97].T:
        assert as_problem(column) is not None
    for inputs, outputs, groups in channels.T.tolist():
        ConvProblem(in_channels=inputs, out_channels=outputs, groups=groups, height=1, width=1, kernel_size=1)


numbers = st.tuples(
    *2 * (st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), *2 * (st.integers(-3, 6),), st.integers(0, 6)),
    st.integers(0, 3),
)


@settings(max_examples=150)
@given(st.lists(numbers, min_size=1, max_size=20))
def test_a_geometry_exists_when_a_problem_has_it_and_its_mode_pads(geometries: list[tuple[int, ...]]) -> None:
    columns = np.array(geometries, np.int16).T
    kept = {tuple(column) for column in existing(columns).T.tolist()}
    for geometry in geometries:
        problem = as_problem(geometry)
        nothing_padded = problem is not None and not any(map(any, problem.padding))
        expected = problem is not None and (problem.padding_mode == "zeros" or not nothing_padded)
        assert (geometry in kept) == expected


def as_problem(geometry: Any) -> ConvProblem | None:
    down, across, mode = list(map(int, geometry[:6])), list(map(int, geometry[6:12])), int(geometry[12])
    kernel, stride, dilation, before, after, size = zip(down, across, strict=True)
    try:
        return ConvProblem(
            in_channels=1,
            out_channels=1,
            height=size[0],
            width=size[1],
            kernel_size=kernel,
            stride=stride,
            dilation=dilation,
            padding=((before[0], after[0]), (before[1], after[1])),
            padding_mode=PADDING_MODES[mode],
        )
    except ProblemError:
        return None


@settings(max_examples=300)
@given(forward_problems())
def test_no_problem_has_a_combination_that_the_catalogue_takes_for_impossible(problem: ConvProblem) -> None:
    if problem.padding_mode != "zeros" and not any(map(any, problem.padding)):
        problem = problem.replace(padding_mode="zeros")  # a mode that pads nothing is none
    [levels] = levels_of([Question(problem=problem)])
    for factors in itertools.combinations(range(len(GEOMETRY)), 3):
        assert possible_geometries(factors)[tuple(levels[list(factors)])], [GEOMETRY[f].name for f in factors]
    assert catalogue().channels.possible[tuple(levels[len(GEOMETRY) : len(GEOMETRY) + len(CHANNELS)])]


SPACE = Space([FactorBlock(tuple(range(len(GEOMETRY))), catalogue().geometries.possible)])


def possible_geometries(factors: tuple[int, ...]) -> Any:
    return SPACE.possible(factors)


@settings(max_examples=6)
@given(SUPPORTS)
def test_what_a_backend_is_offered_is_what_it_supports(supports: Supports) -> None:
    offered = catalogue(supports, thread_safe=False)
    dtype = min(supports.dtypes)
    for geometry in offered.geometries.columns[:, ::499].T:
        problem = as_problem(geometry)
        assert problem is not None
        assert supports.reason_against(problem.replace(dtype=dtype)) is None
    groups = {groups for _, _, groups in offered.channels.columns.T.tolist()}
    assert (groups == {1}) != supports.groups
    there = dict(zip((factor.name for factor in OTHERS), offered.others, strict=True))
    assert {dtype for dtype, is_there in zip(DTYPES, there["dtype"], strict=True) if is_there} == supports.dtypes
    assert there["calls"] == (True, True, False)
    assert all(map(all, (there["batch"], there["bias"], there["layout"], there["values"])))


@settings(max_examples=6, derandomize=True)  # some of the narrowest lack one of the oddest, as the module says
@given(supports=SUPPORTS, data=st.data())
def test_a_backend_is_offered_every_combination_that_it_supports(supports: Supports, data: st.DataObject) -> None:
    offered = catalogue(supports)
    space = Space([FactorBlock(tuple(range(len(GEOMETRY))), offered.geometries.possible)])
    asked = Drawing(supports, thread_safe=False)
    for decisions in data.draw(st.lists(st.binary(min_size=DECISIONS, max_size=DECISIONS), min_size=3, max_size=9)):
        [levels] = levels_of([asked.question(decisions)])
        for factors in itertools.combinations(range(len(GEOMETRY)), 3):
            if not (levels[MODE] and levels[PADDING] == NO_PADDING):
                assert space.possible(factors)[tuple(levels[list(factors)])], [GEOMETRY[f].name for f in factors]


PADDING, MODE = ([factor.name for factor in GEOMETRY].index(name) for name in ("padding", "padding mode"))
NO_PADDING = GEOMETRY[PADDING].words.index("no padding")


def test_what_is_refused_is_not_offered() -> None:
    refused = {"2x2 kernel", "stride 2", "depthwise", "1 channel in", "float16", "sliced arrays"}
    offered = catalogue(refused=frozenset(refused))
    left = [
        *np.unique(np.argwhere(offered.geometries.possible)[:, 0]),
        *np.unique(np.argwhere(offered.channels.possible)[:, 2]),
    ]
    assert len(left) == len(GEOMETRY[0].levels) - 1 + len(CHANNELS[2].levels) - 1
    taken_out = [
        word
        for factor, there in zip(OTHERS, offered.others, strict=True)
        for word, is_there in zip(factor.words, there, strict=True)
        if not is_there
    ]
    assert taken_out == ["float16", "sliced arrays"]


def test_where_nothing_is_supported_nothing_is_offered() -> None:
    assert not catalogue(Supports(padding_modes=())).geometries.possible.any()
    assert not any(catalogue(Supports(directions={"weight_gradient"})).others[2])
