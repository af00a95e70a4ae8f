"""Every backend against an exact answer in whole numbers, on a covering set of problems and on random ones.

Inputs are integers so small that every partial sum is exact in the accumulator that a backend declares, so the answer
must be the exact one, rounded once to the problem's dtype. Where transforms stand in between (FFT, Winograd) it must
round to the exact one. Half of the cases are all positive: sums then outgrow a half format at once, and an accumulator
narrower than the declared one cannot hide.
"""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache, lru_cache
from math import isqrt
from typing import Any

import convbench.backends
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import forward_problems

from convbench.backend import Backend, Ready
from convbench.errors import ProblemError
from convbench.measurement.machine.facts import cpu_flags
from convbench.problem import DTYPES, PADDING_MODES, ConvProblem, Dtype
from convbench.registry import versions
from convbench.verification.known import KnownWrong, applicable, own_table
from convbench.verification.question import Question, Values

pytestmark = pytest.mark.slow

# Each case costs these seconds of compiling: tests/test_engines.py asks them a handful.
COSTLY = ("torch_compile", "iree", "tvm")
FILES = sorted(m.name for m in pkgutil.iter_modules(convbench.backends.__path__) if not m.name.startswith("_"))
NUMPY_DTYPE: dict[str, Any] = {dtype: np.dtype(getattr(np, dtype, ml_dtypes.bfloat16)) for dtype in DTYPES}
LARGEST_INTEGER = {"float64": 2**20, "float32": 2**12, "float16": 2**11, "bfloat16": 2**8}  # and all below are exact
EXACT_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


def backends() -> Iterator[Backend]:
    for file in FILES:
        if file not in COSTLY:
            yield from importlib.import_module(f"convbench.backends.{file}").BACKENDS


ALL = tuple(backends())
each_backend = pytest.mark.parametrize(
    "backend",
    [pytest.param(b, id=b.name, marks=[pytest.mark.gpu] if b.device == "cuda" else []) for b in ALL],
)


@pytest.fixture(autouse=True)
def _available(request: pytest.FixtureRequest) -> None:
    backend = request.node.callspec.params.get("backend") if hasattr(request.node, "callspec") else None
    if backend is not None and (reason := backend.unavailable()):
        pytest.skip(reason)


# --- problems ---------------------------------------------------------------------------------------------------------

FACTORS: dict[str, tuple[Any, ...]] = {
    "batch": (1, 2, 5),
    "channels": ((1, 1), (3, 17), (17, 3), (32, 32), (3, 32)),
    "groups": ("one", "two", "depthwise", "multiplier"),
    "kernel_size": ((1, 1), (3, 3), (2, 2), (1, 5), (5, 1), (7, 7)),
    "stride": (1, 2, (2, 1), 3, (1, 4)),
    "padding": (0, 1, (2, 3), 8, ((0, 1), (0, 0)), ((0, 0), (2, 0)), ((2, 0), (1, 3)), -1, ((-1, 2), (0, -3))),
    "dilation": (1, 2, (1, 3)),
    "image": ((9, 9), (6, 20), (17, 5), (1, 33)),
    "bias": (False, True),
    "padding_mode": PADDING_MODES,
    "dtype": DTYPES,
    "layout": ("contiguous", "channels last", "sliced", "reversed", "read-only"),
    "positive": (False, True),
}
CASES = 200
COMPILED_CASES = 80  # of them, where every case costs a compilation; the first ones meet the most combinations


def problem_of(levels: dict[str, Any]) -> ConvProblem:
    arguments = dict(levels)
    inputs, outputs = arguments.pop("channels")
    arguments["height"], arguments["width"] = arguments.pop("image")
    if arguments["groups"] == "two":
        inputs, outputs, groups = 2 * inputs, 2 * outputs, 2
    else:
        groups = 1 if arguments["groups"] == "one" else inputs
        outputs = {"one": outputs, "depthwise": inputs, "multiplier": 2 * inputs}[arguments["groups"]]
    arguments |= {"in_channels": inputs, "out_channels": outputs, "groups": groups}
    return ConvProblem(**{name: value for name, value in arguments.items() if name not in ("layout", "positive")})


def combinations(case: tuple[int, ...], ways: int) -> list[tuple[tuple[int, int], ...]]:
    return list(itertools.combinations(enumerate(case), ways))


