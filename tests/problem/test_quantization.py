"""The value `Quantization`: its text, its place in a problem, and what is refused."""

from __future__ import annotations

import itertools
import json
import pickle
from typing import Any

import pytest

from convbench.backend import QuantizedArithmetic, QuantizedSupport, Supports
from convbench.errors import ProblemError
from convbench.problem import ConvProblem, Quantization
from convbench.problem.dialects import to_benchdnn, to_miopen, to_torch
from convbench.problem.quantization import INPUT_FORMATS, RESULT_FORMATS, USUAL
from convbench.problem.quantization import every_quantization as known_quantizations

LAYER: dict[str, Any] = {"in_channels": 4, "height": 8, "width": 6, "out_channels": 6, "kernel_size": 3}
BOTH = (False, True)


def every_quantization() -> list[Quantization]:
    known = set()
    for first, x_zero, per_channel, w_zero, result, y_zero in itertools.product(
        INPUT_FORMATS, BOTH, BOTH, BOTH, RESULT_FORMATS, BOTH
    ):
        words: dict[str, Any] = {"input": first, "result": result, "per_channel": per_channel}
        words |= {"input_zero_point": x_zero, "weight_zero_point": w_zero}
        known.add(Quantization(**words, result_zero_point=y_zero and result in INPUT_FORMATS))
    return sorted(known, key=str)


def test_every_quantization_has_a_text_and_a_case_id_of_its_own_that_read_back() -> None:
    every = every_quantization()
    assert len(every) == 92
    assert set(known_quantizations()) == set(every)
    assert str(known_quantizations()[0]) == "u8:s8:s32"
    problems = [ConvProblem(**LAYER, stride=8, quantization=q) for q in every]
    assert len({str(q) for q in every}) == len({p.case_id for p in problems}) == len(every)
    for quantization, problem in zip(every, problems, strict=True):
        assert Quantization.parse(str(quantization)) == quantization
        assert Quantization.parse(str(quantization).replace(":", "")) == quantization
        assert ConvProblem.from_case_id(problem.case_id) == problem
        assert ConvProblem.parse(problem.case_id) == problem
        assert ConvProblem(**json.loads(json.dumps(problem.as_dict()))) == problem
        assert pickle.loads(pickle.dumps(problem)) == problem


def test_benchdnn_has_options_for_each_and_they_read_back() -> None:
    for quantization in every_quantization():
        problem = ConvProblem(**LAYER, bias=True, quantization=quantization)
        assert ConvProblem.parse(to_benchdnn(problem)) == problem


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("--conv --dt=u8:s8:u8 ic3ih8oc4kh3", "u8:s8t:u8"),
        ("--conv --dt=s8:s8:f32 --attr-scales=wei:per_oc ic3ih8oc4kh3", "s8:s8:f32"),
        ("--conv --dt=u8:s8:s32 --attr-zero-points=src:common:3+wei:per_oc:2 ic3ih8oc4kh3", "u8z:s8tz:s32"),
        ("--conv --attr-zero-points=dst:common:3 --dt=u8:s8:s8 --bia-dt=s32 ic3ih8oc4kh3", "u8:s8t:s8z"),
        (
            "onednn_verbose,v1,primitive,exec,cpu,convolution,brg_conv:avx512_core_amx,forward_inference,"
            "src:u8::blocked:acdb::f0 wei:s8:a:blocked:AcdB16b64a4b::f0 bia:f32:a:blocked:a::f0 "
            "dst:u8::blocked:acdb::f0,attr-scratchpad:user "
            "attr-scales:src0:0:f32+dst:0:f32+wei:1:f32 attr-zero-points:src0:0:s32+dst:0:s32,"
            "alg:convolution_direct,mb1_ic64oc64_ih56oh56kh3sh1dh0ph1_iw56ow56kw3sw1dw0pw1,0.1",
            "u8z:s8:u8z",
        ),
    ],
)
def test_lines_of_onednn_are_read(text: str, formats: str) -> None:
    assert str(ConvProblem.parse(text).quantization) == formats


def test_dialects_that_have_no_quantised_problem_say_so() -> None:
    with pytest.raises(ProblemError, match="int8"):
        to_miopen(ConvProblem(**LAYER, dtype="int8"))
    with pytest.raises(ProblemError, match="no result of 32 bits"):
        to_torch(ConvProblem(**LAYER, quantization="u8:s8:s32"))


