"""Convolutions as they are deployed: what is joined to them in torch modules, in programs and in ONNX graphs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from deployed_models import SHAPE, Behind, Block, Net, PreActivation, TwoOperands
from hypothesis import given
from hypothesis import strategies as st

from convbench.cli.main import main
from convbench.errors import ModelError
from convbench.extraction.deployed.data_flow import DataFlow, Kind, Operation
from convbench.extraction.deployed.fusion import deployment_of
from convbench.extraction.extract import Extracted, layers_of
from convbench.problem.epilogue import Epilogue
from convbench.suite.toml_file import read_suite

CONV = "n1c4h9w10_o4k3_p1_bias"
THEN: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "nothing": (lambda x, y: y, ""),
    "relu": (lambda x, y: F.relu(y), "_relu"),
    "relu in place": (lambda x, y: y.relu_(), "_relu"),
    "relu6": (lambda x, y: F.relu6(y), "_relu6"),
    "a clamp from 0": (lambda x, y: y.clamp(min=0), "_relu"),
    "a clamp from 0 to 6": (lambda x, y: y.clamp_(0, 6), "_relu6"),
    "a clamp": (lambda x, y: torch.clamp(y, -1, 2), "_clip-1x2"),
    "hardtanh": (lambda x, y: F.hardtanh(y), "_clip-1x1"),
    "leaky relu": (lambda x, y: F.leaky_relu(y, 0.1), "_leaky0.1"),
    "silu": (lambda x, y: F.silu(y, inplace=True), "_silu"),
    "silu as a product": (lambda x, y: y * torch.sigmoid(y), "_silu"),
    "hard swish": (lambda x, y: F.hardswish(y), "_hswish"),
    "hard swish as a product": (lambda x, y: F.hardsigmoid(y) * y, "_hswish"),
    "sigmoid": (lambda x, y: torch.sigmoid(y), "_sigmoid"),
    "gelu": (lambda x, y: F.gelu(y), "_gelu"),
    "gelu by tanh": (lambda x, y: F.gelu(y, approximate="tanh"), "_gelutanh"),
    "a sum": (lambda x, y: y + x, "_add"),
    "a sum, the residual first": (lambda x, y: x + y, "_add"),
    "a sum in place": (lambda x, y: y.add_(x), "_add"),
    "a sum and relu": (lambda x, y: F.relu(x + y), "_add_relu"),
    "silu and a sum": (lambda x, y: F.silu(y) + x, "_silu_add"),
    "what else follows the sum": (lambda x, y: torch.tanh(F.silu(y) + x), "_silu_add"),
    "a second activation": (lambda x, y: F.silu(F.relu(y)), "_relu"),
    "an alias and dropout between": (lambda x, y: F.relu(F.dropout(y.detach(), training=False)), "_relu"),
    "another reader": (lambda x, y: F.relu(y) + y.mean(), ""),
    "the caller": (lambda x, y: (y, F.relu(y)), ""),
    "a view that is written to": (lambda x, y: (y[:, :2].mul_(2), F.relu(y))[1], ""),
    "an unknown activation": (lambda x, y: torch.tanh(y), ""),
    "a clamp by a tensor": (lambda x, y: torch.clamp(y, min=x), ""),
    "a clamp with an upper limit": (lambda x, y: y.clamp(max=1), ""),
}
EXPORTED = (
    *("relu in place", "relu6", "a clamp from 0", "hardtanh", "leaky relu", "silu as a product", "gelu by tanh"),
    *("a sum in place", "silu and a sum", "another reader", "the caller", "a view that is written to"),
)


def found(extracted: Extracted) -> list[tuple[str, int, str | None]]:
    return [(case.problem.case_id, case.count, case.layer) for case in extracted.cases]


@pytest.mark.parametrize("name", THEN)
def test_what_follows_a_convolution_is_joined_to_it(name: str) -> None:
    then, ending = THEN[name]
    extracted = layers_of(Behind(then), input_shape=SHAPE, deployed=True)
    assert found(extracted) == [(CONV + ending, 1, "conv")]
    bare = layers_of(Behind(then), input_shape=SHAPE)
    assert found(bare) == [(CONV.removesuffix("_bias"), 1, "conv")] and bare.joined is None


@pytest.mark.parametrize("name", EXPORTED)
def test_a_program_of_torch_export_says_the_same(name: str, tmp_path: Path) -> None:
    then, ending = THEN[name]
    program = torch.export.export(Behind(then).eval(), (torch.zeros(SHAPE),))
    torch.export.save(program, tmp_path / "one.pt2")
    assert found(layers_of(str(tmp_path / "one.pt2"), deployed=True)) == [(CONV + ending, 1, "conv")]


BLOCK = [
    ("n1c4h9w10_o6k1_bias_relu", 1, "conv1"),
    ("n1c6h9w10_o6k3_p1_g6_bias_relu", 1, "conv2"),
    ("n1c6h9w10_o8k1_bias", 1, "conv3"),
    ("n1c4h9w10_o8k1_bias_add_relu", 1, "shortcut.0"),
]


def test_the_later_of_two_convolutions_takes_the_sum() -> None:
    extracted = layers_of(Block(), input_shape=SHAPE, deployed=True)
    assert found(extracted) == BLOCK and extracted.left_out == ()
    assert extracted.joined == {"batch_norms": 4, "activations": 3, "sums": 1}
    assert "joined with 4 batch norms, 3 activations and 1 residual sum" in extracted.suite().summary


def test_what_a_block_wrote_in_place_is_read_by_the_next() -> None:
    extracted = layers_of(Net(), input_shape=SHAPE, deployed=True)
    assert [case.problem.case_id.partition("k")[2] for case in extracted.cases] == [
        "1_bias_relu", "3_p1_g6_bias_relu", "1_bias", "1_bias_add_relu", "1_bias_hswish", "1_bias_add_relu",
    ]  # fmt: skip
    assert extracted.runs == 8 and extracted.left_out == ()


def test_what_is_not_joined_is_counted_with_the_reason() -> None:
    apart = layers_of(TwoOperands(), input_shape=SHAPE, deployed=True)
    assert {case.problem.epilogue for case in apart.cases} == {None}
    assert apart.left_out == (
        "A residual sum that is not joined (its operands differ in shape or dtype): runs once.",
        "A residual sum that is not joined (what it reads is used elsewhere, too): runs once.",
        "A residual sum that is not joined (it adds 2 times an operand): runs once.",
    )
    before = layers_of(PreActivation(), input_shape=SHAPE, deployed=True)
    assert found(before) == [("n1c4h9w10_o4k1_bias", 1, "conv")]
    assert before.left_out == (
        "A batch norm that is not joined (it does not follow a convolution directly): runs once, first in norm.",
        "An activation that is not joined (it does not follow a convolution directly): runs once.",
        "A batch norm that is not joined (it normalises by the batch itself, as in training): runs once, first in "
        "by_batch.",
    )
    tanh = layers_of(Behind(THEN["an unknown activation"][0]), input_shape=SHAPE, deployed=True)
    assert tanh.left_out == ("An activation that is not joined (no epilogue has tanh): runs once.",)


def test_a_branch_is_not_joined_to_what_is_around_it() -> None:
    def branch(x: Any, y: Any) -> Any:
        return torch.cond(x.sum() > 0, torch.relu, torch.neg, (y,))

    extracted = layers_of(Behind(branch), input_shape=SHAPE, deployed=True)
    assert found(extracted) == [(CONV, 1, "conv")]


def test_a_log_does_not_say_what_follows(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("[command] ./bin/MIOpenDriver conv -n 1 -c 4 -H 9 -W 10 -k 4 -y 1 -x 1 -F 1\n")
    with pytest.raises(ModelError, match="leave --deployed out"):
        layers_of(str(log), deployed=True)


def test_the_suite_of_a_file_is_read_back(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Block().eval(), (torch.zeros(SHAPE),)), tmp_path / "block.pt2")
    target = tmp_path / "block.toml"
    with pytest.raises(SystemExit) as left:
        main(["extract", str(tmp_path / "block.pt2"), "--deployed", "--output", str(target)])
    assert left.value.code in (0, None)
    suite = read_suite(target)
    assert [case.problem.case_id for case in suite.cases] == [case_id for case_id, _, _ in BLOCK]
    assert suite.name == "block-deployed"


def extract(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["extract", *words])
    return int(left.value.code or 0)


def test_the_share_of_a_pass_is_said_where_it_is_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    net = ("deployed_models:Net", "--input", ",".join(map(str, SHAPE)))
    assert extract(*net, "--deployed", "--share", "--json") == 0
    streams = capsys.readouterr()
    assert re.search(r"The deployed layers cover [\d.]+% of the time of the operators of torch in a pass", streams.err)
    assert all(json.loads(line)["case_id"] for line in streams.out.splitlines())

    assert extract(*net, "--deployed") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("--share runs the model here")
    assert extract(*net) == 0
    assert "--share" not in capsys.readouterr().out

    assert extract(*net, "--share") == 2
    assert "give --deployed, too" in capsys.readouterr().err


def test_the_share_of_a_file_is_not_known_and_said_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    program = tmp_path / "block.pt2"
    torch.export.save(torch.export.export(Block().eval(), (torch.zeros(SHAPE),)), program)
    assert extract(str(program), "--deployed") == 0
    assert "--share" not in capsys.readouterr().out
    assert extract(str(program), "--deployed", "--share") == 0
    said = capsys.readouterr().out
    assert "is not measured: files are read and not run; give the torch model that it was made of" in said


# --- the search by itself ---------------------------------------------------------------------------------------------

_KINDS: tuple[Kind, ...] = ("convolution", "batch norm", "activation", "sum", "product", "other")


@st.composite
def flows(draw: st.DrawFn) -> DataFlow:
    """Any operations, each on tensors that are there before it."""
    flow = DataFlow()
    for result in range(1, draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(_KINDS))
        operands = tuple(draw(st.integers(0, result - 1)) for _ in range(2 if kind in ("sum", "product") else 1))
        activation = draw(st.sampled_from([Epilogue(activation="relu"), Epilogue(activation="sigmoid"), None]))
        is_activation = kind == "activation"
        flow.add(
            Operation(
                kind, operands, result, activation=activation if is_activation else None,
                name="tanh" if is_activation and activation is None else "",
                obstacle=draw(st.sampled_from([None, None, None, "it is odd"])),
            )
        )  # fmt: skip
    flow.leaves(draw(st.lists(st.integers(0, len(flow.operations)), max_size=2)))
    return flow


@given(flows())
def test_every_operation_is_joined_once_or_stays_apart(flow: DataFlow) -> None:
    deployment = deployment_of(flow)
    operations = flow.operations
    convolutions = [place for place, operation in enumerate(operations) if operation.kind == "convolution"]
    assert [fusion.convolution for fusion in deployment.fusions] == convolutions
    joined = Counter(place for fusion in deployment.fusions for place in fusion.joined)
    assert set(joined.values()) <= {1}
    kinds = Counter(operation.kind for operation in operations)
    apart = Counter(" ".join(kind.split()[1:3]) for kind, _ in deployment.apart)
    for kind, words in (("batch norm", "batch norm"), ("activation", "activation that"), ("sum", "residual sum")):
        of_kind = sum(operations[place].kind == kind for place in joined)
        assert of_kind + apart[words] == kinds[kind]


@given(flows())
def test_nothing_else_reads_what_lies_between_the_joined(flow: DataFlow) -> None:
    readers = flow.readers()
    for fusion in deployment_of(flow).fusions:
        places = (fusion.convolution, *fusion.joined)
        for place in places[:-1]:
            assert set(readers[flow.operations[place].result]) <= set(places)
        assert fusion.result == flow.operations[places[-1]].result
        assert all(flow.operations[place].obstacle is None for place in fusion.joined)
        has_sum = any(flow.operations[place].kind == "sum" for place in fusion.joined)
        assert (fusion.residual is not None) == has_sum == bool(fusion.epilogue and fusion.epilogue.residual)
        assert fusion.residual not in {flow.operations[place].result for place in places}