@lru_cache(maxsize=1)
def sweep() -> tuple[list[tuple[ConvProblem, str, bool]], float]:
    """Problems with their layout and sign, chosen greedily to meet every pair and most triples of levels.

    Also the share of triples met, of all that any of many random possible problems meets.
    """
    generator = random.Random(0)
    pool: dict[tuple[int, ...], ConvProblem] = {}
    while len(pool) < 4000:
        case = tuple(generator.randrange(len(levels)) for levels in FACTORS.values())
        levels = {name: FACTORS[name][index] for name, index in zip(FACTORS, case, strict=True)}
        try:
            pool[case] = problem_of(levels)
        except ProblemError:
            continue
    names: dict[Any, int] = {}
    met = np.array([[names.setdefault(c, len(names)) for c in combinations(case, 3)] for case in pool])
    wanted, chosen, cases = np.ones(len(names), bool), [], list(pool)
    for _ in range(CASES):
        best = int(wanted[met].sum(axis=1).argmax())
        wanted[met[best]] = False
        chosen.append(cases[best])
    picked = list(FACTORS).index
    found = [
        (pool[c], FACTORS["layout"][c[picked("layout")]], FACTORS["positive"][c[picked("positive")]]) for c in chosen
    ]
    pairs = {pair for case in chosen for pair in combinations(case, 2)}
    assert pairs == {pair for case in cases for pair in combinations(case, 2)}, "raise CASES"
    return found, 1 - float(wanted.mean())


# --- values and the exact answer --------------------------------------------------------------------------------------