def test_the_usual_one_is_what_int8_means() -> None:
    problem = ConvProblem(**LAYER, bias=True, dtype="int8")
    assert problem.quantization == USUAL
    assert problem.case_id == "n1c4h8w6_o6k3_bias_u8zs8u8z"
    assert ConvProblem(**LAYER, quantization="s8:s8:s8").dtype == "int8"


def test_a_stride_of_eight_is_no_quantization() -> None:
    problem = ConvProblem.from_case_id("n1c4h8w6_o6k3_s8_s8s8s8")
    assert (problem.stride, str(problem.quantization)) == ((8, 8), "s8:s8:s8")
    assert ConvProblem.from_case_id("n1c4h8w6_o6k3_s8").quantization is None
    assert ConvProblem.from_case_id("n1c4h8w6_o6k3_s8s8s8").stride == (1, 1)


def test_problems_in_floating_point_are_as_before() -> None:
    problem = ConvProblem(**LAYER)
    assert problem.case_id == "n1c4h8w6_o6k3"
    assert "quantization" not in problem.as_dict()
    assert problem.quantization is None


def test_another_dtype_ends_a_quantization_and_other_changes_keep_it() -> None:
    problem = ConvProblem(**LAYER, quantization="s8z:s8t:s8")
    assert problem.replace(batch=3).quantization == problem.quantization
    assert problem.replace(dtype="int8") == problem
    assert problem.replace(dtype="bfloat16") == ConvProblem(**LAYER, dtype="bfloat16")
    assert problem.replace(quantization="u8:s8:u8") == ConvProblem(**LAYER, quantization="u8:s8:u8")


def test_bytes_count_each_operand_in_its_own_format() -> None:
    layer = LAYER | {"bias": True}
    inputs, weights, outputs = 4 * 8 * 6, 6 * 4 * 9, 6 * 6 * 4
    assert ConvProblem(**layer, quantization="u8:s8:u8").bytes == inputs + weights + 4 * 6 + outputs
    assert ConvProblem(**layer, quantization="u8:s8:s32").bytes == inputs + weights + 4 * 6 + 4 * outputs


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantization": "u8:u8:u8"}, "it should look like 'u8z:s8:u8z'"),
        ({"quantization": "u8:s8:s32z"}, "has no zero point"),
        ({"quantization": 8}, "it should be a text such as"),
        ({"quantization": "u8:s8:u8", "dtype": "bfloat16"}, "leave dtype out"),
        ({"quantization": "u8:s8:u8", "direction": "input_gradient"}, "computed forward only"),
        ({"quantization": "u8:s8:u8", "in_channels": 8000}, "32 bits hold"),
        ({"quantization": "u8:s8:u8", "epilogue": "relu"}, "leave the epilogue out"),
        ({"dtype": "int4"}, "dtype is 'int4'"),
    ],
)
def test_what_is_no_quantised_problem_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProblemError, match=reason):
        ConvProblem(**LAYER | changes)


def test_a_result_without_zero_point_and_unknown_formats_are_refused() -> None:
    with pytest.raises(ProblemError, match="no zero point"):
        Quantization(result="f32", result_zero_point=True)
    with pytest.raises(ProblemError, match="input is 's16'"):
        Quantization(input="s16")  # type: ignore[arg-type]


def test_a_backend_gets_only_what_it_names() -> None:
    supports = Supports(quantized=QuantizedSupport({"u8:u8"}, per_tensor=False, result_zero_point=False))
    formats = ("u8z:s8:u8", "u8z:s8t:u8", "u8z:s8z:u8", "u8z:s8:u8z", "s8:s8:s8")
    reasons = [supports.reason_against(ConvProblem(**LAYER, quantization=text)) for text in formats]
    assert reasons[0] is None
    assert [str(reason).split()[1] for reason in reasons[1:]] == ["a", "no", "no", "int8"]
    assert Supports().reason_against(ConvProblem(**LAYER, dtype="int8")) == "does not compute int8, only float32"
    with pytest.raises(TypeError, match="u8:s16"):
        QuantizedSupport({"u8:s16"})
    with pytest.raises(TypeError, match="halves"):
        QuantizedArithmetic(halves="odd")  # type: ignore[arg-type]
