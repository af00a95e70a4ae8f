"""Programs in a project's own language, for reports: of convolutions with an epilogue, too."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest
from convbench.backends._onednn.program import onednn_program

from convbench.problem import ConvProblem
from convbench.verification.operands import normal_operands

BASE = "n1c4h7w6_o6k3_p1_g2_bias"
POST_OPS = {
    "relu": "eltwise_relu, 0.0, 0.0",
    "leaky0.25_add": "eltwise_relu, 0.25, 0.0",
    "relu6": "eltwise_clip, 0.0, 6.0",
    "clip-1.5x2.5": "eltwise_clip, -1.5, 2.5",
    "add_hswish": "eltwise_hardswish, 0.1666",
    "silu": "eltwise_swish, 1.0, 0.0",
    "sigmoid": "eltwise_logistic, 0.0, 0.0",
    "gelu": "eltwise_gelu_erf, 0.0, 0.0",
    "add_gelutanh": "eltwise_gelu_tanh, 0.0, 0.0",
    "add": "binary_add, y_any",
}


def program(case_id: str) -> str:
    problem = ConvProblem.parse(case_id)
    operands = normal_operands(problem, 0)
    text = onednn_program(problem, operands.x, operands.w, operands.b, operands.r)
    assert text is not None
    return text


@pytest.mark.parametrize("epilogue", POST_OPS)
def test_an_epilogue_is_the_post_ops_of_onednn(epilogue: str) -> None:
    text = program(f"{BASE}_{epilogue}")
    assert POST_OPS[epilogue] in text and "attr.set_post_ops(ops)" in text and "after, attr);" in text
    has_sum = "add" in epilogue
    assert ("binary_add" in text) is has_sum and ("expected += r[at]" in text) is has_sum
    if has_sum and epilogue != "add":
        added, activated = text.index("append_binary"), text.index("append_eltwise")
        assert (added < activated) is epilogue.startswith("add_")
        place = 0 if epilogue.startswith("add_") else 1
        assert f"MULTIPLE_POST_OP({place})" in text
        assert (text.index("expected += r[at]") < text.index("[](double y)")) is epilogue.startswith("add_")


def test_a_bare_convolution_has_no_post_ops() -> None:
    assert "post_ops" not in program(BASE) and "std::vector<float> r{" not in program(BASE)


def test_the_programs_compile(tmp_path: Path) -> None:
    compiler, torch = shutil.which("g++"), importlib.util.find_spec("torch")
    if compiler is None or torch is None or torch.origin is None:
        pytest.skip("needs g++, and the headers of oneDNN that come with torch")
    texts = [program(BASE), *(program(f"{BASE}_{epilogue}") for epilogue in POST_OPS)]
    source = tmp_path / "all.cpp"
    source.write_text("".join(text.replace("int main()", f"int main{i}()") for i, text in enumerate(texts)))
    command = [compiler, "-std=c++17", "-fsyntax-only", "-I", str(Path(torch.origin).with_name("include")), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
