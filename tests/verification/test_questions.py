"""Questions as text, operands in every layout, the key to each kind of values, and adversarial calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import problems

from convbench.backend import Arithmetic, Backend, Ready
from convbench.errors import ProblemError
from convbench.problem import DTYPES, ConvProblem
from convbench.verification import adversarial_calls
from convbench.verification.adversarial_calls import (
    CHANGED,
    FIRST,
    KEPT,
    REPEATED,
    RETURNED,
    THREADED,
    THREADED_CHANGED,
    examine,
)
from convbench.verification.layouts import lay_out, memory_of
from convbench.verification.operands import NUMPY_DTYPES, Operands, normal_operands
from convbench.verification.oracle import Oracle, oracle_for
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Question
from convbench.verification.reference import convolve

GEMM = Arithmetic("gemm")
seeds = st.integers(0, 2**32 - 1)
forward = problems().map(lambda problem: problem.replace(direction="forward"))


def questions(*values: str) -> st.SearchStrategy[Question]:
    """Any question, or those with `values` only."""
    return st.builds(
        Question,
        problem=forward,
        values=st.sampled_from(values or VALUES),
        layout=st.sampled_from(LAYOUTS),
        calls=st.sampled_from(CALLS),
        seed=seeds,
    )


# --- as text ----------------------------------------------------------------------------------------------------------


@given(questions())
def test_a_question_is_read_back_from_its_text(question: Question) -> None:
    assert Question.parse(str(question)) == question


@given(questions())
def test_its_words_may_come_in_any_order(question: Question) -> None:
    case_id, *words = str(question).split()
    assert Question.parse(" ".join([case_id, *reversed(words)])) == question


def test_other_dialects_of_the_problem_are_read_too() -> None:
    assert str(Question.parse("mb1ic64ih56oc64oh56kh3ph1 wide seed=7")) == "n1c64h56w56_o64k3_p1 wide seed=7"


@pytest.mark.parametrize("text", ["", "wide", "n1c3h9w9_o4k3 wyde", "n1c3h9w9_o4k3 seed=x", "n1c3h9w9_o4k3 seed=-1"])
def test_what_is_no_question_is_refused(text: str) -> None:
    with pytest.raises(ProblemError):
        Question.parse(text)


def test_a_misspelt_word_is_told_with_the_right_one() -> None:
    with pytest.raises(ProblemError, match="Did you mean 'sliced'"):
        Question.parse("n1c3h9w9_o4k3 slices")


# --- layouts ----------------------------------------------------------------------------------------------------------

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@given(shapes, st.sampled_from(LAYOUTS), st.sampled_from(DTYPES))
def test_every_layout_holds_the_same_numbers(shape: tuple[int, ...], layout: Any, dtype: Any) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(NUMPY_DTYPES[dtype])
    laid_out = lay_out(array, layout)
    assert laid_out.dtype == array.dtype
    assert np.array_equal(laid_out, array)
    assert not np.shares_memory(laid_out, array)


def test_layouts_are_what_they_say() -> None:
    array = np.ones((2, 3, 4, 5), np.float32)
    strides = {layout: lay_out(array, layout).strides for layout in LAYOUTS}
    assert strides["contiguous"] == strides["misaligned"] == strides["read-only"] == (240, 80, 20, 4)
    assert strides["channels-last"] == (240, 4, 60, 12)
    assert all(stride < 0 for stride in strides["reversed"])
    assert strides["sliced"][-1] == 8
    assert lay_out(array, "misaligned").ctypes.data % 64 == 4
    assert lay_out(array, "contiguous").ctypes.data % 64 == 0
    assert not lay_out(array, "read-only").flags.writeable
    assert lay_out(np.ones((1, 3, 4, 1), np.float32), "odd-strides").strides == (20, 16, 4, 20)


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "read-only"])
def test_a_write_beside_a_slice_is_a_write_to_its_memory(layout: Any) -> None:
    laid_out = lay_out(np.ones((2, 3, 4, 5), np.float32), layout)
    before = memory_of(laid_out).copy()
    laid_out[1, 2, 3, 4] = 7
    assert not np.array_equal(memory_of(laid_out), before)
    if layout == "sliced":
        laid_out[1, 2, 3, 4] = 1
        assert np.array_equal(memory_of(laid_out), before)
        assert isinstance(laid_out.base, np.ndarray)
        laid_out.base[0, 0, 0, 0] = 7
        assert not np.array_equal(memory_of(laid_out), before)


# --- keys -------------------------------------------------------------------------------------------------------------


def by_torch(problem: ConvProblem, operands: Operands) -> NDArray[Any]:
    """torch's float64 answer, rounded once."""
    (top, bottom), (left, right) = problem.padding
    mode = {"zeros": "constant"}.get(problem.padding_mode, problem.padding_mode)
    parts = (operands.x, operands.w, operands.b)
    x, w, b = (None if part is None else torch.from_numpy(np.array(part, np.float64)) for part in parts)
    padded = torch.nn.functional.pad(x, (left, right, top, bottom), mode=mode) if any((top, bottom, left, right)) else x
    given_ = {"stride": problem.stride, "dilation": problem.dilation, "groups": problem.groups}
    out = torch.nn.functional.conv2d(padded, w, b, **given_).numpy()
    with np.errstate(over="ignore"):
        return np.asarray(out.astype(operands.x.dtype))


