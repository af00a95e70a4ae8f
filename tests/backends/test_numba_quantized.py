"""numba-direct's quantised convolutions are right at every vector width, on named CPUs and on several threads: equal to
a reference in float64, in which nothing rounds before the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from convbench.backends.numba import NumbaDirect
from hypothesis import given, settings
from hypothesis import strategies as st
from test_numba_direct import CASES, HASWELL, OLD, WIDTHS, X86, in_a_new_process, problems, reference, width

from convbench.problem import ConvProblem, Quantization, Scales
from convbench.problem.quantization import LIMITS, every_quantization

pytestmark = pytest.mark.slow


def operands(problem: ConvProblem, seed: int) -> tuple[Any, Any, Any, Scales]:
    """Integers up to both ends of their formats, and scales that are powers of two."""
    random, q = np.random.default_rng(seed), problem.quantization
    assert q is not None
    channels = problem.out_channels if q.per_channel else 1

    def integers(name: str, shape: Any) -> np.ndarray:
        return random.integers(*LIMITS[name], shape, endpoint=True)

    has_scales = q.result != "s32"
    scales = Scales(
        x_scale=0.25 if has_scales else 1.0,
        x_zero=int(integers(q.input, ())) if q.input_zero_point else 0,
        w_scale=np.exp2(random.integers(-9, 0, channels) if has_scales else np.zeros(channels)).astype(np.float32),
        w_zero=(integers("s8", channels) if q.weight_zero_point else np.zeros(channels)).astype(np.int8),
        y_scale=8.0 if q.is_requantized else 1.0,
        y_zero=int(integers(q.result, ())) if q.result_zero_point else 0,
    )
    x = integers(q.input, problem.input_shape).astype(q.dtypes["x"])
    b = random.integers(-1000, 1000, problem.out_channels).astype(np.int32) if problem.bias else None
    return x, integers("s8", problem.weight_shape).astype(np.int8), b, scales


def expected(problem: ConvProblem, x: Any, w: Any, b: Any, scales: Scales) -> np.ndarray:
    """By the definition. It is exact where sums are below 2^24, so that they are float32 numbers."""
    q = problem.quantization
    assert q is not None
    weights = w.astype(np.float64) - scales.w_zero.reshape(-1, 1, 1, 1)
    sums = reference(problem, x.astype(np.float64) - scales.x_zero, weights, b)
    real = sums * (scales.x_scale * scales.w_scale.astype(np.float64) / scales.y_scale).reshape(-1, 1, 1)
    if q.is_requantized:
        real = np.clip(np.rint(real) + scales.y_zero, *LIMITS[q.result])
    return real.astype(q.dtypes["y"])


def check(backend: NumbaDirect, problem: ConvProblem, seed: int = 0) -> None:
    assert backend.unsupported(problem) is None
    arrays = operands(problem, seed)
    ready = backend.prepare_quantized(problem, *arrays)
    first = ready.run()
    kept = first.copy()
    second = ready.run()  # it must not find, nor change, anything of the first
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second, expected(problem, *arrays), err_msg=problem.case_id, strict=True)


@width
@pytest.mark.parametrize("formats", ["u8z:s8:s32", "s8z:s8:s32"])
@pytest.mark.parametrize("case", CASES)
def test_sums_are_exact(backend: NumbaDirect, case: str, formats: str) -> None:
    check(backend, CASES[case].replace(quantization=formats))


@settings(max_examples=200, deadline=None)
@given(
    problem=problems(),
    quantization=st.sampled_from(every_quantization()),
    seed=st.integers(0, 9),
    backend=st.sampled_from(WIDTHS),
)
def test_any_quantised_problem_comes_out_exact(
    problem: ConvProblem, quantization: Quantization, seed: int, backend: NumbaDirect
) -> None:
    check(backend, problem.replace(dtype="int8", quantization=quantization), seed)


ON_THREADS = """
import numba, numpy as np
from convbench import ConvProblem
from convbench.backends.numba import BACKENDS, register_tile
from convbench.problem import Scales
for channels, groups, stride in ((20, 1, 1), (7, 1, 2), (6, 6, 1)):
    problem = ConvProblem(in_channels=channels, height=19, width=17, out_channels=channels, kernel_size=3, padding=1,
                          stride=stride, groups=groups, quantization="u8z:s8:s8z")
    random = np.random.default_rng(0)
    x = random.integers(0, 256, problem.input_shape).astype(np.uint8)
    w = random.integers(-128, 128, problem.weight_shape).astype(np.int8)
    scales = Scales(0.5, 255, np.full(channels, 2.0**-8, np.float32), np.zeros(channels, np.int8), 2.0, -3)
    (out,) = BACKENDS[0].prepare_quantized(problem, x, w, None, scales).run()
    padded = np.pad(x[0].astype(np.int64) - 255, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::stride, ::stride]
    windows = windows.reshape(groups, -1, *windows.shape[1:])
    sums = np.einsum("gchwrs,gkcrs->gkhw", windows, w.astype(np.int64).reshape(groups, -1, *w.shape[1:]))
    right = np.clip(np.rint(sums.reshape(out.shape) * 2.0**-10) - 3, -128, 127)
    assert np.array_equal(out, right), problem.case_id
print(numba.get_num_threads(), register_tile(4, None).lanes)
"""


def test_several_threads_compute_what_one_does() -> None:
    assert in_a_new_process(ON_THREADS, NUMBA_NUM_THREADS="3").split()[0] == "3"


@pytest.mark.skipif(not X86, reason="names CPUs of x86")
@pytest.mark.parametrize(("cpu", "lanes"), [(HASWELL, "8"), (OLD, "4")], ids=["haswell", "sse2"])
def test_another_cpu_may_be_named(cpu: dict[str, str], lanes: str) -> None:
    assert in_a_new_process(ON_THREADS, **cpu).split()[1] == lanes


@pytest.mark.skipif(not X86, reason="reads assembly of x86")
@pytest.mark.parametrize(
    ("cpu", "features", "lanes", "rows", "instruction"),
    [
        ("haswell", "+avx2", 8, 6, "vpmaddwd"),
        ("skylake-avx512", "+avx512f,+avx512bw", 16, 14, "vpmaddwd"),
        ("cascadelake", "+avx512f,+avx512bw,+avx512vnni", 16, 14, "vpdpwssd"),
    ],
)
def test_the_inner_loop_multiplies_pairs_in_registers(
    cpu: str, features: str, lanes: int, rows: int, instruction: str
) -> None:
    import llvmlite.binding as llvm
    from convbench.backends._numba import vectors as vectors
    from llvmlite import ir

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = ir.Module()
    vectors._tile(module, ir.VectorType(ir.IntType(32), lanes), rows, "channels").linkage = ""
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
    blocks = machine.emit_assembly(llvm.parse_assembly(str(module))).split("\n.LBB")
    loop = max(blocks, key=lambda block: block.count(instruction))
    assert loop.count(instruction) == rows * vectors.VECTORS
    assert "rsp" not in loop
