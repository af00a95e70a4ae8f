"""ONNX files with what trips readers: wrong attributes, foreign operators, branches, several inputs, odd files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convbench.cli.main import main
from convbench.extraction.extract import layers_of

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx_models import (  # noqa: E402, it imports onnx
    branch,
    integers,
    model,
    node,
    problems,
    refused,
    saved,
    truth,
    weights,
)

W3, W4 = weights("w", 4, 3, 3, 3), weights("v", 4, 4, 3, 3)
CONV = node("Conv", "x w", "y")


# --- attributes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"pads": [1, 1]}, ["pads is [1, 1]", "4 integers"]),
        ({"pads": [1, 1, 1, 1, 1, 1]}, ["pads is [1, 1, 1, 1, 1, 1]", "4 integers"]),
        ({"pads": 1}, ["pads is 1", "4 integers"]),
        ({"pads": [1.0, 1.0, 1.0, 1.0]}, ["pads is [1.0, 1.0, 1.0, 1.0]"]),
        ({"strides": [2]}, ["strides is [2]", "2 integers from 1 on"]),
        ({"strides": [0, 1]}, ["strides is [0, 1]", "from 1 on"]),
        ({"strides": [1, 2**40]}, ["strides is [1, 1099511627776]"]),
        ({"dilations": [1, 1, 1]}, ["dilations is [1, 1, 1]", "2 integers"]),
        ({"dilations": "two"}, ["dilations is b'two'"]),
        ({"kernel_shape": [5, 5]}, ["kernel_shape is [5, 5]", "[3, 3]", "'w'"]),
        ({"kernel_shape": [3]}, ["kernel_shape is [3]", "2 integers"]),
        ({"group": 0}, ["group is 0", "an integer from 1 on"]),
        ({"group": [1]}, ["group is [1]"]),
        ({"group": 1.5}, ["group is 1.5"]),
        ({"auto_pad": "SAME"}, ["auto_pad is b'SAME'", "SAME_UPPER"]),
        ({"auto_pad": 3}, ["auto_pad is 3"]),
    ],
)
def test_attributes_of_a_convolution_are_checked(tmp_path: Path, attributes: dict[str, Any], words: list[str]) -> None:
    message = refused(saved(tmp_path, [node("Conv", "x w", "first", **attributes)], [W3]))
    assert [word for word in ["Conv first", *words] if word not in message] == []


@pytest.mark.parametrize(
    ("inputs", "attributes", "words"),
    [
        ("x", {"pads": [1, 1]}, ["Pad padded", "pads is [1, 1]", "8 integers"]),
        ("x", {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "mode": "mirror"}, ["mode is b'mirror'", "reflect"]),
        ("x", {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": [1, 2]}, ["value is [1, 2]", "a number"]),
        ("x two", {}, ["its pads are [1, 1]", "8 integers"]),
        ("x two - wide", {}, ["its axes are [2, 4]", "from -4 to 3"]),
        ("x four - twice", {}, ["its axes are [2, -2]", "different"]),
        ("x four - one", {}, ["its pads are [1, 1, 1, 1]", "2 integers"]),
    ],
)
def test_attributes_of_a_padding_are_checked(
    tmp_path: Path, inputs: str, attributes: dict[str, Any], words: list[str]
) -> None:
    tensors = [
        *(W3, integers("two", 1, 1), integers("four", 1, 1, 1, 1)),
        *(integers("one", 3), integers("wide", 2, 4), integers("twice", 2, -2)),
    ]
    nodes = [node("Pad", inputs, "padded", **attributes), node("Conv", "padded w", "y")]
    message = refused(saved(tmp_path, nodes, tensors))
    assert [word for word in words if word not in message] == []


def test_a_node_without_its_inputs_is_told(tmp_path: Path) -> None:
    for inputs in ("x", "x -", "- w"):
        assert "an image, a weight and perhaps a bias" in refused(saved(tmp_path, [node("Conv", inputs, "y")], [W3]))


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Identity", "y", "y"), CONV], "before it is made"),
        ([node("Pad", "b p", "a"), node("Pad", "a p", "b"), node("Conv", "a w", "y")], "before it is made"),
        ([node("Pad", "x p", "x"), CONV], "which is there already"),
        ([CONV, CONV], "which is there already"),
    ],
)
def test_a_graph_that_goes_in_circles_is_refused(tmp_path: Path, nodes: list[Any], words: str) -> None:
    assert words in refused(saved(tmp_path, nodes, [W3, integers("p", 0, 0, 1, 1, 0, 0, 1, 1)]))


# --- operators that ONNX does not have --------------------------------------------------------------------------------


def test_foreign_operators_are_named_and_keep_shapes_where_they_do(tmp_path: Path) -> None:
    nodes = [
        node("Quant", "x s z b", "quantised", domain="qonnx.custom_op.general"),
        node("Conv", "quantised w", "first", pads=[1, 1, 1, 1]),
        node("Gelu", "first", "gelu", domain="com.microsoft"),
        node("FusedConv", "gelu v", "fused", domain="com.microsoft", activation="Relu"),
        node("Mystery", "fused", "mystery", domain="my.domain"),
        node("Conv", "mystery v", "lost"),
        node("Conv", "fused v", "last"),
    ]
    extracted = layers_of(str(saved(tmp_path, nodes, [W3, W4, *(weights(n, 1) for n in "szb")])))
    assert [(c.problem.case_id, c.layer) for c in extracted.cases] == [
        ("n1c3h16w17_o4k3_p1", "first"),
        ("n1c4h16w17_o4k3", "fused"),
        ("n1c4h14w15_o4k3", "last"),
    ]
    text = "\n".join(extracted.left_out)
    for words in (
        "The operator Quant (qonnx.custom_op.general), which ONNX does not have and which is taken to keep the shape",
        "The operator Gelu (com.microsoft)",
        "What FusedConv (com.microsoft) does besides its convolution: runs once, first in fused.",
        "The operator Mystery (my.domain), which ONNX does not have: runs once",
        "A convolution whose image has an unknown shape, after Mystery (my.domain): runs once, first in lost.",
        "The quantisation of a convolution that is listed in real numbers (Quant (qonnx.custom_op.general)",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("operator", "domain"),
    [
        ("Conv", "com.microsoft.nchwc"),
        ("NhwcConv", "com.microsoft"),
        ("QLinearConv", "com.microsoft"),
        ("MyConv", ""),
        ("conv2d", "torch"),
    ],
)
def test_another_operator_that_convolves_is_named_with_its_domain(tmp_path: Path, operator: str, domain: str) -> None:
    nodes = [node(operator, "x w", "other", domain=domain), CONV]
    extracted = layers_of(str(saved(tmp_path, nodes, [W3])))
    assert [case.layer for case in extracted.cases] == ["y"]
    (line,) = extracted.left_out
    assert domain in line and operator in line


def test_operators_written_with_the_name_of_onnxs_own_domain_are_onnxs(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "a", domain="ai.onnx"), node("Conv", "a w", "y", domain="ai.onnx")]
    assert problems(saved(tmp_path, nodes, [W3])) == [("n1c3h16w17_o4k3", 1, "y")]


def test_integers_around_a_convolution_are_told(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", "x scale zero", "q"),
        node("DequantizeLinear", "q scale zero", "dq"),
        node("Conv", "dq w", "first"),
        node("Conv", "first v", "second"),
    ]
    one, zero = (onnx.numpy_helper.from_array(np.array(v, t), n) for n, v, t in (("scale", 1, "f4"), ("zero", 0, "u1")))
    extracted = layers_of(str(saved(tmp_path, nodes, [W3, W4, one, zero])))
    assert len(extracted.cases) == 2
    assert extracted.left_out == (
        "The quantisation of a convolution that is listed in real numbers (DequantizeLinear makes its operands): "
        "runs once, first in first.",
    )


def test_what_is_known_only_at_run_time_is_told_by_its_cause(tmp_path: Path) -> None:
    nodes = [
        node("NonZero", "x", "places"),
        node("Reshape", "x places", "odd"),
        node("Conv", "odd w", "lost"),
        node("Conv", "x computed", "heavy"),
        node("Conv", "x w", "y"),
    ]
    nodes.insert(3, node("Expand", "w places", "computed"))
    extracted = layers_of(str(saved(tmp_path, nodes, [W3])))
    assert [case.layer for case in extracted.cases] == ["y"]
    assert (
        "A convolution whose image has an unknown shape, after NonZero: runs once, first in lost." in extracted.left_out
    )
    assert any("whose weight has an unknown shape" in line for line in extracted.left_out)


# --- branches, loops and functions ------------------------------------------------------------------------------------


def test_a_branch_that_is_known_to_be_taken_is_read(tmp_path: Path) -> None:
    """Also one whose condition follows from a shape, one within the other, and names that both branches have."""
    inner = node(
        "If", "yes", "i", then_branch=branch([node("Conv", "p v", "c")]), else_branch=branch([node("Relu", "p", "c")])
    )
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape one", "channels"),
        node("Equal", "channels three", "yes"),
        node("Conv", "x w", "y", pads=[1, 1, 1, 1]),
        node(
            "If", "yes", "z",
            then_branch=branch([node("Pad", "y sides", "p"), inner, node("Relu", "i", "o")]),
            else_branch=branch([node("Conv", "y v", "c"), node("Conv", "c v", "o")]),
        ),
        node("Conv", "z v", "last"),
    ]  # fmt: skip
    tensors = [W3, W4, integers("one", 1), integers("three", 3), integers("sides", 0, 0, 1, 1, 0, 0, 1, 1)]
    extracted = layers_of(str(saved(tmp_path, nodes, tensors)))
    assert [(c.problem.case_id, c.count, c.layer) for c in extracted.cases] == [
        ("n1c3h16w17_o4k3_p1", 1, "y"),
        ("n1c4h16w17_o4k3_p1", 1, "c"),
        ("n1c4h16w17_o4k3", 1, "last"),
    ]
    assert extracted.left_out == ()


def test_a_branch_gives_a_weight_of_its_own_or_what_is_around_it(tmp_path: Path) -> None:
    own = branch([node("Identity", "k", "o")], [weights("k", 4, 3, 5, 5)])
    for condition, expected in ((True, "n1c3h16w17_o4k5"), (False, "n1c3h16w17_o4k3")):
        nodes = [
            node("If", "c", "k", then_branch=own, else_branch=branch([node("Identity", "w", "o")])),
            node("Conv", "x k", "y"),
        ]
        assert problems(saved(tmp_path, nodes, [W3, truth("c", condition)])) == [(expected, 1, "y")]


def test_branches_that_may_run_or_not_are_counted_once_each(tmp_path: Path) -> None:
    choice = node(
        "If", "c", "y",
        then_branch=branch([node("Conv", "x w", "a")]),
        else_branch=branch([node("ConvTranspose", "x w", "b"), node("FusedConv", "b w", "d", domain="com.microsoft")]),
    )  # fmt: skip
    path = saved(tmp_path, [choice, node("Conv", "x w", "z")], [W3], inputs=[("x", (1, 3, 16, 17)), ("c", ())])
    extracted = layers_of(str(path))
    assert [case.layer for case in extracted.cases] == ["z"]
    assert extracted.left_out == (
        "A convolution in a branch or loop (If), which may run or not: there are 3, first in b.",
    )


def test_functions_are_expanded_and_not_without_end(tmp_path: Path) -> None:
    opsets = [onnx.helper.make_opsetid("", 19), onnx.helper.make_opsetid("my", 1)]

    def function(name: str, nodes: list[Any]) -> Any:
        return onnx.helper.make_function("my", name, ["i", "k"], ["o"], nodes, opsets)

    conv = function("F", [node("Conv", "i k", "o")])
    nodes = [node("F", "x w", "y", domain="my"), node("F", "y v", "z", domain="my")]
    assert [case for case, _, _ in problems(saved(tmp_path, nodes, [W3, W4], functions=[conv]))] == [
        "n1c3h16w17_o4k3",
        "n1c4h14w15_o4k3",
    ]
    conv.opset_import[0].version = 13  # of another version of ONNX than the model
    assert len(problems(saved(tmp_path, nodes, [W3, W4], functions=[conv]))) == 2
    twice = [
        function(f"F{n}", [node(f"F{n + 1}", "i k", "m", domain="my"), node(f"F{n + 1}", "m k", "o", domain="my")])
        for n in range(40)
    ]
    last = function("F40", [node("Relu", "i", "o")])
    path = saved(tmp_path, [node("F0", "x w", "y", domain="my")], [W3], functions=[*twice, last])
    assert "expand to more than 1,000,000 nodes" in refused(path)
    circle = function("F", [node("F", "i k", "o", domain="my")])
    assert "functions cannot be expanded" in refused(saved(tmp_path, nodes, [W3, W4], functions=[circle]))


# --- inputs -----------------------------------------------------------------------------------------------------------

TWO = [("image", ("N", 3, "H", "W")), ("mask", ("N", 1, "H", "W"))]
MASKED = [node("Mul", "image mask", "x"), node("Conv", "x w", "y"), node("Conv", "mask m", "z")]
MASK_WEIGHT = weights("m", 2, 1, 3, 3)


def test_inputs_are_given_by_name_and_equal_sizes_follow(tmp_path: Path) -> None:
    path = saved(tmp_path, MASKED, [W3, MASK_WEIGHT], inputs=TWO)
    expected = [("n2c3h9w8_o4k3", 1, "y"), ("n2c1h9w8_o2k3", 1, "z")]
    for shapes in (
        ["image=2,3,9,8", "mask=2,1,9,8"],
        ["mask=2,1,9,8"],
        ["image=2,3,9,8"],
        "2,3,9,8",
        (2, 3, 9, 8),
        ["2,3,9,8", "2,1,9,8"],
        {"mask": (2, 1, 9, 8)},
    ):
        assert problems(path, input_shape=shapes) == expected
    assert layers_of(str(path), input_shape=["mask=2,1,9,8"]).input_shape == (2, 3, 9, 8)
    assert problems(path, input_shape="1,3,9,8", batch=2) == expected


def test_inputs_that_contradict_each_other_or_are_not_there_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path, MASKED, [W3, MASK_WEIGHT], inputs=TWO)
    assert "H is 9 in one of its inputs and 7 in 'mask'" in refused(path, input_shape=["image=1,3,9,8", "mask=1,1,7,8"])
    assert "Did you mean 'mask'?" in refused(path, input_shape=["msak=1,1,7,8"])
    assert "twice" in refused(path, input_shape=["mask=1,1,7,8", "mask=1,1,9,8"])
    assert "3 inputs are given, and it takes 2: image, mask" in refused(path, input_shape=["1,3,9,9"] * 3)
    assert "'mask' has 4 dimensions" in refused(path, input_shape=["mask=7,8"])
    assert "--input image=1,3,224,224" in refused(path)
    other = saved(tmp_path, MASKED, [W3, MASK_WEIGHT], inputs=[TWO[0], ("mask", (1, 1, "R", "C"))])
    assert "depends on the input 'mask'" in refused(other, input_shape="1,3,9,8")
    assert len(problems(other, input_shape=["1,3,9,8", "mask=1,1,9,8"])) == 2


@pytest.mark.parametrize(
    "text", ["1x3", "1,3,", "mask=", "=1,3", "a=1,0,3", "a=1,3:int7", "a=-1,3", "1,3,4,5,٣", "a=x:int"]
)
def test_an_input_that_is_not_understood_is_told(text: str, tmp_path: Path) -> None:
    message = refused(saved(tmp_path, MASKED, [W3, MASK_WEIGHT], inputs=TWO), input_shape=[text])
    assert "--input is " in message or "there is no" in message


# --- other things in a file -------------------------------------------------------------------------------------------


def test_a_sparse_weight_is_there(tmp_path: Path) -> None:
    values, places = weights("w", 2), integers("places", 0, 5)
    sparse = onnx.helper.make_sparse_tensor(values, places, [4, 3, 3, 3])
    nodes = [CONV, node("Conv", "y v", "z")]
    assert problems(saved(tmp_path, nodes, [W4], sparse=[sparse])) == [
        ("n1c3h16w17_o4k3", 1, "y"),
        ("n1c4h14w15_o4k3", 1, "z"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102\n",
            ["Git LFS pointer", "git lfs pull"],
        ),
        (b"<!DOCTYPE html>\n<html>", ["web page"]),
        (b"\x1f\x8b\x08\x00", ["gzip"]),
        (b"", ["empty"]),
    ],
)
def test_what_lies_in_the_place_of_a_model_is_told(content: bytes, words: list[str], tmp_path: Path) -> None:
    for name in ("model.onnx", "model.pt2"):
        (tmp_path / name).write_bytes(content)
        message = refused(tmp_path / name)
        assert [word for word in words if word not in message] == []


def test_files_that_are_no_files_are_told(tmp_path: Path) -> None:
    import os

    for name in ("pipe.onnx", "pipe.pt2"):
        os.mkfifo(tmp_path / name)
        assert "this is a named pipe" in refused(tmp_path / name)
    with (tmp_path / "sparse.onnx").open("wb") as file:
        file.truncate(40 * 2**30)
    assert "at most 2,048 MiB" in refused(tmp_path / "sparse.onnx")


def test_choose_stops_where_a_model_has_no_convolution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what `extract` says, and writes nothing."""
    path = saved(tmp_path, [node("Conv", "x w", "y", domain="com.microsoft.nchwc")], [W3])
    results = tmp_path / "results"
    said = []
    for words in (["extract", str(path)], ["choose", "--model", str(path), "--results", str(results)]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 3
        said.append(capsys.readouterr())
    for printed in said:
        assert "Conv (com.microsoft.nchwc)" in printed.out + printed.err
        assert printed.err.rstrip().endswith(f"{path} runs no conv2d.")
    assert not list(results.rglob("*.jsonl"))


def test_several_inputs_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.onnx"
    path.write_bytes(model(MASKED, [W3, MASK_WEIGHT], inputs=TWO).SerializeToString())
    with pytest.raises(SystemExit) as left:
        main(["extract", str(path), "--input", "image=2,3,9,8", "--input", "mask=2,1,9,8"])
    assert left.value.code == 0
    assert "n2c1h9w8_o2k3" in capsys.readouterr().out


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Conv", "x w", "unmistakable")], [W3])
    path.write_bytes(path.read_bytes().replace(b"unmistakable", b"unmistak\xff\xfe\xfde"))
    assert "a name in this file is no text in UTF-8" in refused(path)