def changed(operands: Operands) -> Operands:
    two = operands.w.dtype.type(2)
    return Operands(-operands.x, operands.w * two, None if operands.b is None else -operands.b * two)


@given(questions())
@settings(max_examples=300)
def test_a_right_answer_passes_whatever_the_values_and_so_does_the_one_for_changed_operands(question: Question) -> None:
    key = oracle_for(question, GEMM)
    assert key.values == question.values
    verdict = key.judge(GEMM, by_torch(question.problem, key.operands))
    assert verdict.passed, verdict.reason
    again = key.judge_changed(GEMM, by_torch(question.problem, changed(key.operands)))
    assert again.passed, again.reason


@given(questions("integers", "normal", "wide"), st.sampled_from(["x", "w", "b", "all"]))
@settings(max_examples=150)
def test_a_stale_operand_does_not_pass_for_a_changed_one(question: Question, stale: str) -> None:
    key = oracle_for(question, GEMM)
    new = changed(key.operands)
    parts = {name: getattr(key.operands if stale in (name, "all") else new, name) for name in ("x", "w", "b")}
    right = by_torch(question.problem, new)
    answer = by_torch(question.problem, Operands(**parts))
    far_apart = np.abs(answer.astype(np.float64) - right.astype(np.float64)) > 0.1 * np.abs(key.magnitudes)
    assume(far_apart.any())  # an output that sees nothing but padding, or has no bias, is the same
    assert not key.judge_changed(GEMM, answer).passed


CAREFUL = ConvProblem(in_channels=96, height=9, width=9, out_channels=8, kernel_size=3, padding=1)


def cut(array: NDArray[Any], bits: int) -> NDArray[Any]:
    """float32 with the last `bits` bits of its significand cut off."""
    return (array.view(np.uint32) & np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)).view(np.float32)


@pytest.mark.parametrize(
    ("algorithm", "bits"), [("auto", 13), ("auto", 16), ("winograd", 13), ("gemm", 16), ("gemm", 13), ("gemm", 1)]
)
def test_operands_rounded_in_secret_fail_the_one_tap_question(algorithm: Any, bits: int) -> None:
    """13 bits less is TF32, 16 bfloat16."""
    key = oracle_for(Question(problem=CAREFUL, values="one-tap"), Arithmetic(algorithm))
    x = cut(key.operands.x, bits)
    assert not key.judge(Arithmetic(algorithm), by_torch(CAREFUL, Operands(x, key.operands.w, None))).passed


def test_which_data_that_sums_over_all_channels_would_let_pass_where_the_algorithm_is_not_known() -> None:
    key = oracle_for(Question(problem=CAREFUL, values="normal"), Arithmetic("auto"))
    hidden = by_torch(CAREFUL, Operands(cut(key.operands.x, 13), key.operands.w, None))
    assert key.judge(Arithmetic("auto"), hidden).passed


