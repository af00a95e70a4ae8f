"""Quantised ONNX models as suites: of QLinearConv, of ConvInteger, and of Conv between conversions (QDQ)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from convbench.backends._onnx.quantized import integer_model, qdq_model, qlinear_model
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import forward_problems

from convbench.errors import ProblemError
from convbench.extraction.extract import layers_of
from convbench.problem import ConvProblem, Quantization, Scales
from convbench.problem.dialects import to_onnx
from convbench.problem.quantization import every_quantization

FORMS = {"qlinear": qlinear_model, "qdq": qdq_model, "integer": integer_model}


@st.composite
def models(draw: st.DrawFn) -> tuple[str, ConvProblem]:
    form = draw(st.sampled_from(sorted(FORMS)))
    results = {"qlinear": ["u8", "s8"], "qdq": ["u8", "s8", "f32"], "integer": ["s32"]}[form]
    result = draw(st.sampled_from(results))
    channels = draw(st.integers(2, 3))
    problem = ConvProblem(
        in_channels=2 * channels,
        height=draw(st.integers(3, 5)),
        width=5,
        out_channels=4,
        kernel_size=(draw(st.integers(1, 2)), 3),
        stride=draw(st.integers(1, 2)),
        padding=((1, draw(st.integers(0, 1))), (0, 1)),
        groups=draw(st.sampled_from([1, 2])),
        bias=draw(st.booleans()) and form != "integer",
        quantization=Quantization(
            input=draw(st.sampled_from(["u8", "s8"])),
            input_zero_point=draw(st.booleans()),
            per_channel=draw(st.booleans()) or form == "integer",
            result=result,
            result_zero_point=draw(st.booleans()) and result in ("u8", "s8"),
        ),
    )
    return form, problem


def saved(path: Path, form: str, problem: ConvProblem) -> str:
    q = problem.quantization
    assert q is not None
    shape = (problem.out_channels if q.per_channel else 1,)
    scales = Scales(0.5, 7 * q.input_zero_point, np.full(shape, 0.25, "f4"), np.zeros(shape, "i1"), 2.0, 3)
    if not q.result_zero_point:
        scales = Scales(scales.x_scale, scales.x_zero, scales.w_scale, scales.w_zero, 2.0, 0)
    w = np.ones(problem.weight_shape, np.int8)
    b = np.ones(problem.out_channels, np.int32) if problem.bias else None
    path.write_bytes(FORMS[form](problem, w, b, scales))
    return str(path)


@settings(max_examples=60, deadline=None)
@given(models())
def test_a_model_of_a_quantised_problem_is_read_as_that_problem(model: tuple[str, ConvProblem]) -> None:
    import tempfile

    form, problem = model
    with tempfile.TemporaryDirectory() as folder:
        extracted = layers_of(saved(Path(folder, "model.onnx"), form, problem))
    assert [case.problem for case in extracted.cases] == [problem]
    assert extracted.left_out == ()


def chain(path: Path, *nodes: Any, u8_weight: bool = False) -> str:
    constants = {
        "s": np.float32(0.5),
        "z": np.uint8(128),
        "none": np.uint8(0),
        "w": np.ones((4, 3, 3, 3), np.uint8 if u8_weight else np.int8),
        "wz": np.array(0, np.uint8 if u8_weight else np.int8),
    }
    ends = [onnx.helper.make_tensor_value_info(n, 1, s) for n, s in (("x", (1, 3, 8, 8)), ("y", None))]
    tensors = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = onnx.helper.make_graph(list(nodes), "g", ends[:1], ends[1:], tensors)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)]), path)
    return str(path)


def node(kind: str, inputs: str, output: str) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), [output])


BEFORE = (
    node("QuantizeLinear", "x s z", "xq"),
    node("DequantizeLinear", "xq s z", "xd"),
    node("DequantizeLinear", "w s wz", "wd"),
    node("Conv", "xd wd", "c"),
)


@pytest.mark.parametrize(
    ("behind", "quantization"),
    [
        ([node("QuantizeLinear", "c s none", "q"), node("DequantizeLinear", "q s none", "y")], "u8z:s8t:u8"),
        (
            [
                node("Relu", "c", "r"),
                node("QuantizeLinear", "r s none", "q"),
                node("DequantizeLinear", "q s none", "y"),
            ],
            "u8z:s8t:u8",
        ),
        ([node("Relu", "c", "y")], "u8z:s8t:f32"),
        (
            [
                node("QuantizeLinear", "c s z", "q"),
                node("DequantizeLinear", "q s z", "d"),
                node("Add", "d c", "y"),
            ],
            "u8z:s8t:f32",
        ),
    ],
)
def test_the_result_is_of_8_bits_where_a_quantizer_alone_reads_it(
    tmp_path: Path, behind: list[Any], quantization: str
) -> None:
    extracted = layers_of(chain(tmp_path / "model.onnx", *BEFORE, *behind))
    assert [str(case.problem.quantization) for case in extracted.cases] == [quantization]


def test_weights_of_uint8_are_listed_in_real_numbers_and_told(tmp_path: Path) -> None:
    extracted = layers_of(chain(tmp_path / "model.onnx", *BEFORE, node("Relu", "c", "y"), u8_weight=True))
    assert [case.problem.dtype for case in extracted.cases] == ["float32"]
    assert "The quantisation of a convolution that is listed in real numbers" in extracted.left_out[0]


def test_another_dtype_takes_the_place_of_a_quantization(tmp_path: Path) -> None:
    path = chain(tmp_path / "model.onnx", *BEFORE, node("Relu", "c", "y"))
    assert [c.problem.dtype for c in layers_of(path, dtype="bfloat16").cases] == ["bfloat16"]
    assert [str(c.problem.quantization) for c in layers_of(path, dtype="int8").cases] == ["u8z:s8t:f32"]


def test_a_sum_of_integers_has_the_shape_of_a_sum(tmp_path: Path) -> None:
    add = onnx.helper.make_node(
        "QLinearAdd", ["xq", "s", "z", "xq", "s", "z", "s", "z"], ["sum"], domain="com.microsoft"
    )
    nodes = [BEFORE[0], add, node("QLinearConv", "sum s z w s wz s z", "q"), node("DequantizeLinear", "q s z", "y")]
    extracted = layers_of(chain(tmp_path / "model.onnx", *nodes))
    assert [case.problem.case_id for case in extracted.cases] == ["n1c3h8w8_o4k3_u8zs8tu8z"]
    assert extracted.left_out == ()


def written(problem: ConvProblem, path: Path) -> str:
    """The model that the dialect writes, checked by onnx itself, as a file."""
    model = onnx.parser.parse_model(to_onnx(problem))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return str(path)


@settings(max_examples=120)
@given(forward_problems(), st.sampled_from([None, *every_quantization()]))
def test_the_text_of_a_problem_is_a_model_that_reads_back(
    tmp_path_factory: pytest.TempPathFactory, problem: ConvProblem, quantization: Quantization | None
) -> None:
    if quantization is not None:
        problem = problem.replace(dtype="int8", quantization=quantization)
    try:
        path = written(problem, tmp_path_factory.mktemp("text") / "model.onnx")
    except ProblemError:
        assert problem.padding_mode != "zeros" or min(sum(problem.padding, ())) < 0
        return
    (case,) = layers_of(path).cases
    assert case.problem == as_read(problem)


def as_read(problem: ConvProblem) -> ConvProblem:
    """What is left of a problem in a graph: ConvInteger has neither a bias nor scales, and one scale is one for all."""
    q = problem.quantization
    if q is None:
        return problem
    per_channel = q.result == "s32" or (q.per_channel and problem.out_channels > 1)
    return problem.replace(
        quantization=dataclasses.replace(q, per_channel=per_channel), bias=problem.bias and q.result != "s32"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"padding": ((-1, 0), (0, 0))}, "only adds zeros"),
        ({"padding": 1, "padding_mode": "reflect"}, "only adds zeros"),
        ({"direction": "input_gradient"}, "no operator for the input gradient"),
        ({"epilogue": "relu"}, "has no epilogue"),
    ],
)
def test_what_no_operator_of_onnx_expresses_is_refused(changes: dict[str, Any], reason: str) -> None:
    problem = ConvProblem(in_channels=2, height=4, width=4, out_channels=2, kernel_size=3)
    with pytest.raises(ProblemError, match=reason):
        to_onnx(problem.replace(**changes))
