"""What backends read of a library's log, graph or module, on lines that libraries printed, and on hostile ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from convbench.backends import litert, onnxruntime, opencv, openvino
from convbench.backends._hlo import implementation_in
from convbench.backends._onednn.log import kernels_in
from convbench.backends._torch.kernels import kernel_name, operators_in
from convbench.backends.iree import pipeline_in
from hypothesis import given
from hypothesis import strategies as st

from convbench.measurement.workers.messages import implementation_of
from convbench.problem import ConvProblem
from convbench.registry import discover

LOGS = Path(__file__).parent / "logs"
OF_LOG: dict[str, tuple[Callable[[str], str | None], str]] = {
    "onednn-torch": (kernels_in, "jit:avx512_core"),
    "onednn-tensorflow": (kernels_in, "brdgmm_dw:avx512_core"),
    "hlo-fusion": (implementation_in, "ynn_fusion"),
    "hlo-convolution": (implementation_in, "convolution"),
    "opencv-new": (opencv.layer_in, "Conv2 block8"),
    "opencv-classic": (opencv.layer_in, "Convolution"),
    "iree": (pipeline_in, "conv ConvTileAndDecomposeExpert"),
}
PARSERS = {parser for parser, _ in OF_LOG.values()}


def log(name: str) -> str:
    return (LOGS / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", OF_LOG)
def test_what_libraries_printed_is_read(name: str) -> None:
    parser, expected = OF_LOG[name]
    assert parser(log(name)) == expected == implementation_of(expected)


@pytest.mark.parametrize("name", OF_LOG)
def test_the_log_of_one_library_says_nothing_to_another_s_reader(name: str) -> None:
    parser, _ = OF_LOG[name]
    assert all(reader is parser or reader(log(name)) is None for reader in PARSERS)


@given(st.text(), st.sampled_from(sorted(OF_LOG)), st.integers(0, 4000), st.integers(0, 4000))
def test_a_hostile_log_is_no_error_and_says_no_more_than_a_short_text(text: str, name: str, cut: int, end: int) -> None:
    whole = log(name)
    for parser in PARSERS:
        for hostile in (text, whole[:cut] + text + whole[cut:], whole[cut:end], whole * 3):
            said = parser(hostile)
            assert said is None or len(said) < 300


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("onednn_verbose,exec,cpu,convolution,brgconv:avx512_core,forward_inference,src_f32", "brgconv:avx512_core"),
        ("dnnl_verbose,exec,cpu,convolution,ref:any,forward_training,src_f32::blocked", "ref:any"),
        ("onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,backward_data,src:f32", "jit:avx512_core"),
        ("onednn_verbose,v1,primitive,exec,cpu,convolution,jit_dw:avx2,backward_weights,src:f32", "jit_dw:avx2"),
        ("onednn_verbose,v1,primitive,exec,cpu,matmul,gemm:jit:f32,undef,src:f32", "matmul gemm:jit:f32"),
        ("onednn_verbose,v1,primitive,exec,gpu,convolution,jit:ir,forward_training,src", None),
        ("onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32", None),
        ("onednn_verbose,v1,primitive,exec,cpu,convolution,a name of several words,forward_training,src", None),
        ("onednn_verbose,v2,primitive,exec,cpu,convolution,jit:avx2,forward_training,src", None),
        (" onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,src", None),
        ("onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2", None),
    ],
)
def test_lines_of_other_releases_of_onednn_are_read_or_passed_over(line: str, expected: str | None) -> None:
    assert kernels_in(f"something else\n{line}\n") == expected


def test_several_kernels_are_named_in_their_order_and_too_many_are_none() -> None:
    lines = [f"onednn_verbose,v1,primitive,exec,cpu,convolution,jit:k{n},forward_training,s" for n in range(5)]
    assert kernels_in("\n".join([*lines[:2], lines[0]])) == "jit:k0 + jit:k1"
    assert kernels_in("\n".join(lines)) is None


def test_a_custom_call_and_a_fusion_of_xla_s_own_are_named_and_two_are_none() -> None:
    call = '  %c = f32[1]{0} custom-call(%x), custom_call_target="__onednn$convolution", metadata={}'
    assert implementation_in(call) == "onednn:convolution"
    fused = (
        "%f.1 (p: f32[1]) -> f32[1] {\n  ROOT %d = f32[1]{0} dot(%p, %p), lhs={0}\n}\n"
        "  %r = f32[1]{0} fusion(%x), kind=kLoop, calls=%f.1"
    )
    assert implementation_in(fused) == "dot in loop fusion"
    assert implementation_in(f"{call}\n{fused}") is None


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("void cudnn::winograd_nonfused::winogradForwardData4x4<float, float>(cudnn::Params)",
         "cudnn::winograd_nonfused::winogradForwardData4x4"),
        ("sm90_xmma_fprop_implicit_gemm_f32f32_tf32f32", "sm90_xmma_fprop_implicit_gemm_f32f32_tf32f32"),
        ("Memcpy HtoD (Pinned -> Device)", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_cuda_kernel_is_named_without_its_arguments(signature: str, expected: str | None) -> None:
    assert kernel_name(signature) == expected


def test_operators_and_graphs_of_one_convolution_are_named_and_others_are_none() -> None:
    assert operators_in(["aten::conv2d", "aten::_slow_conv2d_forward", "aten::view"]) == "slow_conv2d"
    assert operators_in(["aten::conv2d", "aten::an_operator_of_next_year"]) is None
    assert operators_in(["aten::convolution_backward", "aten::_slow_conv2d_backward"]) == "slow_conv2d_backward"
    executed = [("Reorder", "jit_uni_f32"), ("Convolution", "brgconv_avx512_f32"), ("Output", "unknown_f32")]
    assert openvino.kernel_in(executed) == "brgconv_avx512_f32"
    assert openvino.kernel_in([*executed, ("MatMul", "gemm")]) is None
    assert openvino.kernel_in([("Convolution", "unknown_f32")]) is None
    blocked = [("com.microsoft.nchwc", "ReorderInput"), ("com.microsoft.nchwc", "Conv")]
    assert onnxruntime.kernel_in(blocked) == "NchwcConv"
    assert onnxruntime.kernel_in([("com.microsoft", "FusedConv")]) == "FusedConv"
    events = [("session", "model_loading", None), ("Node", "ReorderInput_kernel_time", "ReorderInput")]
    events += [("Node", "y_nchwc_kernel_time", "Conv"), ("Node", "y_fence_before", None)]
    profile = [{"cat": c, "name": name, "args": {"op_name": op} if op else {}} for c, name, op in events]
    assert onnxruntime.kernel_in(onnxruntime.nodes_in(json.dumps(profile))) == "NchwcConv"
    profile[2]["name"] = "y_kernel_time"
    assert onnxruntime.kernel_in(onnxruntime.nodes_in(json.dumps(profile))) == "Conv"
    assert onnxruntime.kernel_in([("", "Conv"), ("", "Conv")]) is None
    assert onnxruntime.kernel_in([("of.somebody", "Conv")]) is None


@pytest.mark.parametrize(
    ("delegated", "expected"), [([[2]], "xnnpack conv_2d"), ([[7]], "builtin conv_2d"), ([], "builtin conv_2d")]
)
def test_an_operator_of_litert_is_the_delegate_s_if_that_has_its_output(
    delegated: list[list[int]], expected: str
) -> None:
    operators = [{"op_name": "PAD", "outputs": [1]}, {"op_name": "CONV_2D", "outputs": np.array([2])}]
    assert litert.kernel_in([*operators, *({"op_name": "DELEGATE", "outputs": o} for o in delegated)]) == expected
    assert litert.kernel_in([{"op_name": "CUSTOM", "outputs": [2]}]) is None


def test_what_c_and_python_print_is_caught_and_what_follows_is_not() -> None:
    code = (
        "import ctypes, os, sys; from convbench.backends._onednn.log import printed_by\n"
        "puts = ctypes.CDLL(None).puts\n"
        "def call(): print('by Python'); puts(b'by C'); os.write(1, b'by the system\\n')\n"
        "def fails(): puts(b'lost'); raise RuntimeError\n"
        "caught = printed_by(call)\n"
        "try: printed_by(fails)\n"
        "except RuntimeError: print('raised')\n"
        "print('after'); puts(b'after in C')\n"
        "print(sorted(caught.split('\\n')), file=sys.stderr)\n"
    )
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=here, check=True)
    assert sorted(done.stdout.split()) == sorted("raised after after in C".split())
    assert done.stderr.strip() == str(["", "by C", "by Python", "by the system"])


NAMED = {
    "torch-native": "slow_conv2d",
    "numpy-loop": "loop",
    "numpy-gemm": "im2col gemm",
    "scipy-direct": "correlate2d",
    "scipy-fft": "fftconvolve",
}


@pytest.mark.parametrize("name", [*NAMED, "torch", "torch-packed", "jax", "numba-direct"])
def test_the_libraries_here_say_what_computes(name: str) -> None:
    (entry,) = discover([]).select([name])
    problem = ConvProblem(in_channels=16, height=40, width=40, out_channels=8, kernel_size=3, padding=1)
    if reason := entry.unavailable() or entry.backend.unsupported(problem):
        pytest.skip(reason)
    arrays = (np.ones(shape, np.float32) for shape in (problem.input_shape, problem.weight_shape))
    ready = entry.backend.prepare(problem, *arrays, None)
    ready.run()
    assert ready.explain is not None
    said = ready.explain()
    assert said == implementation_of(said) and said == NAMED.get(name, said)
    assert said is not None