def largest(backend: Backend, problem: ConvProblem) -> int:
    """The largest integer of a fill that stays exact: K a^2 within the accumulator, and within float16's range."""
    products = problem.reduction_length + problem.bias
    accumulated = backend.arithmetic.accumulate_precision(problem.dtype)
    limit = min(2 ** EXACT_BITS[accumulated], 2**51)
    if problem.dtype == "float16":
        limit = min(limit, 65504)
    operand = 2 ** EXACT_BITS[backend.arithmetic.operand_precision(problem.dtype)]
    exact = min(LARGEST_INTEGER[problem.dtype], operand, isqrt(limit // products))
    return max(1, min(exact, 8) if transforms(backend) else exact)


def transforms(backend: Backend) -> bool:
    return backend.arithmetic.algorithm in ("fft", "winograd", "auto")


@cache
def integers(problem: ConvProblem, most: int, positive: bool, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Input, weight, bias (zeros where there is none) and exact output, in int64."""
    generator = np.random.default_rng([seed, most, *problem.case_id.encode()])
    shapes = (problem.input_shape, problem.weight_shape, (problem.out_channels,))
    x, w, b = (generator.integers(1, most + 1, shape) for shape in shapes)
    if not positive:
        x, w, b = (a * generator.choice([-1, 1], a.shape) for a in (x, w, b))
    b = b * problem.bias
    return x, w, b, exact_conv2d(problem, x, w, b)


def exact_conv2d(problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A sum over taps in int64. Padding is by index, and shares no code with np.pad, F.pad or jnp.pad."""
    n, groups = problem.batch, problem.groups
    weights = w.reshape(groups, -1, *w.shape[1:])
    out = np.zeros((n, groups, weights.shape[1], problem.out_height, problem.out_width), np.int64)
    for tap in np.ndindex(problem.kernel_size):
        taken = x
        for axis, size in enumerate((problem.height, problem.width)):
            first = tap[axis] * problem.dilation[axis] - problem.padding[axis][0]
            index = first + problem.stride[axis] * np.arange(problem.output_shape[2 + axis])
            # An axis may be cropped: what a negative padding cut off is not read by any tap, so no case of its own.
            inside = (index >= 0) & (index < size)
            match problem.padding_mode:
                case "zeros" | "replicate":
                    index = index.clip(0, size - 1)
                case "circular":
                    index = index % size
                case "reflect":
                    index = np.where(index < 0, -index, index)
                    index = np.where(index >= size, 2 * (size - 1) - index, index)
            taken = taken.take(index, axis=2 + axis)
            if problem.padding_mode == "zeros":
                taken = taken * (inside[:, None] if axis == 0 else inside)
        out += np.einsum("ngchw,goc->ngohw", taken.reshape(n, groups, -1, *taken.shape[2:]), weights[..., *tap])
    return out.reshape(problem.output_shape) + b[:, None, None]


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values in other strides; read-only where `layout` says so."""
    match layout:
        case "channels last" if array.ndim == 4:
            array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        case "sliced":
            wide = np.full([2 * size + 1 for size in array.shape], 77, array.dtype)
            cut = wide[tuple(slice(1, None, 2) for _ in array.shape)]
            cut[...] = array
            array = cut
        case "reversed":
            turned = tuple(slice(None, None, -1) for _ in array.shape)
            array = array[turned].copy()[turned]
        case _:
            array = array.copy()
    array.flags.writeable = layout != "read-only"
    return array


# --- the check --------------------------------------------------------------------------------------------------------


def operands(backend: Backend, problem: ConvProblem, layout: str, positive: bool, seed: int = 0) -> Any:
    x, w, b, exact = integers(problem, largest(backend, problem), positive, seed)
    dtype = NUMPY_DTYPE[problem.dtype]
    x, w, b = (laid_out(a.astype(dtype), layout) for a in (x, w, b))
    return x, w, b if problem.bias else None, exact


def computed(ready: Ready) -> np.ndarray:
    output = ready.run()
    ready.sync()
    return ready.to_numpy(output)


def check_values(backend: Backend, problem: ConvProblem, got: np.ndarray, exact: np.ndarray) -> None:
    assert got.shape == problem.output_shape
    assert got.dtype == NUMPY_DTYPE[problem.dtype]
    value = got.astype(np.float64)
    if not transforms(backend) and not backend.arithmetic.output:
        once = exact.astype(np.float64).astype(got.dtype).astype(np.float64)
        np.testing.assert_array_equal(value, once, err_msg=problem.case_id)
        return
    # cuDNN's and TensorFlow's answer is rounded to a half format before the bias is added, and again after.
    roundings = 2 if (backend.device == "cuda" or backend.name == "tensorflow") and problem.bias else 1
    units = {"float16": 2**-11, "bfloat16": 2**-8}
    unit = max(units.get(problem.dtype, 0), units.get(backend.arithmetic.output or problem.dtype, 0))
    error = np.abs(value - exact)
    assert (error < 0.5 + roundings * unit * np.abs(exact)).all(), (problem.case_id, error.max())


def check(backend: Backend, problem: ConvProblem, layout: str = "contiguous", positive: bool = False) -> bool:
    """Whether the backend supports the problem; where it does, its answer is right and it behaves."""
    if reason := backend.unsupported(problem):
        assert reason.strip()
        return False
    if known_wrong(backend, problem):
        return True
    x, w, b, exact = operands(backend, problem, layout, positive)
    before = [None if a is None else a.tobytes() for a in (x, w, b)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ready = backend.prepare(problem, x, w, b)
        output = ready.run()
        ready.sync()
        got = ready.to_numpy(output)
        kept = got.copy()
        again = computed(ready)
    check_values(backend, problem, got, exact)
    assert again.tobytes() == kept.tobytes(), f"{problem.case_id}: another answer when run again"
    assert ready.to_numpy(output).tobytes() == kept.tobytes(), f"{problem.case_id}: the first answer was overwritten"
    assert [None if a is None else a.tobytes() for a in (x, w, b)] == before, f"{problem.case_id}: operand written"
    return True


@cache
def entries_about(backend: Backend) -> list[KnownWrong]:
    return applicable(own_table(), backend.name, versions(backend), cpu_flags())


def known_wrong(backend: Backend, problem: ConvProblem, values: Values = "integers") -> bool:
    """Whether the table of known wrong answers names it. It is not asked here, in this process: some of it reads memory
    that is not its own, or ends the process."""
    return any(entry.names(Question(problem=problem, values=values)) for entry in entries_about(backend))


# --- tests ------------------------------------------------------------------------------------------------------------


def test_the_sweep_meets_most_triples() -> None:
    assert sweep()[1] > 0.9


def test_the_exact_answer_is_torchs_too() -> None:
    torch = pytest.importorskip("torch")
    mode = {"zeros": "constant"}
    for problem, _, positive in sweep()[0][:120]:
        x, w, b, exact = integers(problem, 100, positive)
        (top, bottom), (left, right) = problem.padding
        # Through float64, where F.pad knows every mode and these integers are exact.
        padded = torch.nn.functional.pad(
            torch.from_numpy(x).double(),
            (left, right, top, bottom),
            mode.get(problem.padding_mode, problem.padding_mode),
        ).long()
        got = torch.nn.functional.conv2d(
            padded, torch.from_numpy(w), torch.from_numpy(b), problem.stride, 0, problem.dilation, problem.groups
        )
        np.testing.assert_array_equal(exact, got.numpy(), err_msg=problem.case_id)


@each_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_covering_set(backend: Backend, dtype: str) -> None:
    cases = sweep()[0][: COMPILED_CASES if backend.name.startswith("jax") else None]
    cases = [case for case in cases if case[0].dtype == dtype]
    supported = [check(backend, *case) for case in cases]  # all of them, not as far as the first
    if not any(supported):
        pytest.skip(backend.unsupported(cases[0][0]) or f"every {dtype} case here is known to be wrong")


@each_backend
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(problem=forward_problems(), layout=st.sampled_from(FACTORS["layout"]), positive=st.booleans())
def test_random_problems(backend: Backend, problem: ConvProblem, layout: str, positive: bool) -> None:
    check(backend, problem.replace(direction="forward"), layout, positive)


LARGER: dict[str, dict[str, Any]] = {
    "long sum": {"in_channels": 448, "height": 6, "width": 5, "out_channels": 9, "kernel_size": 3, "padding": 1},
    "long sum, 1x1": {"in_channels": 2048, "height": 4, "width": 4, "out_channels": 40, "kernel_size": 1},
    "rows in blocks": {"in_channels": 40, "height": 50, "width": 57, "out_channels": 24, "kernel_size": 5},
    "images in blocks": {"batch": 21, "in_channels": 130, "height": 7, "width": 7, "out_channels": 8, "kernel_size": 3},
    "many groups": {"in_channels": 96, "height": 14, "width": 9, "out_channels": 96, "kernel_size": 3, "groups": 32},
}


@each_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", LARGER)
def test_larger_than_one_block_or_register(backend: Backend, size: str, dtype: str) -> None:
    if backend.name in ("numpy-loop", "scipy-direct") and size == "rows in blocks":
        pytest.skip("has no blocks, and would take seconds")
    problem = ConvProblem(**LARGER[size], bias=True, dtype=dtype)  # type: ignore[arg-type]
    if not check(backend, problem, positive=True):
        pytest.skip(backend.unsupported(problem) or "known to be wrong")


@each_backend
def test_two_at_once(backend: Backend) -> None:
    problem = ConvProblem(in_channels=6, height=9, width=8, out_channels=10, kernel_size=3, padding=((1, 0), (0, 2)))
    other = problem.replace(height=11, groups=2)
    made = []
    for which, seed in ((problem, 0), (problem, 1), (other, 2)):
        x, w, b, exact = operands(backend, which, "contiguous", False, seed)
        made.append((which, exact, backend.prepare(which, x, w, b)))
    outputs = [[ready.run() for *_, ready in made] for _ in range(3)]
    for of_round in outputs:
        for (which, exact, ready), output in zip(made, of_round, strict=True):
            ready.sync()
            check_values(backend, which, ready.to_numpy(output), exact)


@each_backend
def test_infinity_and_nan_without_a_warning(backend: Backend) -> None:
    problem = ConvProblem(in_channels=3, height=9, width=8, out_channels=5, kernel_size=3, padding=1, dtype="float32")
    if known_wrong(backend, problem, "special"):
        pytest.skip("named by the table of known wrong answers")
    x, w, b, exact = operands(backend, problem, "contiguous", False)
    x[0, 1, 4, 4], x[0, 2, 0, 0] = np.nan, np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = computed(backend.prepare(problem, x, w, b))
    touched = np.zeros(got.shape, bool)
    touched[..., 3:6, 3:6] = touched[..., :2, :2] = True
    assert not np.isfinite(got[touched]).any()
    if backend.arithmetic.algorithm in ("direct", "gemm"):  # transforms spread a NaN, which is declared by their name
        np.testing.assert_array_equal(got[~touched], exact[~touched])


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_what_torch_packed_refuses_is_refused_by_onednn(dtype: Any) -> None:
    pytest.importorskip("torch")
    packed = next(b for b in ALL if b.name == "torch-packed")
    problem = ConvProblem(in_channels=3, height=9, width=8, out_channels=5, kernel_size=3, dtype=dtype)
    if packed.unavailable() or packed.unsupported(problem) is None:
        pytest.skip(packed.unavailable() or "supported on this CPU")
    x, w, b, _ = operands(packed, problem, "contiguous", False)
    with pytest.raises(RuntimeError):
        packed.prepare(problem, x, w, b).run()


def test_torch_native_leaves_the_flags_as_they_were() -> None:
    torch = pytest.importorskip("torch")
    native = next(b for b in ALL if b.name == "torch-native")
    problem = ConvProblem(in_channels=3, height=9, width=8, out_channels=5, kernel_size=3)
    x, w, b, _ = operands(native, problem, "contiguous", False)
    ready = native.prepare(problem, x, w, b)
    for enabled in (True, False):
        torch._C._set_mkldnn_enabled(enabled)
        try:
            ready.run()
            assert torch.backends.mkldnn.enabled == enabled
            assert torch._C._get_nnpack_enabled()
        finally:
            torch._C._set_mkldnn_enabled(True)


def test_jax_compiles_a_problem_once() -> None:
    pytest.importorskip("jax")
    module = importlib.import_module("convbench.backends.jax")
    backend = module.BACKENDS[0]
    problem = ConvProblem(in_channels=5, height=9, width=8, out_channels=7, kernel_size=3, dilation=2)
    for seed in range(2):
        x, w, b, exact = operands(backend, problem, "contiguous", False, seed)
        check_values(backend, problem, computed(backend.prepare(problem, x, w, b)), exact)
    compiled = importlib.import_module("convbench.backends._jax.compiled").compiled
    assert compiled(problem, False)._cache_size() == 1


@pytest.mark.parametrize("name", ["jax", "jax-nhwc"])
def test_jax_has_float64_in_its_own_calls_and_leaves_the_process_as_it_is(name: str) -> None:
    jax = pytest.importorskip("jax")
    backend = next(b for b in ALL if b.name == name)
    problem = ConvProblem(in_channels=5, height=9, width=8, out_channels=7, kernel_size=3, bias=True, dtype="float64")
    x, w, b, exact = operands(backend, problem, "contiguous", False)
    ready = backend.prepare(problem, x, w, b)
    check_values(backend, problem, computed(ready), exact)
    other = ready.on["numpy"](2 * x)
    assert other.dtype == np.float64
    assert not jax.config.jax_enable_x64
    assert jax.numpy.ones(1).dtype == np.float32, "as it is in the program that acts on a plan"


CPU_SHARE = """
import importlib, sys, time
from convbench.problem import ConvProblem
backend = {b.name: b for b in importlib.import_module("convbench.backends." + sys.argv[1]).BACKENDS}[sys.argv[2]]
backend.limit_threads(1)
import numpy as np
problem = ConvProblem(in_channels=32, height=64, width=64, out_channels=32, kernel_size=3)
ready = backend.prepare(problem, np.ones(problem.input_shape, "f4"), np.ones(problem.weight_shape, "f4"), None)
for _ in range(5): ready.run()
wall, cpu = time.perf_counter(), time.process_time()
while time.perf_counter() < wall + 0.3: ready.run()
print((time.process_time() - cpu) / (time.perf_counter() - wall))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core shows one thread at most")
@pytest.mark.parametrize(("file", "name"), [("torch", "torch"), ("jax", "jax")])
def test_one_thread_is_one_thread(file: str, name: str) -> None:
    pytest.importorskip(file)
    command = [sys.executable, "-c", CPU_SHARE, file, name]
    share = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(share) < 1.15


@pytest.mark.parametrize("file", FILES)
def test_listing_backends_imports_no_library(file: str) -> None:
    code = f"import sys, convbench.backends.{file} as m; [b.unavailable() for b in m.BACKENDS]; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if f"No module named 'convbench.backends.{file}'" in run.stderr:
        pytest.skip(f"there is no backends/{file}.py")
    assert run.returncode == 0, run.stderr
    heavy = {"numpy", "scipy", "jax", "numba", "ml_dtypes"}
    assert not heavy & set(run.stdout.split())
    from convbench.cuda_driver import cuda_device_count

    assert cuda_device_count() or "torch" not in run.stdout.split()


@each_backend
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_touching_the_input_changes_no_answer(backend: Backend, dtype: Dtype) -> None:
    problem = ConvProblem(in_channels=6, height=9, width=8, out_channels=4, kernel_size=3, padding=1, dtype=dtype)
    if backend.device != "cpu" or backend.unsupported(problem):
        pytest.skip("of a CPU only")
    x, w, b, exact = operands(backend, problem, "contiguous", False)
    ready = backend.prepare(problem, x, w, b)
    assert ready.touch is not None, "every backend that comes with convbench says where its input is"
    before = computed(ready).copy()
    ready.touch()
    check_values(backend, problem, computed(ready), exact)
    np.testing.assert_array_equal(computed(ready), before)
