"""numba-direct is right at every vector width: exact on integers, NaN where a direct sum has one, inputs untouched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convbench.errors import ProblemError
from convbench.problem import DTYPES, GRADIENTS, PADDING_MODES, ConvProblem, Direction
from convbench.verification.gradients import computed
from convbench.verification.operands import Operands

pytest.importorskip("numba")

from convbench.backends.numba import BACKENDS, NumbaDirect

pytestmark = pytest.mark.slow

WIDTHS = [NumbaDirect(vector_bytes=n) for n in (16, 32, 64)]
width = pytest.mark.parametrize("backend", WIDTHS, ids=lambda b: f"{b.vector_bytes}-bytes")


def dtype_of(problem: ConvProblem) -> np.dtype:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    return np.dtype(ml_dtypes.bfloat16 if problem.dtype == "bfloat16" else problem.dtype)


def operands(problem: ConvProblem, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Small integers: every sum of products is exact in every dtype's accumulator."""
    random, dtype = np.random.default_rng(seed), dtype_of(problem)
    x, w, b = (
        random.integers(-3, 4, shape).astype(dtype)
        for shape in (problem.input_shape, problem.weight_shape, (problem.out_channels,))
    )
    return x, w, b if problem.bias else None


def reference(problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """The definition, in float64: pad or crop, then one shifted product after the other."""
    n, g = problem.batch, problem.groups
    x, w = x.astype(np.float64), w.astype(np.float64)
    crops = [
        slice(max(0, -before), size + min(0, after))
        for (before, after), size in zip(problem.padding, x.shape[2:], strict=True)
    ]
    sides = [(0, 0), (0, 0), *((max(0, before), max(0, after)) for before, after in problem.padding)]
    mode = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[problem.padding_mode]
    x = np.pad(x[:, :, crops[0], crops[1]], sides, mode=mode)
    x = x.reshape(n, g, -1, *x.shape[2:])
    w = w.reshape(g, -1, *w.shape[1:])
    total = np.zeros((n, g, w.shape[1], problem.out_height, problem.out_width))
    for r in range(problem.kernel_size[0]):
        for s in range(problem.kernel_size[1]):
            rows, columns = (
                slice(tap * dilation, tap * dilation + (out - 1) * stride + 1, stride)
                for tap, dilation, out, stride in zip(
                    (r, s), problem.dilation, problem.output_shape[2:], problem.stride, strict=True
                )
            )
            total += np.einsum("ngchw,gkc->ngkhw", x[:, :, :, rows, columns], w[:, :, :, r, s])
    out = total.reshape(problem.output_shape)
    return out if b is None else out + b.astype(np.float64)[:, None, None]


def answer(backend: NumbaDirect, problem: ConvProblem, *arrays: np.ndarray | None) -> np.ndarray:
    assert backend.unsupported(problem) is None
    ready = backend.prepare(problem, *arrays)
    ready.run()  # a second call must not find anything of the first
    return ready.to_numpy(ready.run())


def check(backend: NumbaDirect, problem: ConvProblem, *arrays: np.ndarray | None) -> None:
    out = answer(backend, problem, *arrays)
    assert out.dtype == dtype_of(problem)
    with np.errstate(all="ignore"):
        expected = reference(problem, *arrays).astype(out.dtype)
    np.testing.assert_array_equal(out, expected, strict=True)


CASES = {
    "resnet": ConvProblem(in_channels=64, height=14, width=14, out_channels=64, kernel_size=3, padding=1, bias=True),
    "more taps than a chunk": ConvProblem(
        in_channels=600, height=7, width=7, out_channels=40, kernel_size=3, padding=1
    ),
    "chunks of a long row": ConvProblem(in_channels=1030, height=2, width=40, out_channels=33, kernel_size=2),
    "chunks, pixels in lanes": ConvProblem(in_channels=1000, height=9, width=40, out_channels=2, kernel_size=7),
    "bands": ConvProblem(in_channels=3, height=40, width=60, out_channels=33, kernel_size=3, bias=True),
    "pointwise": ConvProblem(in_channels=17, height=13, width=11, out_channels=65, kernel_size=1),
    "pointwise, stride": ConvProblem(in_channels=5, height=13, width=11, out_channels=40, kernel_size=1, stride=(2, 3)),
    "depthwise": ConvProblem(in_channels=12, height=30, width=70, out_channels=12, kernel_size=3, groups=12, padding=1),
    "depthwise, many per group": ConvProblem(
        in_channels=3, height=9, width=70, out_channels=60, kernel_size=3, groups=3
    ),
    "grouped": ConvProblem(
        in_channels=24, height=12, width=30, out_channels=48, kernel_size=3, groups=4, stride=2, bias=True
    ),
    "one output pixel": ConvProblem(in_channels=9, height=5, width=5, out_channels=70, kernel_size=5, batch=3),
    "one channel": ConvProblem(in_channels=1, height=5, width=5, out_channels=1, kernel_size=3),
    "crop": ConvProblem(in_channels=4, height=20, width=20, out_channels=33, kernel_size=3, padding=((-2, 1), (3, -4))),
    "far padding": ConvProblem(in_channels=2, height=3, width=3, out_channels=20, kernel_size=2, padding=9, stride=4),
    "stride beyond kernel": ConvProblem(
        in_channels=2, height=20, width=23, out_channels=20, kernel_size=2, stride=(3, 5)
    ),
    "dilation and stride": ConvProblem(
        in_channels=3,
        height=31,
        width=33,
        out_channels=34,
        kernel_size=(3, 4),
        dilation=(3, 2),
        stride=(2, 4),
        padding=3,
    ),
}


@width
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_integers_come_out_exact(backend: NumbaDirect, case: str, dtype: str) -> None:
    problem = CASES[case].replace(dtype=dtype)
    check(backend, problem, *operands(problem))


@width
@pytest.mark.parametrize("size", range(1, 34))
def test_every_tail_of_a_row_and_of_the_channels(backend: NumbaDirect, size: int) -> None:
    problem = ConvProblem(in_channels=2, height=3, width=size, out_channels=size, kernel_size=3, padding=1, bias=True)
    check(backend, problem, *operands(problem))


@st.composite
def problems(draw: st.DrawFn) -> ConvProblem:
    def integer(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    def pair(low: int, high: int) -> tuple[int, int]:
        return integer(low, high), integer(low, high)

    groups, mode = integer(1, 5), draw(st.sampled_from(PADDING_MODES))
    least = -3 if mode == "zeros" else 0
    try:
        return ConvProblem(
            batch=integer(1, 3),
            in_channels=groups * integer(1, 8),
            height=integer(1, 24),
            width=integer(1, 40),
            out_channels=groups * integer(1, 40),
            kernel_size=pair(1, 5),
            stride=pair(1, 4),
            dilation=pair(1, 3),
            padding=(pair(least, 4), pair(least, 4)),
            groups=groups,
            bias=draw(st.booleans()),
            padding_mode=mode,
            dtype=draw(st.sampled_from(DTYPES)),
        )
    except ProblemError:
        assume(False)
        raise


@settings(max_examples=300)
@given(problem=problems(), seed=st.integers(0, 9), backend=st.sampled_from(WIDTHS))
def test_any_problem_comes_out_exact(problem: ConvProblem, seed: int, backend: NumbaDirect) -> None:
    check(backend, problem, *operands(problem, seed))


@width
@pytest.mark.parametrize("case", ["grouped", "depthwise", "resnet", "crop", "dilation and stride"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_where_they_belong(backend: NumbaDirect, case: str, value: float) -> None:
    problem = CASES[case]
    x, w, b = operands(problem)
    x[0, 1, 4, 5] = value
    check(backend, problem, x, w, b)
    x, w, b = operands(problem)
    w[-1, 0, 0, 0] = value
    check(backend, problem, x, w, b)


@pytest.mark.parametrize("case", ["resnet", "depthwise", "pointwise"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_of_any_strides_are_read_and_never_written(case: str, dtype: str) -> None:
    problem = CASES[case].replace(dtype=dtype)
    x, w, b = operands(problem)
    strided_x = np.repeat(x, 2, axis=3)[:, :, ::-1, ::2][:, :, ::-1]
    strided_w = np.asfortranarray(w)
    arrays = [strided_x, strided_w] + ([np.repeat(b, 2)[::2]] if b is not None else [])
    for array in arrays:
        array.setflags(write=False)
    out = answer(BACKENDS[0], problem, *arrays, *([None] if b is None else []))
    np.testing.assert_array_equal(out, reference(problem, x, w, b).astype(out.dtype))
    assert np.array_equal(strided_x, x)
    assert np.array_equal(strided_w, w)


@width
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_is_that_of_one_sum(backend: NumbaDirect, dtype: str) -> None:
    problem = CASES["resnet"].replace(dtype=dtype)
    random = np.random.default_rng(1)
    x, w, b = (random.standard_normal(s).astype(dtype) for s in (problem.input_shape, problem.weight_shape, (64,)))
    bound = problem.reduction_length * np.finfo(dtype).eps * reference(problem, abs(x), abs(w), abs(b))
    assert np.all(abs(answer(backend, problem, x, w, b) - reference(problem, x, w, b)) <= bound)


def test_each_call_returns_a_fresh_output() -> None:
    problem = CASES["resnet"]
    ready = BACKENDS[0].prepare(problem, *operands(problem))
    first = ready.run()
    kept = first.copy()
    first[...] = -1
    second = ready.run()
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(second, kept)


def test_one_ready_may_run_in_several_threads() -> None:
    problem = CASES["resnet"]
    arrays = operands(problem)
    ready, expected, right = BACKENDS[0].prepare(problem, *arrays), reference(problem, *arrays), []

    def run() -> None:
        right.extend(np.array_equal(ready.run(), expected) for _ in range(20))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 60


@width
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_weight_and_bias_come_out_exact(backend: NumbaDirect, case: str, dtype: str) -> None:
    for direction in ("weight_gradient", "bias_gradient"):
        check_gradient(backend, CASES[case].replace(dtype=dtype, bias=True, direction=direction))


def check_gradient(backend: NumbaDirect, problem: ConvProblem, seed: int = 0) -> None:
    """Against convbench's own gradients, which tests hold to the convolution and to torch's."""
    random, dtype = np.random.default_rng(seed), dtype_of(problem)
    integers = {name: random.integers(-2, 3, shape).astype(dtype) for name, shape in problem.operand_shapes.items()}
    ready = Operands(**integers).prepared_by(backend, problem)
    ready.run()  # a second call must not find anything of the first
    out = ready.to_numpy(ready.run())
    assert out.dtype == dtype
    expected = computed(problem, Operands(**integers)).astype(out.dtype)
    np.testing.assert_array_equal(out, expected, err_msg=problem.case_id, strict=True)


@settings(max_examples=200)
@given(
    problem=problems(),
    direction=st.sampled_from(GRADIENTS),
    seed=st.integers(0, 9),
    backend=st.sampled_from(WIDTHS),
    repeated=st.sampled_from([1, 1, 7, 40]),
)
def test_any_gradient_comes_out_exact(
    problem: ConvProblem, direction: Direction, seed: int, backend: NumbaDirect, repeated: int
) -> None:
    """With many groups these fill the lanes."""
    channels = {name: getattr(problem, name) * repeated for name in ("in_channels", "out_channels", "groups")}
    assume(max(channels.values()) <= 400)
    check_gradient(backend, problem.replace(direction=direction, bias=True, **channels), seed)


def test_the_gradient_of_a_weight_is_computed_on_several_threads_as_on_one() -> None:
    out = in_a_new_process(HOLD_TO_THREADS, NUMBA_NUM_THREADS="3")
    assert out.split() == ["3", "True", "True", "True", "True"]


HOLD_TO_THREADS = """
import numba, numpy as np
from convbench import ConvProblem
from convbench.backends.numba import BACKENDS
from convbench.verification.gradients import computed
from convbench.verification.operands import Operands
print(numba.get_num_threads())
for groups, channels in ((1, 70), (1, 3), (35, 70), (70, 70)):
    problem = ConvProblem(batch=2, in_channels=channels, height=13, width=11, out_channels=70, kernel_size=3,
                          groups=groups if channels % groups == 0 else 1, padding=1, direction="weight_gradient")
    random = np.random.default_rng(0)
    operands = Operands(**{n: random.integers(-2, 3, s).astype("f") for n, s in problem.operand_shapes.items()})
    ready = operands.prepared_by(BACKENDS[0], problem)
    ready.run()
    print(np.array_equal(ready.run(), computed(problem, operands)))
"""


def in_a_new_process(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_listing_the_backend_imports_nothing_heavy() -> None:
    program = "import sys, convbench.backends.numba; print(*sorted({'numba', 'llvmlite', 'numpy'} & set(sys.modules)))"
    assert in_a_new_process(program).split() == []


X86 = re.search("x86_64|AMD64", os.uname().machine if hasattr(os, "uname") else "AMD64")
HASWELL = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2"}
OLD = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"}
HOLD_TO_A_CPU = """
import numpy as np
from convbench import ConvProblem
from convbench.backends.numba import BACKENDS, register_tile

BACKENDS[0].limit_threads(1)
for channels, groups in ((20, 1), (6, 6)):
    problem = ConvProblem(in_channels=channels, height=9, width=17, out_channels=channels, kernel_size=3, groups=groups)
    random = np.random.default_rng(0)
    x, w = (random.integers(-3, 4, shape).astype("f4") for shape in (problem.input_shape, problem.weight_shape))
    out = BACKENDS[0].prepare(problem, x, w, None).run()
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    windows = windows.reshape(groups, -1, *windows.shape[2:])
    right = np.einsum("gchwrs,gkcrs->gkhw", windows, w.reshape(groups, -1, *w.shape[1:]))
    assert np.array_equal(out[0], right.reshape(out.shape[1:]))
print(*register_tile(4, None))
"""


@pytest.mark.skipif(not X86, reason="names CPUs of x86")
@pytest.mark.parametrize(("cpu", "tile"), [(HASWELL, "8 2 6"), (OLD, "4 2 6")], ids=["haswell", "sse2"])
def test_another_cpu_may_be_named(cpu: dict[str, str], tile: str) -> None:
    assert in_a_new_process(HOLD_TO_A_CPU, **cpu).strip() == tile


@pytest.mark.skipif(not X86, reason="reads assembly of x86")
@pytest.mark.parametrize(
    ("cpu", "features", "lanes", "rows"), [("haswell", "+avx2,+fma", 8, 6), ("znver4", "+avx512f,+fma", 16, 14)]
)
@pytest.mark.parametrize("pixels_in_lanes", [False, True])
def test_the_inner_loop_stays_in_registers(
    cpu: str, features: str, lanes: int, rows: int, pixels_in_lanes: bool
) -> None:
    import llvmlite.binding as llvm
    from convbench.backends._numba import vectors as vectors
    from llvmlite import ir

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = ir.Module()
    vectors._tile(module, ir.VectorType(ir.FloatType(), lanes), rows, pixels_in_lanes).linkage = ""
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
    blocks = machine.emit_assembly(llvm.parse_assembly(str(module))).split("\n.LBB")
    loop = max(blocks, key=lambda block: block.count("vfmadd"))
    assert loop.count("vfmadd") == rows * vectors.VECTORS
    assert "rsp" not in loop
