"""The convolutions of ONNX files, which ONNX's own reference evaluator computes alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convbench.extraction.extract import layers_of
from convbench.verification.reference import convolve

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx_models import integers, node, problems, refused, saved, weights  # noqa: E402, it imports onnx

W3, W4 = weights("w", 4, 3, 3, 3), weights("v", 4, 4, 3, 3)


def test_convolutions_with_their_paddings_are_found(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w b", "first", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Pad", "first sides", "padded", mode="reflect"),
        node("Conv", "padded v", "second", group=1, kernel_shape=[3, 3]),
        node("Pad", "second columns - axes", "wider"),
        node("Conv", "wider v", "third", pads=[1, 0, 0, 2], dilations=[2, 1]),
        node("Conv", "wider v", "fourth", auto_pad="SAME_LOWER", strides=[2, 2]),
    ]
    sides = [integers("sides", 0, 0, 1, 1, 0, 0, 1, 1), integers("columns", 2, -1), integers("axes", 3)]
    path = saved(tmp_path, nodes, [W3, W4, weights("b", 4), *sides], more_outputs=("third",))
    assert problems(path) == [
        ("n1c3h16w17_o4k3_s2_pt0b1l1r1_bias", 1, "first"),
        ("n1c4h8w9_o4k3_p1_reflect", 1, "second"),
        ("n1c4h8w10_o4k3_pt1b0l0r2_d2x1", 1, "third"),  # what was cropped at the right is zeros there: not one padding
        ("n1c4h8w9_o4k3_s2_pt1b0l3r-1", 1, "fourth"),
    ]


def test_a_padding_that_something_else_reads_is_no_part_of_the_convolution(tmp_path: Path) -> None:
    nodes = [node("Pad", "x sides", "padded"), node("Conv", "padded w", "y")]
    tensors = [W3, integers("sides", 0, 0, 1, 1, 0, 0, 1, 1)]
    assert problems(saved(tmp_path, nodes, tensors)) == [("n1c3h16w17_o4k3_p1", 1, "y")]
    assert problems(saved(tmp_path, nodes, tensors, more_outputs=("padded",))) == [("n1c3h18w19_o4k3", 1, "y")]
    ones = [weights("one", 1)]
    assert problems(saved(tmp_path, [node("Pad", "x sides one", "padded"), nodes[1]], tensors + ones)) == [
        ("n1c3h18w19_o4k3", 1, "y")
    ]


def test_sides_that_are_computed_from_the_shape_are_known(tmp_path: Path) -> None:
    """TensorFlow's padding at stride 2, as torch's exporter writes such things."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape two four", "size"),
        node("Mod", "size strides", "odd"),
        node("Cast", "odd", "float", to=1),
        node("Sub", "one float", "after"),
        node("Cast", "after", "whole", to=7),
        node("ConstantOfShape", "four", "zeros", value=integers("zero", 0)),
        node("Concat", "zeros two_zeros whole", "sides", axis=0),  # of four axes before, of batch and channels behind
        node("Pad", "x sides", "padded"),
        node("Conv", "padded w", "y", strides=[2, 2]),
    ]
    few = [integers("two", 2), integers("four", 4), integers("strides", 2, 2), integers("two_zeros", 0, 0)]
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32), "one")
    assert problems(saved(tmp_path, nodes, [W3, *few, one])) == [("n1c3h16w17_o4k3_s2_pt0b1l0r0", 1, "y")]


def test_a_chain_that_would_take_all_memory_is_not_computed(tmp_path: Path) -> None:
    huge = integers("huge", 2**40, 2**20)
    nodes = [node("ConstantOfShape", "huge", "sides"), node("Pad", "x sides", "padded"), node("Conv", "padded w", "y")]
    extracted = layers_of(str(saved(tmp_path, nodes, [W3, huge])))
    assert extracted.cases == ()
    assert extracted.left_out == ("A convolution whose image has an unknown shape, after Pad: runs once, first in y.",)


def test_an_import_from_nhwc_is_read_through_its_transposes(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", "nchw", perm=[0, 3, 1, 2]),
        node("Conv", "nchw w", "y", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Transpose", "y", "nhwc", perm=[0, 2, 3, 1]),
    ]
    path = saved(tmp_path, nodes, [W3], shape=(1, 16, 17, 3))
    assert problems(path) == [("n1c3h16w17_o4k3_s2_pt0b1l1r1", 1, "y")]


def test_what_is_no_conv2d_is_told(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "y"),
        node("ConvTranspose", "y v", "up"),
        node("Reshape", "up shape", "flat"),
        node("Conv", "flat k", "z"),
    ]
    path = saved(tmp_path, nodes, [W3, W4, integers("shape", 1, 4, -1), weights("k", 2, 4, 3)])
    extracted = layers_of(str(path))
    assert [case.layer for case in extracted.cases] == ["y", "up"]
    assert extracted.left_out == ("A convolution in 1-D: runs once, first in z.",)


