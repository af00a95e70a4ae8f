"""`choose --model` of a network that ONNX Runtime's own quantiser made int8, in both of its forms, end to end."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None,
    reason="onnxruntime is not installed: pip install 'convbench[onnxruntime]'",
)
NET = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
    torch.nn.ReLU(),
    torch.nn.Conv2d(8, 8, 3, padding=1, groups=8),
    torch.nn.ReLU(),
    torch.nn.Conv2d(8, 12, 1),
)


def quantized(folder: Path, form: str) -> Path:
    """`NET` as ONNX Runtime's static quantiser writes it in the form QDQ or QOperator."""
    script = Path(__file__).parents[2] / "evaluation" / "engines" / "quantized_model.py"
    spec = importlib.util.spec_from_file_location("quantized_model", script)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    plain, target = folder / "net.onnx", folder / f"{form}.onnx"
    module.exported(NET.eval(), 12, plain)
    module.quantized(plain, target, form, 12)
    return target


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_its_layers_are_chosen_for_in_int8_and_in_float32(form: str, tmp_path: Path) -> None:
    words = ["choose", "--model", str(quantized(tmp_path, form)), "--dtype", "float32,int8", "--json", "--quick"]
    words += ["--budget", "0.02", "--backend", "numpy-gemm", "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "convbench", *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    cases = [line["case_id"] for line in lines if line["type"] == "layer"]
    in_float32, in_int8 = cases[:3], cases[3:]
    assert in_float32 == ["n1c3h12w12_o8k3_s2_p1_bias", "n1c8h6w6_o8k3_p1_g8_bias", "n1c8h6w6_o12k1_bias"]
    assert [case[: case.rindex("_")] for case in in_int8] == in_float32
    assert all("s8" in case.rsplit("_", 1)[1] for case in in_int8)
    passes = {line["backend"]: line["pass_s"] for line in lines if line["type"] == "dtypes"}
    assert list(passes["numpy-gemm"]) == ["float32", "int8"]
