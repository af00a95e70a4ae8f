"""The backends' scripts: plain code that computes, to the last bit, what the backend itself computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convbench.backend import Backend
from convbench.problem import ConvProblem
from convbench.registry import discover

PROBLEMS = (
    "n1c4h7w6_o6k3_p1",
    "n2c4h8w9_o6k3x2_s2x1_pt1b0l2r1_d1x2_g2_bias",
    "n1c3h9w8_o2k3_p2_reflect",
    "n2c3h6w7_o2k2_p0x1_bias_replicate",
    "n1c4h6w7_o4k3_pt1b2l0r3_g4_circular",
    "n1c3h9w9_o5k2_pt-1b0l0r-2",
    "n1c5h6w6_o3k3_s2_p1_f64",
    "n1c4h6w6_o4k3_p1_g2_bias_bf16",
    "n1c4h6w6_o4k3_p1x0_d2x1_reflect_f16",
)
FUSED = tuple(
    f"{base}_{epilogue}"
    for base, epilogues in (
        ("n1c4h7w6_o6k3_p1_bias", ("relu", "add_relu6", "leaky0.25_add", "add", "gelutanh")),
        ("n2c4h8w9_o6k3x2_s2x1_pt1b0l2r1_g2_bias", ("add_relu", "silu")),
        ("n1c4h6w6_o4k3_p1_f16", ("clip-1.5x2.5_add", "hswish")),
        ("n1c3h6w7_o2k2_reflect", ("gelu", "add_sigmoid")),
    )
    for epilogue in epilogues
)
# In a process of its own: engines do not all bear each other.
COMPARE = """
import json, sys
import numpy as np, ml_dtypes
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.verification.operands import normal_operands
from convbench.verification.quantized.data import typical_operands
compared = []
for backend in (e.backend for e in discover(entry_points=False) if e.name in sys.argv[1].split(",")):
    backend.limit_threads(1)
    for text in json.loads(sys.argv[2]):
        problem = ConvProblem.parse(text)
        if backend.unsupported(problem):
            continue
        drawn = (typical_operands if problem.quantization else normal_operands)(problem, 0)
        ready = drawn.prepared_by(backend, problem)
        output = ready.run()
        ready.sync()
        own = ready.to_numpy(output)
        is_forward = problem.direction == "forward"
        if problem.quantization is not None:
            script = backend.quantized_script(problem)
        elif problem.epilogue is not None:
            script = backend.fused_script(problem)
        else:
            script = backend.script(problem) if is_forward else backend.gradient_script(problem)
        names = {"np": np, "ml_dtypes": ml_dtypes, **drawn.named()}
        names |= {"b": drawn.b} if is_forward else {}
        if problem.quantization:
            names |= vars(drawn.scales)
        exec(script, names)
        out = names["out"]
        assert isinstance(out, np.ndarray), (backend.name, text)
        assert (out.shape, out.dtype) == (own.shape, own.dtype), (backend.name, text, out.shape, out.dtype)
        assert np.array_equal(out, own), (backend.name, text, np.abs(np.float64(out) - np.float64(own)).max())
        compared.append([backend.name, text])