def test_open_sizes_are_those_that_are_given(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Conv", "x w", "y"), node("Conv", "y v", "z")], [W3, W4], shape=("N", 3, "H", 16))
    assert problems(path, input_shape=(2, 3, 9, 16)) == [
        ("n2c3h9w16_o4k3", 1, "y"),
        ("n2c4h7w14_o4k3", 1, "z"),
    ]
    assert "(N, 3, H, 16)" in refused(path) and "--input 1,3,224,224" in refused(path, batch=2)
    assert "has 4 dimensions" in refused(path, input_shape=(3, 9, 16))
    batch_alone = saved(tmp_path, [node("Conv", "x w", "y")], [W3], shape=("N", 3, 9, 16))
    assert problems(batch_alone) == [("n1c3h9w16_o4k3", 1, "y")]
    assert problems(batch_alone, batch=4) == [("n4c3h9w16_o4k3", 1, "y")]


def test_data_in_other_files_are_not_read_and_refused_outside(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    path = saved(folder, [node("Conv", "x w", "y")], [W3])
    (folder / "out").symlink_to(tmp_path)

    def moved_to(location: str) -> None:
        model = onnx.load(str(path), load_external_data=False)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        path.write_bytes(model.SerializeToString())

    moved_to("not-there.bin")
    assert problems(path) == [("n1c3h16w17_o4k3", 1, "y")]
    for location in ("../secret", "/etc/passwd", "out/secret", "a/../../secret", "\0"):
        moved_to(location)
        assert "outside the model's own folder" in refused(path)


def test_broken_files_are_told(tmp_path: Path) -> None:
    assert "'w', which is nowhere in the file" in refused(saved(tmp_path, [node("Conv", "x w", "y")], []))
    assert "y has weights for 4 channels, and its image has 3" in refused(
        saved(tmp_path, [node("Conv", "x v", "y")], [W4])
    )
    in_groups = [node("Conv", "x w", "y", group=3)]
    assert "3 groups do not divide" in refused(saved(tmp_path, in_groups, [weights("w", 4, 1, 3, 3)]))
    path = tmp_path / "junk.onnx"
    for content in (b"", b"\x00\xffjunk" * 30, b"\x08\x07"):
        path.write_bytes(content)
        assert "ONNX model" in refused(path)


@settings(max_examples=60)
@given(st.data())
def test_the_problem_computes_what_onnx_does(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    from onnx.reference import ReferenceEvaluator

    draw = data.draw
    side = st.integers(0, 2)
    kernel = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    attributes: dict[str, Any] = {
        "strides": [draw(st.integers(1, 2)), draw(st.integers(1, 3))],
        "dilations": [draw(st.integers(1, 2)), draw(st.integers(1, 2))],
    }
    if draw(st.booleans()):
        attributes["pads"] = [draw(side) for _ in range(4)]
    else:
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
        attributes["dilations"] = [1, 1]  # the evaluator takes dilated kernels for undilated ones here
    shape = (draw(st.integers(1, 2)), 2, draw(st.integers(5, 8)), draw(st.integers(5, 8)))
    before = [draw(side) for _ in range(4)]
    mode = draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    pad = integers("sides", 0, 0, *before[:2], 0, 0, *before[2:])
    nodes = [node("Pad", "x sides", "padded", mode=mode), node("Conv", "padded w", "y", **attributes)]
    w = weights("w", 2, 2, *kernel)
    path = saved(tmp_path_factory.mktemp("model"), nodes, [w, pad], shape=shape)
    (case,) = layers_of(str(path)).cases
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    padded, expected = ReferenceEvaluator(saved(path.parent, nodes, [w, pad], shape, ("padded",)).as_posix()).run(
        ["padded", "y"], {"x": x}
    )
    image = x if case.problem.input_shape == shape else padded
    assume(case.problem.input_shape == image.shape)
    assert (case.problem.input_shape == shape) or mode != "constant"
    got = convolve(case.problem, image, onnx.numpy_helper.to_array(w), None)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
