"""Transposed convolutions are gradients of an input: computed alike, from every kind of model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from convbench.errors import ProblemError
from convbench.extraction.extract import layers_of
from convbench.extraction.transposed import TransposedConvolution
from convbench.problem import ConvProblem
from convbench.verification.gradients import computed
from convbench.verification.operands import Operands

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


class Generator(nn.Module):
    """Two transposed convolutions, one with a bias, around a convolution whose image is padded."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(6, 4, (4, 3), stride=2, padding=1, output_padding=(0, 1), groups=2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3)
        self.out = nn.ConvTranspose2d(4, 3, 3, dilation=2)

    def forward(self, x: Any) -> Any:
        return self.out(self.conv(functional.pad(self.norm(self.up(x)).relu(), (1, 1, 1, 1))))


EXPECTED = [
    ("n2c4h10w10_o6k4x3_s2_p1_g2_dgrad", "up"),
    ("n2c4h10w10_o4k3_p1_bias", "conv"),
    ("n2c3h14w14_o4k3_d2_dgrad", "out"),
]
SHAPE = (2, 6, 5, 5)
BIAS = "The bias of a transposed convolution, which the gradient of an input does not have: runs once, first in out."


@st.composite
def calls(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
    """Arguments of torch's conv_transpose2d, the shape of the image and that of the weight."""
    groups, stride, dilation = draw(st.sampled_from([1, 1, 2, 3])), draw(PAIRS), draw(PAIRS)
    more = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    padding = (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    image = (
        draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 3)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
    )
    weight = (image[1], draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    words = {"stride": stride, "padding": padding, "output_padding": more, "dilation": dilation, "groups": groups}
    return words, image, weight


def problem_of(words: dict[str, Any], image: tuple[int, ...], weight: tuple[int, ...]) -> ConvProblem:
    own = {name: words[name] for name in ("stride", "dilation", "groups")} | {"dtype": "float64"}
    sides = tuple((side, side) for side in words["padding"])
    return TransposedConvolution.of_output_padding(image, weight, sides, words["output_padding"], own).problem()


def is_a_result_of_products(n: int, k: int, s: int, p: int, more: int, d: int) -> bool:
    """Whether there is a result along an axis, and not of zeros of output_padding alone, which no convolution has."""
    return (n - 1) * s - 2 * p + d * (k - 1) + more + 1 > 0 and (n - 1) * s - p + d * (k - 1) + 1 > 0


@settings(max_examples=300, deadline=None)
@given(calls(), st.integers(0, 99))
def test_the_reference_computes_what_torch_does(call: Any, seed: int) -> None:
    words, image, weight = call
    extents = zip(image[2:], weight[2:], *(words[name] for name in list(words)[:4]), strict=True)
    assume(all(is_a_result_of_products(*extent) for extent in extents))
    rng = np.random.default_rng(seed)
    x, w = (rng.integers(-4, 5, shape).astype(np.float64) for shape in (image, weight))
    problem = problem_of(words, image, weight)
    expected = functional.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(w), **words).numpy()
    assert problem.direction == "input_gradient" and not problem.bias
    assert problem.result_shape == expected.shape and problem.weight_shape == weight
    assert np.array_equal(computed(problem, Operands(g=x, w=w)), expected)


def test_a_result_that_is_larger_than_all_windows_together_ends_in_zeros() -> None:
    words = {"stride": (1, 2), "padding": (0, 1), "output_padding": (1, 1), "dilation": (2, 1), "groups": 1}
    assert problem_of(words, (1, 2, 3, 3), (2, 1, 2, 2)).case_id == "n1c1h6w5_o2k2_s1x2_pt0b-1l1r1_d2x1_f64_dgrad"


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(ProblemError, match="weight is for 4 channels, and the image has 3"):
        words = {"stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "dilation": (1, 1), "groups": 1}
        problem_of(words, (1, 3, 4, 4), (4, 1, 2, 2))


def found_in(source: Any, **words: Any) -> list[tuple[str, str | None]]:
    return [(case.problem.case_id, case.layer) for case in layers_of(source, **words).cases]


def test_a_torch_module_lists_them_in_order_and_says_what_became_of_the_bias() -> None:
    extracted = layers_of(Generator(), input_shape=SHAPE)
    assert found_in(Generator(), input_shape=SHAPE) == EXPECTED
    assert extracted.left_out == (BIAS,)


def test_deployed_a_transposed_convolution_stays_bare() -> None:
    extracted = layers_of(Generator().eval(), input_shape=SHAPE, deployed=True)
    assert [case.problem.case_id for case in extracted.cases] == [case_id for case_id, _ in EXPECTED]
    assert any("A batch norm that is not joined" in line for line in extracted.left_out)


def test_an_exported_program_lists_the_same(tmp_path: Path) -> None:
    path = tmp_path / "generator.pt2"
    torch.export.save(torch.export.export(Generator().eval(), (torch.zeros(SHAPE),)), path)
    assert found_in(str(path)) == EXPECTED
    assert layers_of(str(path)).left_out == (BIAS,)


def test_the_generator_of_dcgan_doubles_an_image_four_times() -> None:
    script = Path(__file__).parents[2] / "evaluation" / "engines" / "generative_models.py"
    extracted = layers_of(f"{script}:dcgan", input_shape=(2, 100))
    assert [case.problem.case_id for case in extracted.cases] == [
        "n2c512h8w8_o1024k5_s2_p2_dgrad",
        "n2c256h16w16_o512k5_s2_p2_dgrad",
        "n2c128h32w32_o256k5_s2_p2_dgrad",
        "n2c3h64w64_o128k5_s2_p2_dgrad",
    ]
    assert extracted.left_out == ()


# --- ONNX -------------------------------------------------------------------------------------------------------------

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

AXIS = st.fixed_dictionaries(
    {"stride": st.integers(1, 3), "dilation": st.integers(1, 2), "kernel": st.integers(1, 4), "size": st.integers(2, 5)}
)


@st.composite
def nodes(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
    """Attributes of ConvTranspose, the shape of the image and that of the weight."""
    height, width = draw(AXIS), draw(AXIS)
    attributes: dict[str, Any] = {
        "strides": [height["stride"], width["stride"]],
        "dilations": [height["dilation"], width["dilation"]],
    }
    image, weight = (1, 2, height["size"], width["size"]), (2, 3, height["kernel"], width["kernel"])
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    if auto == "NOTSET":
        attributes["pads"] = [draw(st.integers(0, 1)) for _ in range(4)]
        attributes["output_padding"] = [draw(st.integers(0, axis["stride"] - 1)) for axis in (height, width)]
    else:
        attributes["auto_pad"] = auto
        for axis in (height, width):  # the reference evaluator takes no negative padding
            assume((axis["kernel"] - 1) * axis["dilation"] + 1 >= axis["stride"])
    return attributes, image, weight


def saved_node(path: Path, attributes: dict[str, Any], image: tuple[int, ...], weight: tuple[int, ...]) -> Any:
    from onnx import TensorProto, helper

    w = np.random.default_rng(0).integers(-4, 5, weight).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)],
        "up",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, path)
    return model, w


