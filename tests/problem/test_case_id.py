"""Case ids: each gives its problem back, no two problems share one, and none ever changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems

from convbench.errors import ProblemError
from convbench.problem import ConvProblem, Epilogue
from convbench.problem.case_id import format_case_id

BASE: dict[str, Any] = {"in_channels": 64, "height": 56, "width": 56, "out_channels": 64, "kernel_size": 3}

# Keys in stored histories. Never edit a line; add lines.
STABLE = {
    "n1c64h56w56_o64k3": {},
    "n1c64h56w56_o64k3_p1": {"padding": 1},
    "n32c64h56w28_o64k3": {"batch": 32, "width": 28},
    "n1c64h56w56_o64k1x7_p0x3": {"kernel_size": (1, 7), "padding": "same"},
    "n1c64h56w56_o64k3_s2_p1": {"stride": 2, "padding": 1},
    "n1c64h56w56_o64k3_s1x2": {"stride": (1, 2)},
    "n1c64h56w56_o64k3_pt0b1l0r1": {"padding": ((0, 1), (0, 1))},
    "n1c64h56w56_o64k3_pt1b1l0r2": {"padding": ((1, 1), (0, 2))},
    "n1c64h56w56_o64k3_p-1": {"padding": -1},
    "n1c64h56w56_o64k3_p-1x2": {"padding": (-1, 2)},
    "n1c64h56w56_o64k3_pt-1b2l0r-3": {"padding": ((-1, 2), (0, -3))},
    "n1c64h56w56_o64k3_d2": {"dilation": 2},
    "n1c64h56w56_o64k3_d1x2": {"dilation": (1, 2)},
    "n1c64h56w56_o64k3_g64": {"groups": 64},
    "n1c64h56w56_o64k3_bias": {"bias": True},
    "n1c64h56w56_o64k3_p2_reflect": {"padding": 2, "padding_mode": "reflect"},
    "n1c64h56w56_o64k3_p2_replicate": {"padding": 2, "padding_mode": "replicate"},
    "n1c64h56w56_o64k3_p2_circular": {"padding": 2, "padding_mode": "circular"},
    "n1c64h56w56_o64k3_f64": {"dtype": "float64"},
    "n1c64h56w56_o64k3_f16": {"dtype": "float16"},
    "n1c64h56w56_o64k3_bf16": {"dtype": "bfloat16"},
    "n1c64h56w56_o64k3_dgrad": {"direction": "input_gradient"},
    "n1c64h56w56_o64k3_wgrad": {"direction": "weight_gradient"},
    "n1c64h56w56_o64k3_relu": {"epilogue": "relu"},
    "n1c64h56w56_o64k3_f16_add_leaky0.01": {
        "dtype": "float16", "epilogue": Epilogue(activation="leaky_relu", slope=0.01, residual="before"),
    },
    "n1c64h56w56_o64k3_bias_clip-1x1.5_add": {
        "bias": True, "epilogue": Epilogue(activation="clip", low=-1, high=1.5, residual="after"),
    },
    "n1c64h56w56_o64k3_step": {"direction": "step"},
    "n1c64h56w56_o64k3_bias_bf16_step": {"bias": True, "dtype": "bfloat16", "direction": "step"},
    "n1c64h56w56_o64k3x5_s2x1_pt1b0l2r3_d2x1_g4_bias_circular_bf16_wgrad": {
        "kernel_size": (3, 5), "stride": (2, 1), "padding": ((1, 0), (2, 3)), "dilation": (2, 1), "groups": 4,
        "bias": True, "padding_mode": "circular", "dtype": "bfloat16", "direction": "weight_gradient",
    },
}  # fmt: skip


@pytest.mark.parametrize("text", STABLE)
def test_ids_never_change(text: str) -> None:
    p = ConvProblem(**(BASE | STABLE[text]))
    assert p.case_id == format_case_id(p) == str(p) == text
    assert ConvProblem.from_case_id(text) == ConvProblem.parse(text) == p


@settings(max_examples=500)
@given(problems())
def test_an_id_gives_its_problem_back(p: ConvProblem) -> None:
    assert ConvProblem.from_case_id(format_case_id(p)) == p
    assert ConvProblem.parse(p.case_id) == p


@settings(max_examples=500)
@given(problems(), problems())
def test_no_two_problems_share_an_id(one: ConvProblem, other: ConvProblem) -> None:
    assert (one == other) == (one.case_id == other.case_id)


@settings(max_examples=300)
@given(problems(), st.data())
def test_problems_that_differ_in_one_argument_differ_in_their_ids(p: ConvProblem, data: st.DataObject) -> None:
    other = data.draw(problems())
    for name, value in other.as_dict().items():
        try:
            changed = p.replace(**{name: value})
        except ProblemError:
            continue
        assert (changed == p) == (changed.case_id == p.case_id)


def test_the_largest_sizes_have_ids() -> None:
    p = ConvProblem(**(BASE | {"batch": 2**63 - 1, "padding": 2**63 - 1}))
    assert ConvProblem.from_case_id(p.case_id) == p


@pytest.mark.parametrize("text", [" n1c64h56w56_o64k3 ", "n1c64h56w56_o64k3\n", "n01c64h56w56_o64k3x3_s1_p0"])
def test_spellings_other_than_its_own_are_read(text: str) -> None:
    assert ConvProblem.from_case_id(text).case_id == "n1c64h56w56_o64k3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "n1",
        "n1c64h56w56",
        "n1c64h56w56_o64",
        "n1c64h56w56_o64k3_",
        "n1c64h56w56_o64k3_p",
        "n1c64h56w56_o64k3_p1_s2",  # the order is part of it
        "n1c64h56w56_o64k3\n_p1",
        "n1c64h56w56_o64k3_p1 n1c64h56w56_o64k3_p1",
        "n1c64h56w56_o64k3_zeros",
        "n1c64h56w56_o64k3_relu_f16",
        "n1c64h56w56_o64k3_add_relu_add",
        "n1c64h56w56_o64k3_leaky",
        "n1c64h56w56_o64k3_leaky0,1",
        "n1c64h56w56_o64k-3",
        "N1C64H56W56_O64K3",
        "n1c64h56w56_o64k3_pt1b1l1",
        "n١c64h56w56_o64k3",  # a digit, but of another script
        "n1c6\uff14h56w56_o64k3",
        "n1c64h56w56_o64k³",
        "n1c64h56w56_o64k3\0",
        "n" + "1" * 5000 + "c64h56w56_o64k3",
        "n1c64h56w56_o64k3_p" + "9" * 5000,
        "n1" * 5000,
        "x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_id_is_refused_shortly(text: str) -> None:
    for read in (ConvProblem.from_case_id, ConvProblem.parse):
        with pytest.raises(ProblemError) as caught:
            read(text)
        assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n0c64h56w56_o64k3", "batch is 0"),
        ("n1c64h56w56_o64k99", "spans 99"),
        ("n1c64h56w56_o64k3_g7", "7 groups"),
        ("n9999999999999999999c64h56w56_o64k3", "64 bits"),
    ],
)
def test_an_id_of_an_impossible_problem_says_why(text: str, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        ConvProblem.from_case_id(text)


@settings(max_examples=300)
@given(st.text(alphabet="ncohwkspdgtblrx_-0123456789 ٣\n", max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        ConvProblem.parse(text)
    except ProblemError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("words", "case_id"),
    [
        ("n1 c64 h56 w56 o64 k3 p1", "n1c64h56w56_o64k3_p1"),
        ("n1 c64 h56 w56 o64 k3 p1 bias add_clip-1x1", "n1c64h56w56_o64k3_p1_bias_add_clip-1x1"),
        ("n1c64 h56w56  o64 k3x5 s2 _p0x1 g2 bias circular f16", "n1c64h56w56_o64k3x5_s2_p0x1_g2_bias_circular_f16"),
    ],
)
def test_the_parts_of_an_id_may_be_words(words: str, case_id: str) -> None:
    assert ConvProblem.parse(words).case_id == case_id
