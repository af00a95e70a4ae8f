"""`choose --model` chooses by the convolutions of a model as they are deployed, and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import PLUGINS, SUPPORT

from convbench.extraction.deployed.pass_share import PassShare, pass_share, share_of
from convbench.plans.plan import read_plan
from convbench.runner.choose.answer import Request

torch = pytest.importorskip("torch")

from deployed_models import SHAPE, Behind, Net, with_statistics  # noqa: E402, it imports torch

INPUT = ",".join(map(str, SHAPE))


def choose(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    plugin = ("--plugin", str(PLUGINS / "deployed.py"), "--backend", "fused")
    model = ("--model", "deployed_models:Net", "--input", INPUT)
    return subprocess.run(
        [sys.executable, "-m", "convbench", "choose", *model, *plugin, "--results", str(results), "--json", *words],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=SUPPORT,
        env=os.environ | {"CONVBENCH_MACHINE": "here"},
    )


def case_ids(done: subprocess.CompletedProcess[str]) -> list[str]:
    layers = [json.loads(line) for line in done.stdout.splitlines()]
    return [layer["case_id"] for layer in layers if layer["type"] == "layer" and layer["choice"]]


def test_the_layers_are_those_that_are_deployed_and_bare_ones_where_asked(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    bare = choose(tmp_path, "--quick", "--bare")
    assert bare.returncode == 0, bare.stderr
    assert "deployed" not in bare.stderr and all("relu" not in case_id for case_id in case_ids(bare))

    before = choose(tmp_path, "--from-results")  # there are records of bare ones only
    assert before.returncode == 0, before.stderr
    assert "no times of convolutions with an epilogue" in before.stderr and case_ids(before) == case_ids(bare)

    deployed = choose(tmp_path, "--quick", "--plan", str(plan))
    assert deployed.returncode == 0, deployed.stderr
    assert "joined with 7 batch norms, 7 activations and 2 residual sums; --bare chooses" in deployed.stderr
    assert "of the time of the operators of torch in a pass" in deployed.stderr
    assert {"n1c4h9w10_o8k1_bias_add_relu", "n1c8h9w10_o4k1_bias_hswish"} < set(case_ids(deployed))
    assert {choice.case_id for choice in read_plan(plan).choices} == set(case_ids(deployed))


@pytest.mark.parametrize(
    ("words", "deploys"),
    [
        ({"model": "timm:x"}, True),
        ({"model": "timm:x", "bare": True}, False),
        ({"model": "timm:x", "training": True}, False),
        ({"model": Net().train()}, False),
        ({"model": Net().eval()}, True),
        ({"suite": "smoke"}, False),
    ],
)
def test_what_is_chosen_for_is_deployed_in_evaluation_mode_only(words: dict[str, Any], deploys: bool) -> None:
    assert Request(**words).deploys is deploys


def test_the_share_of_a_pass_is_a_share() -> None:
    model = with_statistics(Net())
    share = pass_share(model, (torch.zeros(SHAPE),), 1, passes=3)
    assert 0 < share.convolutions < share.joined < 1 and share.pass_s > 0
    assert torch.get_num_threads() >= 1
    alone = pass_share(with_statistics(Behind(lambda x, y: y)).conv, (torch.zeros(SHAPE),), 1, passes=2)
    assert alone.convolutions == alone.joined


def test_a_share_that_cannot_be_measured_has_a_reason() -> None:
    for source in ("model.onnx", "model.pt2", "D:model.onnx"):
        assert str(share_of(source, SHAPE, 1)).startswith("files are read and not run; give the torch model")
    assert "does not run on one input of shape 1x3x9x10" in str(share_of(with_statistics(Net()), (1, 3, 9, 10), 1))
    assert "on meta" in str(share_of(Net().to("meta").eval(), SHAPE, 1))
    assert isinstance(share_of("deployed_models:Net", SHAPE, 1), PassShare)