def test_declared_rounding_of_operands_passes_the_one_tap_question() -> None:
    key = oracle_for(Question(problem=CAREFUL, values="one-tap"), Arithmetic(operand="tf32"))
    answer = by_torch(CAREFUL, Operands(cut(key.operands.x, 13), key.operands.w, None))
    assert key.judge(Arithmetic(operand="tf32"), answer).passed


SPECIAL = ConvProblem(batch=3, in_channels=4, height=12, width=12, out_channels=2, kernel_size=3)


def special() -> tuple[Oracle, NDArray[Any]]:
    for seed in range(50):
        key = oracle_for(Question(problem=SPECIAL, values="special", seed=seed), GEMM)
        right = by_torch(SPECIAL, key.operands)
        images = np.isfinite(right).all((1, 2, 3))
        if np.isnan(right).any() and np.isinf(right).any() and images.any():
            return key, right
    raise AssertionError("no seed places a NaN and an infinity and leaves an image clean")


SPOILT: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "a NaN swallowed": lambda y: np.where(np.isnan(y), np.float32(0), y),
    "an infinity clipped": lambda y: np.clip(y, -3e38, 3e38),
    "an infinity of the other sign": lambda y: np.where(np.isinf(y), -y, y),
    "a NaN for an infinity": lambda y: np.where(np.isinf(y), np.float32(np.nan), y),
    "a NaN too many": lambda y: np.where(np.arange(y.size).reshape(y.shape) == np.isfinite(y).argmax(), np.nan, y),
    "all NaN": lambda y: np.full_like(y, np.nan),
    "a finite one off": lambda y: np.where(np.isfinite(y), y + np.float32(0.01), y),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_special_values_have_to_go_where_they_belong(spoil: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    key, right = special()
    assert key.judge(GEMM, right).passed
    assert not key.judge(GEMM, spoil(right).astype(np.float32)).passed


def test_a_transform_may_spread_a_nan_over_its_image_and_no_further() -> None:
    key, right = special()
    tainted = ~np.isfinite(key.operands.x).all((1, 2, 3))
    assert 0 < tainted.sum() < 3
    spread = np.where(tainted[:, None, None, None], np.float32(np.nan), right)
    assert key.judge(Arithmetic("fft"), spread).passed
    assert not key.judge(GEMM, spread).passed
    assert not key.judge(Arithmetic("fft"), np.full_like(right, np.nan)).passed
    swallowed = np.where(np.isfinite(right), right, np.float32(1))
    assert not key.judge(Arithmetic("fft"), swallowed).passed


# --- conduct ----------------------------------------------------------------------------------------------------------

ASKED = ConvProblem(batch=2, in_channels=3, height=6, width=7, out_channels=4, kernel_size=3, bias=True)


class Right(Backend):
    name = "right"
    thread_safe = True

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        return Ready(lambda: convolve(problem, x, w, b).astype(x.dtype))


class OwnBuffer(Right):
    """Writes each answer to one buffer, as it may."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        kept = np.empty(problem.output_shape, x.dtype)

        def run() -> Any:
            kept[...] = convolve(problem, x, w, b)
            return kept

        return Ready(run)


class Counting(Right):
    """Wrong from its `after`-th call on."""

    def __init__(self, after: int) -> None:
        self.after, self.calls = after, 0

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        def run() -> Any:
            self.calls += 1
            right = convolve(problem, x, w, b).astype(x.dtype)
            return right + 1 if self.calls > self.after else right

        return Ready(run)


class Stale(Right):
    """Answers what it answered to the first operands of a shape."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        return self.known.setdefault(problem.case_id, super().prepare(problem, x, w, b))


class Shared(Right):
    """Prepared once more, it forgets what was prepared before."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        self.x = x
        return Ready(lambda: convolve(problem, self.x, w, b).astype(x.dtype))


class NotThreadSafe(Right):
    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        scratch = np.empty_like(x)

        def run() -> Any:
            scratch[...] = 0
            time.sleep(0.001)
            scratch[...] += x
            return convolve(problem, scratch, w, b).astype(x.dtype)

        return Ready(run)


class OneOutput(Right):
    """Every answer of a shape is written to the same place, whoever asked."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        kept = self.outputs.setdefault(problem.case_id, np.empty(problem.output_shape, x.dtype))

        def run() -> Any:
            kept[...] = convolve(problem, x, w, b)
            return kept

        return Ready(run)


class KnowsWeightsByPlace(Right):
    def __init__(self) -> None:
        self.packed: dict[int, Any] = {}

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        packed = self.packed.setdefault(w.ctypes.data, w.copy())
        return Ready(lambda: convolve(problem, x, packed, b).astype(x.dtype))


class Unwritten(Right):
    """Leaves its last row as it finds it."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        def run() -> Any:
            out = np.empty(problem.output_shape, x.dtype)
            out[:, :, :-1] = convolve(problem, x, w, b)[:, :, :-1]
            return out

        return Ready(run)


class WritesBeside(Right):
    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        def run() -> Any:
            memory = x.base if isinstance(x.base, np.ndarray) else x
            memory.reshape(-1)[0] = 5
            return convolve(problem, x, w, b).astype(x.dtype)

        return Ready(run)


def phases(backend: Backend, calls: Any = "few", layout: Any = "contiguous") -> list[str]:
    answered = examine(backend, ASKED, normal_operands(ASKED, 0), layout, calls)
    return [answer.phase for answer in answered.answers]


@pytest.mark.parametrize("backend", [Right(), OwnBuffer()], ids=["fresh outputs", "one buffer"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_steady_backend_gives_one_answer(backend: Backend, layout: Any) -> None:
    assert phases(backend, "many", layout) == [FIRST]
    assert examine(backend, ASKED, normal_operands(ASKED, 0), layout, "few").overwritten is None


def test_what_differs_later_is_handed_over_to_be_judged() -> None:
    assert phases(Counting(1)) == [FIRST, REPEATED, CHANGED, KEPT, RETURNED]
    assert phases(Counting(20), "few") == [FIRST]
    assert phases(Counting(20), "many")[:2] == [FIRST, REPEATED]
    assert phases(Stale(), "many") == [FIRST, CHANGED]
    assert phases(Shared(), "many") == [FIRST, RETURNED]
    assert phases(OneOutput()) == [FIRST, KEPT]
    assert phases(KnowsWeightsByPlace()) == [FIRST, CHANGED]
    assert phases(NotThreadSafe(), "few") == [FIRST]
    assert set(phases(NotThreadSafe(), "threads")) & {THREADED, THREADED_CHANGED}
    assert phases(Right(), "threads") == [FIRST]


def test_memory_is_dirty_when_a_backend_allocates() -> None:
    [first, *_] = examine(Unwritten(), ASKED, normal_operands(ASKED, 0), "contiguous", "few").answers
    assert np.isnan(first.output[:, :, -1]).any()


def test_a_write_to_the_input_or_beside_it_is_seen() -> None:
    for layout in ("contiguous", "sliced"):
        conducted = examine(WritesBeside(), ASKED, normal_operands(ASKED, 0), layout, "few")
        assert conducted.overwritten == "the input"


def test_an_error_in_a_thread_is_not_lost() -> None:
    class Raises(Right):
        def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
            import threading

            def run() -> Any:
                if threading.current_thread() is not threading.main_thread():
                    raise RuntimeError("only from the main thread")
                return convolve(problem, x, w, b).astype(x.dtype)

            return Ready(run)

    with pytest.raises(RuntimeError, match="only from the main thread"):
        phases(Raises(), "threads")


def test_many_calls_end_in_good_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Right):
        calls = 0

        def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
            def run() -> Any:
                self.calls += 1
                time.sleep(0.02)
                return convolve(problem, x, w, b).astype(x.dtype)

            return Ready(run)

    slow = Slow()
    monkeypatch.setattr(adversarial_calls, "_MANY_S", 0.1)
    assert phases(slow, "many") == [FIRST]
    assert slow.calls < 20
