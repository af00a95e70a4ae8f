"""What is joined to the convolutions of ONNX graphs: batch norms, activations, sums, and FusedConv's parts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convbench.extraction.deployed.pass_share import PassShare
from convbench.extraction.extract import Extracted, layers_of
from convbench.extraction.inputs import Inputs
from convbench.extraction.onnx.graph import read_onnx
from convbench.extraction.onnx.pass_share import node_times, parts_of, share_in, share_of_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx_models import node, problems, saved, weights  # noqa: E402, it imports onnx

W = weights("w", 3, 3, 3, 3)
CONV = node("Conv", "x w", "c", pads=[1, 1, 1, 1])
NORM = [weights(name, 3) for name in ("scale", "shift", "mean", "var")]
STATISTICS = "scale shift mean var"
BEHIND = "n1c3h16w17_o3k3_p1"


def scalar(name: str, value: float) -> Any:
    return onnx.numpy_helper.from_array(np.array(value, np.float32), name)


def deployed(folder: Path, nodes: list[Any], tensors: list[Any], **words: Any) -> Extracted:
    return layers_of(str(saved(folder, nodes, tensors, **words)), deployed=True)


@pytest.mark.parametrize(
    ("nodes", "ending"),
    [
        ([node("Relu", "c", "y")], "_relu"),
        ([node("BatchNormalization", f"c {STATISTICS}", "n"), node("Relu", "n", "y")], "_bias_relu"),
        ([node("Identity", "c", "i"), node("LeakyRelu", "i", "y", alpha=0.1)], "_leaky0.1"),
        ([node("LeakyRelu", "c", "y", alpha=0.0)], "_relu"),
        ([node("Clip", "c zero six", "y")], "_relu6"),
        ([node("Clip", "c zero -", "y")], "_relu"),
        ([node("HardSwish", "c", "y")], "_hswish"),
        ([node("HardSigmoid", "c", "s", alpha=1 / 6), node("Mul", "c s", "y")], "_hswish"),
        ([node("Sigmoid", "c", "s"), node("Mul", "s c", "y")], "_silu"),
        ([node("Gelu", "c", "y", domain="com.microsoft")], "_gelu"),
        ([node("Add", "x c", "a"), node("Relu", "a", "y")], "_add_relu"),
        ([node("Relu", "c", "a"), node("Sum", "a x", "y")], "_relu_add"),
        ([node("Add", "c scale", "y")], ""),
        ([node("Add", "c c", "y")], ""),
        ([node("Tanh", "c", "y")], ""),
        ([node("LeakyRelu", "c", "y", alpha="much")], ""),
        ([node("HardSigmoid", "c", "y")], ""),
        ([node("BatchNormalization", f"c {STATISTICS}", "y", domain="my.own")], ""),
    ],
)
def test_what_follows_a_convolution_is_joined_to_it(tmp_path: Path, nodes: list[Any], ending: str) -> None:
    tensors = [W, *NORM, scalar("zero", 0), scalar("six", 6)]
    extracted = deployed(tmp_path, [CONV, *nodes], tensors)
    assert [(case.problem.case_id, case.layer) for case in extracted.cases] == [(BEHIND + ending, "c")]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("BatchNormalization", f"c {STATISTICS}", "y", training_mode=1)], "normalises by the batch itself"),
        ([node("BatchNormalization", "c scale shift mean x", "y")], "no constants of the file"),
        ([node("Relu", "c", "r"), node("Concat", "c r", "y", axis=1)], "used elsewhere, too"),
        ([node("Tanh", "c", "y")], "no epilogue has Tanh"),
        ([node("HardSigmoid", "c", "y")], "hard sigmoid with alpha 0.2 and beta 0.5"),
        ([node("Add", "c scale", "y")], "operands differ in shape"),
        ([node("MaxPool", "c", "m", kernel_shape=[2, 2]), node("Relu", "m", "y")], "not follow a convolution directly"),
        ([node("Relu", "c", "r"), node("Sigmoid", "r", "y")], "as much joined to it as it can have"),
    ],
)
def test_what_is_not_joined_is_said(tmp_path: Path, nodes: list[Any], reason: str) -> None:
    (sentence,) = deployed(tmp_path, [CONV, *nodes], [W, *NORM]).left_out
    assert reason in sentence and "runs once" in sentence


def test_an_output_of_the_model_is_not_fused_away(tmp_path: Path) -> None:
    extracted = deployed(tmp_path, [CONV, node("Relu", "c", "y")], [W], more_outputs=["c"])
    assert [case.problem.case_id for case in extracted.cases] == [BEHIND]


@pytest.mark.parametrize(
    ("attributes", "inputs", "ending"),
    [
        ({"activation": "Relu"}, "x w", "_relu"),
        ({"activation": "Relu"}, "x w scale x", "_bias_add_relu"),
        ({}, "x w - x", "_add"),
        ({"activation": "LeakyRelu", "activation_params": [0.2]}, "x w", "_leaky0.2"),
        ({"activation": "Clip", "activation_params": [0.0, 6.0]}, "x w", "_relu6"),
        ({"activation": "Sigmoid"}, "x w", "_sigmoid"),
        ({}, "x w", ""),
        ({"activation": "Tanh"}, "x w", ""),
        ({"activation": "Clip", "activation_params": [1.0]}, "x w", ""),
        ({"activation": "LeakyRelu", "activation_params": [1.0]}, "x w", ""),
    ],
)
def test_the_parts_of_fused_conv_are_joined(
    tmp_path: Path, attributes: dict[str, Any], inputs: str, ending: str
) -> None:
    fused = node("FusedConv", inputs, "c", domain="com.microsoft", pads=[1, 1, 1, 1], **attributes)
    path = saved(tmp_path, [fused, node("Tanh", "c", "y")], [W, *NORM])
    extracted = layers_of(str(path), deployed=True)
    assert [(case.problem.case_id, case.layer) for case in extracted.cases] == [(BEHIND + ending, "c")]
    assert not any("besides its convolution" in sentence for sentence in extracted.left_out)
    said = sum("of FusedConv" in sentence for sentence in extracted.left_out)
    assert said == (bool(attributes) and not ending)
    assert problems(path) == [(BEHIND + "_bias" * ("scale" in inputs), 1, "c")]
    assert any("besides its convolution" in sentence for sentence in layers_of(str(path)).left_out)


# --- the share of a pass ----------------------------------------------------------------------------------------------

RESIDUAL = [CONV, node("Add", "x c", "a"), node("Relu", "a", "r"), node("MaxPool", "r", "y", kernel_shape=[2, 2])]


def test_the_nodes_of_a_fusion_count_and_no_others(tmp_path: Path) -> None:
    reading = read_onnx(saved(tmp_path, RESIDUAL, [W]), Inputs.of(None, None))
    convolutions, joined = parts_of(reading)
    assert convolutions == {"c"} and joined == {"c", "a", "r"}
    outputs = {f"node-{place}": tuple(one.output) for place, one in enumerate(RESIDUAL)}
    seconds = {"node-0": 4.0, "node-1": 2.0, "node-2": 1.0, "node-3": 2.0, "a node of the runtime": 1.0}
    assert share_in(seconds, outputs, convolutions) == pytest.approx(0.4)
    assert share_in(seconds, outputs, joined) == pytest.approx(0.7)


def test_a_fused_convolution_counts_as_its_node(tmp_path: Path) -> None:
    fused = node("FusedConv", "x w", "c", domain="com.microsoft", pads=[1, 1, 1, 1], activation="Relu")
    reading = read_onnx(saved(tmp_path, [fused, node("Tanh", "c", "y")], [W]), Inputs.of(None, None))
    assert parts_of(reading) == ({"c"}, {"c"})


def test_a_profile_has_the_times_of_its_nodes_for_each_pass() -> None:
    """Events come in any order; one of a pass ends after those of its nodes."""
    events = [
        {"name": "model_loading", "ts": 0, "dur": 50},
        {"name": "model_run", "ts": 100, "dur": 100},
        {"name": "node-1_kernel_time", "ts": 150, "dur": 30},
        {"name": "node-0_kernel_time", "ts": 101, "dur": 40},
        {"name": "SequentialExecutor::Execute", "ts": 100, "dur": 99},
        {"name": "node-0_kernel_time", "ts": 201, "dur": 10},
        {"name": "model_run", "ts": 200, "dur": 50},
        {"name": "thread_name"},
    ]
    first, second = node_times(events)
    assert first == {"node-0": pytest.approx(40.5e-6), "node-1": pytest.approx(30.5e-6)}
    assert second == {"node-0": pytest.approx(10.5e-6)}


def test_the_share_of_a_file_is_measured_by_its_runtime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'convbench[onnxruntime]' for the share of ONNX files")
    path = saved(tmp_path, RESIDUAL, [W])
    share = share_of_onnx(path, (1, 3, 16, 17), 1)
    assert isinstance(share, PassShare) and 0 < share.convolutions < share.joined < 1 and share.pass_s > 0
    unknown = saved(tmp_path, [CONV, node("Unheard", "c", "y", domain="my.own")], [W])
    assert str(share_of_onnx(unknown, (1, 3, 16, 17), 1)).startswith("ONNX Runtime does not run it")


def test_without_the_runtime_the_share_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    reason = share_of_onnx(saved(tmp_path, RESIDUAL, [W]), (1, 3, 16, 17), 1)
    assert reason == "onnxruntime is not installed; type: pip install onnxruntime"