print(json.dumps(compared))
"""
HERE = {e.name: e for e in discover(entry_points=False) if e.unavailable() is None}
ANY = ConvProblem.parse(PROBLEMS[0])
SCRIPTED = [n for n, entry in HERE.items() if entry.backend.unsupported(ANY) is None and entry.backend.script(ANY)]
FAMILIES = sorted({HERE[name].origin.target for name in SCRIPTED})


@pytest.mark.parametrize("module", FAMILIES)
def test_a_script_computes_what_its_backend_does(module: str, tmp_path: Path) -> None:
    names = [name for name in SCRIPTED if HERE[name].origin.target == module]
    asked = PROBLEMS[1:2] if module.endswith("compile") else PROBLEMS  # each is compiled, twice
    words = [sys.executable, "-c", COMPARE, ",".join(names), json.dumps(asked)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    compared = json.loads(done.stdout.splitlines()[-1])
    assert {name for name, _ in compared} == set(names)
    assert len(compared) >= min(3, len(asked)) * len(names)


GRADIENTS = [
    "n2c4h9w8_o6k3x2_s2x1_p1x0_g2_dgrad",
    "n2c4h9w8_o6k3x2_s1x2_pt1b0l2r1_d2x1_bf16_dgrad",
    "n1c3h7w9_o4k3_p1_reflect_f64_dgrad",
    "n2c4h9w8_o6k3x2_s2x1_p1x0_g2_f16_wgrad",
    "n1c3h7w9_o4k3_pt1b0l0r2_circular_wgrad",
    "n2c3h6w5_o4k2_bias_bgrad",
]


@pytest.mark.parametrize("module", ["torch", "jax", *(name for name in ("iree", "tensorflow") if name in HERE)])
def test_a_gradient_script_computes_what_its_backend_does(module: str, tmp_path: Path) -> None:
    of_module = [name for name in SCRIPTED if name.partition("-")[0] == module]
    problem = ConvProblem.parse(GRADIENTS[0])
    able = [name for name in of_module if HERE[name].backend.unsupported(problem) is None]
    scripted = [name for name in able if HERE[name].backend.gradient_script(problem)]
    assert {module, *able} == {*scripted}
    names = [name for name in scripted if name != "torch-compile"]
    words = [sys.executable, "-c", COMPARE, ",".join(names), json.dumps(GRADIENTS)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(json.loads(done.stdout.splitlines()[-1])) == sum(
        unsupported(name, text) is None for name in names for text in GRADIENTS
    )


QUANTIZED = [
    f"{layer}_{formats}"
    for layer in ("n2c4h8w9_o6k3x2_s2x1_pt1b0l2r1_d1x2_g2_bias", "n1c3h9w8_o2k3_p2_reflect", "n1c4h7w6_o6k3_p1")
    for formats in ("u8zs8u8z", "s8s8ts8", "u8zs8s8z", "u8zs8f32", "s8zs8s32")
]
WITHOUT_QUANTIZED_SCRIPT = {"iree", "litert", "numba-direct", "numpy-loop", "numpy-gemm", "onednn"}
"""Those that compute int8 and have no script in Python for anything."""
COMPUTING_INT8 = [name for name, entry in HERE.items() if entry.backend.supports.quantized is not None]


@pytest.mark.parametrize("module", sorted({HERE[name].origin.target for name in COMPUTING_INT8}))
def test_a_quantized_script_computes_what_its_backend_does(module: str, tmp_path: Path) -> None:
    of_module = [name for name in COMPUTING_INT8 if HERE[name].origin.target == module]
    asked = {name: [t for t in QUANTIZED if not unsupported(name, t)] for name in of_module}
    names = [name for name in of_module if HERE[name].backend.quantized_script(ConvProblem.parse(asked[name][0]))]
    assert set(of_module) - set(names) <= WITHOUT_QUANTIZED_SCRIPT
    words = [sys.executable, "-c", COMPARE, ",".join(names), json.dumps(QUANTIZED)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(json.loads(done.stdout.splitlines()[-1])) == sum(len(asked[name]) for name in names)


def unsupported(name: str, text: str) -> str | None:
    return HERE[name].backend.unsupported(ConvProblem.parse(text))


def fused_pairs(module: str) -> list[list[str]]:
    """The backends of the module with the problems that they have a script for."""
    asked = FUSED[1:2] if module.endswith("compile") else FUSED
    return [
        [name, text]
        for name, entry in HERE.items()
        for text in asked
        if entry.origin.target == module and (problem := ConvProblem.parse(text))
        if not entry.backend.unsupported(problem) and entry.backend.fused_script(problem)
    ]


@pytest.mark.parametrize("module", [module for module in FAMILIES if fused_pairs(module)])
def test_a_fused_script_computes_what_its_backend_does(module: str, tmp_path: Path) -> None:
    pairs = fused_pairs(module)
    names, asked = (list(dict.fromkeys(pair[which] for pair in pairs)) for which in (0, 1))
    words = [sys.executable, "-c", COMPARE, ",".join(names), json.dumps(asked)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == pairs


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_compiled_gradient_script_computes_what_its_backend_does(tmp_path: Path) -> None:
    if "torch-compile" not in HERE:
        pytest.skip("torch-compile needs a C++ compiler")
    asked = [text for text in GRADIENTS if text.endswith(("g2_dgrad", "circular_wgrad", "bgrad"))]
    words = [sys.executable, "-c", COMPARE, "torch-compile", json.dumps(asked)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=1100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [["torch-compile", text] for text in asked]


def test_the_libraries_that_are_always_here_have_scripts() -> None:
    assert {"torch", "torch-channels-last", "torch-native", "scipy-direct", "scipy-fft", "jax"} <= set(SCRIPTED)
    fused = {name for module in FAMILIES for name, _ in fused_pairs(module)}
    assert {"torch", "torch-channels-last", "torch-native", "torch-inplace", "jax", "jax-nhwc"} <= fused
    assert {"scipy-direct", "scipy-fft"} <= fused


@pytest.mark.parametrize("name", SCRIPTED)
def test_a_script_is_plain_code_that_ends_in_the_call(name: str) -> None:
    backend = HERE[name].backend
    assert isinstance(backend, Backend)
    for text in PROBLEMS:
        problem = ConvProblem.parse(text)
        if backend.unsupported(problem):
            continue
        script = backend.script(problem)
        assert script is not None
        compile(script, name, "exec")
        assert "convbench" not in script
        assert script.splitlines()[-1].startswith("out = ")
        assert not script.endswith("\n")
