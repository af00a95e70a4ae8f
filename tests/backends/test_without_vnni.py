"""What is declared for CPUs that add sums of two products of 8 bits in 16, by the flags that Linux has of them."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from backends._vnni import lacks_vnni
from backends.onnxruntime import BACKENDS, integer_arithmetic
from convbench.backend import Arithmetic, QuantizedArithmetic
from convbench.problem import ConvProblem
from convbench.verification.quantized.data import quantized_operands
from convbench.verification.quantized.oracle import QuantizedOracle

HASWELL = "processor\t: 0\nflags\t\t: fpu sse4_2 avx fma avx2 bmi2\nbugs\t\t: avx_vnni\nprocessor\t: 1\nflags\t\t: fpu"


@pytest.mark.parametrize(
    ("cpuinfo", "lacks"),
    [
        (HASWELL, True),
        ("flags\t\t: avx2 avx512f avx512bw avx512dq avx512vl", True),  # Skylake-SP
        ("flags\t\t: avx2 avx512f avx512_vnni", False),
        ("flags\t\t: avx2 avx_vnni", False),  # Alder Lake
        ("Features\t: fp asimd asimddp i8mm", False),  # Arm
        ("", False),
    ],
)
def test_a_cpu_lacks_vnni_by_its_own_flags(cpuinfo: str, lacks: bool) -> None:
    assert lacks_vnni(cpuinfo) is lacks


@pytest.mark.parametrize(("formats", "forgiven"), [("u8:s8:s32", True), ("s8:s8:s32", False)])
def test_onnx_runtime_may_saturate_for_unsigned_inputs_where_vnni_is_missing(formats: str, forgiven: bool) -> None:
    p = ConvProblem(in_channels=16, height=4, width=4, out_channels=8, kernel_size=1, quantization=formats)
    operands = quantized_operands(p, "positive", 0)
    products = operands.x.astype(int)[:, None] * operands.w.astype(int)[None]
    if not forgiven:  # s8 by s8 would saturate as shifted to u8
        products = (operands.x.astype(int)[:, None] + 128) * operands.w.astype(int)[None]
    pairs = products.reshape(1, 8, 8, 2, 4, 4).sum(3)
    lost = (pairs - pairs.clip(-(2**15), 2**15 - 1)).sum(2)
    assert lost.any()
    key = QuantizedOracle(p, operands, "positive")
    saturated = (key.sums - lost).astype(np.int32)
    old, new = (Arithmetic(quantized=integer_arithmetic(lacks)) for lacks in (True, False))
    assert key.judge(old, saturated).passed is forgiven
    assert not key.judge(new, saturated).passed
    assert key.judge(old, key.sums.astype(np.int32)).passed


def test_onnx_runtime_adds_floats_for_signed_inputs_of_qdq_models_only() -> None:
    by_name = {backend.name: backend.arithmetic.quantized.float_sums for backend in BACKENDS}
    assert by_name == {"onnxruntime": (), "onnxruntime-qdq": ("s8", "s8z")}


def test_what_a_backend_declares_of_int8_can_be_kept_in_a_record() -> None:
    kept = json.loads(json.dumps(asdict(QuantizedArithmetic(saturates={"u8"}, float_sums={"u8z", "s8"}))))
    assert (kept["saturates"], kept["float_sums"]) == (["u8"], ["s8", "u8z"])
    for backend in BACKENDS:
        assert json.dumps(asdict(backend.arithmetic.quantized))