@settings(max_examples=60, deadline=None)
@given(nodes())
def test_onnx_computes_the_same(tmp_path_factory: pytest.TempPathFactory, call: Any) -> None:
    attributes, image, weight = call
    if "pads" in attributes:
        ends = zip(image[2:], weight[2:], attributes["strides"], attributes["dilations"], strict=True)
        assume(all((n - 1) * s + d * (k - 1) + 1 > 2 for n, k, s, d in ends))
    path = tmp_path_factory.mktemp("models") / "up.onnx"
    model, w = saved_node(path, attributes, image, weight)
    x = np.random.default_rng(1).integers(-4, 5, image).astype(np.float32)
    from onnx.reference import ReferenceEvaluator

    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    (case,) = layers_of(str(path)).cases
    assert case.problem.result_shape == expected.shape
    assert np.array_equal(computed(case.problem, Operands(g=x, w=w)), expected)


@pytest.mark.parametrize(
    ("attributes", "case_id"),
    [
        # (4 - 1) * 2 + 3 = 9 rows, of which some are cut off: an odd one at the beginning, with SAME_UPPER at the end
        ({"output_shape": [8, 7], "strides": [2, 2]}, "n1c3h8w7_o2k3_s2_pt1b0l1r1_dgrad"),
        ({"output_shape": [8, 8], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, "n1c3h8w8_o2k3_s2_pt0b1l0r1_dgrad"),
        ({"output_shape": [8, 8], "strides": [2, 2], "pads": [1, 1, 1, 1]}, "n1c3h8w8_o2k3_s2_pt1b0l1r0_dgrad"),
        ({"output_shape": [11, 9], "strides": [2, 2]}, "n1c3h11w9_o2k3_s2_pt0b-2l0r0_dgrad"),
        ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, "n1c3h8w8_o2k3_s2_pt1b0l1r0_dgrad"),
        ({"auto_pad": "VALID", "strides": [2, 2]}, "n1c3h9w9_o2k3_s2_dgrad"),
    ],
)
def test_the_padding_follows_from_a_size_that_is_fixed(tmp_path: Path, attributes: Any, case_id: str) -> None:
    saved_node(tmp_path / "up.onnx", attributes, (1, 2, 4, 4), (2, 3, 3, 3))
    assert found_in(str(tmp_path / "up.onnx")) == [(case_id, "y")]
