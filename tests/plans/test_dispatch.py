"""`conv2d` and `Conv2d`: who computes, answers that are right and the caller's own, and weights that change."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from places import PLUGINS
from strategies import problems

import convbench
from convbench.errors import BackendError, PlanError, ProblemError
from convbench.measurement.machine.facts import machine_facts
from convbench.plans import dispatch, resolution
from convbench.plans.plan import Choice, Plan
from convbench.plans.resolution import PlanWarning
from convbench.problem import ConvProblem
from convbench.verification.operands import NUMPY_DTYPES, normal_operands
from convbench.verification.reference import convolve

PLUGIN = PLUGINS / "planned.py"
PLUGINS = (str(PLUGIN),)
PROBLEM = ConvProblem.parse("n2c4h6w5_o6k3_s2x1_p1_g2_bias")


def plan_for(problem: ConvProblem, backend: str, **words: Any) -> Plan:
    choice = Choice(case_id=problem.case_id, backend=backend, basis="measured", call_s=1.0, low_s=1.0, high_s=1.0)
    given = {"machine": "here", "cpu": machine_facts()["cpu"], "threads": 1, "made": "2026-11-22", "choices": (choice,)}
    return Plan(**(given | words))


def words_of(problem: ConvProblem) -> dict[str, Any]:
    return {
        "stride": problem.stride,
        "padding": problem.padding,
        "dilation": problem.dilation,
        "groups": problem.groups,
        "padding_mode": problem.padding_mode,
    }


def right(problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
    return convolve(problem, x, w, b).astype(x.dtype)


def close(got: Any, expected: Any) -> bool:
    return got.shape == expected.shape and got.dtype == expected.dtype and np.allclose(got, expected, 1e-4, 1e-4)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    dispatch._kept.clear()
    resolution._warned.clear()
    yield
    dispatch._kept.clear()


@pytest.fixture
def prepared() -> list[str]:
    """The backends that the plugin had prepared, from now on."""
    resolution.registry_with((PLUGIN,))
    [module] = [module for name, module in sys.modules.items() if name.startswith("convbench_plugin_planned")]
    module.PREPARED.clear()
    found: list[str] = module.PREPARED
    return found


# --- answers ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(problems().map(lambda problem: problem.replace(direction="forward")))
def test_any_convolution_is_computed_as_the_reference_does(problem: ConvProblem) -> None:
    given = normal_operands(problem, 0)
    plan = plan_for(problem, "reference")
    got = convbench.conv2d(given.x, given.w, given.b, **words_of(problem), plan=plan, plugins=PLUGINS, strict=True)
    expected = right(problem, given.x, given.w, given.b)
    assert got.dtype == NUMPY_DTYPES[problem.dtype]
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "backend", ["numpy-gemm", "torch", "torch-channels-last", "torch-packed", "numba-direct", "jax"]
)
@pytest.mark.parametrize("arrays", ["numpy", "torch"])
def test_the_main_backends_take_arrays_and_tensors(backend: str, arrays: str) -> None:
    torch = pytest.importorskip("torch")
    found = next((e for e in resolution.registry_with(()) if e.name == backend), None)
    if found is None or found.unavailable():
        pytest.skip(f"no {backend}")
    given, other = normal_operands(PROBLEM, 0), normal_operands(PROBLEM, 1)
    conv = convbench.Conv2d(given.w, given.b, **words_of(PROBLEM), plan=plan_for(PROBLEM, backend), strict=True)
    answers = []
    for x in (given.x, other.x, np.ascontiguousarray(given.x).transpose(0, 1, 3, 2)[..., ::-1].transpose(0, 1, 3, 2)):
        x = x if arrays == "numpy" else np.ascontiguousarray(x)
        answer = conv(torch.from_numpy(x) if arrays == "torch" else x)
        assert isinstance(answer, torch.Tensor if arrays == "torch" else np.ndarray)
        answers.append((np.asarray(answer), right(PROBLEM, x, given.w, given.b)))
    assert all(close(got, expected) for got, expected in answers)  # each kept while others were computed
    assert conv.backends == {PROBLEM.case_id: backend}


def test_an_answer_is_the_callers_own_and_the_input_is_left_alone(prepared: list[str]) -> None:
    given = normal_operands(PROBLEM, 0)
    before = given.x.copy()
    plan = plan_for(PROBLEM, "reference")
    first = convbench.conv2d(given.x, given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS)
    first[...] = 7
    second = convbench.conv2d(given.x, given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS)
    assert close(second, right(PROBLEM, before, given.w, given.b))
    assert np.array_equal(given.x, before)
    assert prepared == ["reference"]


@pytest.mark.parametrize(("default", "computes"), [(None, "numpy-gemm"), ("reference", "reference")])
def test_a_backend_that_would_be_prepared_in_each_call_is_passed_over_and_that_is_said_once(
    default: str | None, computes: str, prepared: list[str]
) -> None:
    given, other = normal_operands(PROBLEM, 0), normal_operands(PROBLEM, 1)
    plan = plan_for(PROBLEM, "bound", default=default)
    conv = convbench.Conv2d(given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS)
    with pytest.warns(PlanWarning, match=f"bound takes no other input .* {computes} computes it") as warned:
        answers = [conv(one.x) for one in (given, other, given)]
    assert len(warned) == 1 and prepared.count("bound") == 1
    for got, one in zip(answers, (given, other, given), strict=True):
        assert close(got, right(PROBLEM, one.x, given.w, given.b))
    assert conv.backends == {PROBLEM.case_id: computes}
    with pytest.raises(PlanError, match="bound takes no other input"):
        convbench.conv2d(given.x, given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS, strict=True)


def test_bfloat16_tensors_are_computed_by_backends_that_take_arrays() -> None:
    torch = pytest.importorskip("torch")
    problem = PROBLEM.replace(dtype="bfloat16")
    given = normal_operands(problem, 0)
    x, w, b = (torch.from_numpy(one.astype(np.float32)).bfloat16() for one in (given.x, given.w, given.b))
    got = convbench.conv2d(x, w, b, **words_of(problem), plan=plan_for(problem, "reference"), plugins=PLUGINS)
    assert got.dtype == torch.bfloat16
    expected = right(problem, given.x, given.w, given.b).astype(np.float32)
    assert np.array_equal(got.float().numpy(), expected)


# --- weights that change ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["w", "b"])
def test_a_numpy_weight_that_is_written_to_is_noticed(which: str, prepared: list[str]) -> None:
    given = normal_operands(PROBLEM, 0)
    w, b = given.w.copy(), given.b.copy()
    words = words_of(PROBLEM) | {"plan": plan_for(PROBLEM, "reference"), "plugins": PLUGINS}
    for _ in range(3):
        assert close(convbench.conv2d(given.x, w, b, **words), right(PROBLEM, given.x, w, b))
        assert close(convbench.conv2d(given.x, w, b, **words), right(PROBLEM, given.x, w, b))
        (w if which == "w" else b)[0] += 1
    assert len(prepared) == 3


def test_a_read_only_view_of_a_weight_that_is_written_to_is_noticed() -> None:
    given = normal_operands(PROBLEM, 0)
    w = given.w.copy()
    view = w[:]
    view.flags.writeable = False
    words = words_of(PROBLEM) | {"plan": plan_for(PROBLEM, "reference"), "plugins": PLUGINS}
    convbench.conv2d(given.x, view, given.b, **words)
    w *= 2
    assert close(convbench.conv2d(given.x, view, given.b, **words), right(PROBLEM, given.x, w, given.b))


def test_a_tensor_that_is_written_to_is_noticed(prepared: list[str]) -> None:
    torch = pytest.importorskip("torch")
    given = normal_operands(PROBLEM, 0)
    x, w, b = (torch.from_numpy(one.copy()) for one in (given.x, given.w, given.b))
    words = words_of(PROBLEM) | {"plan": plan_for(PROBLEM, "reference"), "plugins": PLUGINS}
    for _ in range(3):
        for _ in range(2):
            got = convbench.conv2d(x, w, b, **words)
            assert close(got.numpy(), right(PROBLEM, x.numpy(), w.numpy(), b.numpy()))
        w.mul_(2)
    assert len(prepared) == 3


def test_a_weight_that_is_gone_is_forgotten_and_another_in_its_place_is_not_taken_for_it() -> None:
    given = normal_operands(PROBLEM, 0)
    words = words_of(PROBLEM) | {"plan": plan_for(PROBLEM, "reference"), "plugins": PLUGINS}
    for scale in range(1, 10):
        w = given.w * np.float32(scale)
        w.flags.writeable = False
        assert close(convbench.conv2d(given.x, w, given.b, **words), right(PROBLEM, given.x, w, given.b))
        del w
    assert len(dispatch._kept) == 0


def test_no_more_than_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MOST_KEPT", 3)
    given = normal_operands(PROBLEM, 0)
    weights = [given.w * np.float32(scale) for scale in range(6)]
    words = words_of(PROBLEM) | {"plan": plan_for(PROBLEM, "reference"), "plugins": PLUGINS}
    for w in [*weights, *weights]:
        assert close(convbench.conv2d(given.x, w, given.b, **words), right(PROBLEM, given.x, w, given.b))
    assert len(dispatch._kept) == 3


def test_a_conv2d_object_has_weights_of_its_own() -> None:
    given = normal_operands(PROBLEM, 0)
    w, b = given.w.copy(), given.b.copy()
    conv = convbench.Conv2d(w, b, **words_of(PROBLEM))
    w[...] = b[...] = 0
    assert close(conv(given.x), right(PROBLEM, given.x, given.w, given.b))


# --- what cannot be as planned ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "words", "said"),
    [
        ("reference-2", {}, r"'reference-2' is no backend here. Did you mean 'reference'\?"),
        ("unavailable", {}, "cannot run here: a_module_that_does_not_exist not installed"),
        ("pointwise", {}, "computes one tap only"),
        ("reference", {"cpu": "Abacus 1"}, "another CPU"),
        ("numpy-gemm", {"versions": {"numpy": "0.1"}}, "made with numpy '0.1'"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_warned_of_once_and_refused_when_strict(
    backend: str, words: dict[str, Any], said: str
) -> None:
    given = normal_operands(PROBLEM, 0)
    plan = plan_for(PROBLEM, backend, **words)
    conv = convbench.Conv2d(given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS)
    with pytest.warns(PlanWarning, match=said) as warned:
        got = conv(given.x)
    assert {Path(one.filename).name for one in warned} == {Path(__file__).name}
    assert close(got, right(PROBLEM, given.x, given.w, given.b))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convbench.Conv2d(given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS)(given.x)
    with pytest.raises(PlanError, match=said):
        convbench.conv2d(given.x, given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS, strict=True)


def test_what_is_not_in_the_plan_goes_to_its_default_and_the_closest_is_named() -> None:
    given = normal_operands(PROBLEM, 0)
    plan = plan_for(PROBLEM.replace(batch=1), "numpy-gemm", default="reference")
    conv = convbench.Conv2d(given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS)
    with pytest.warns(PlanWarning, match=f"{PROBLEM} is not in the plan, which has .* where batch is 1"):
        got = conv(given.x)
    assert close(got, right(PROBLEM, given.x, given.w, given.b))
    assert conv.backends == {PROBLEM.case_id: "reference"}


def test_without_a_plan_who_computes_everything_computes_and_nothing_is_warned() -> None:
    torch = pytest.importorskip("torch")
    given = normal_operands(PROBLEM, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conv = convbench.Conv2d(given.w, given.b, **words_of(PROBLEM))
        assert close(conv(given.x), right(PROBLEM, given.x, given.w, given.b))
        assert conv.backends == {PROBLEM.case_id: "numpy-gemm"}
        assert close(conv(torch.from_numpy(given.x)).numpy(), right(PROBLEM, given.x, given.w, given.b))
        assert conv.backends == {PROBLEM.case_id: "torch"}


@pytest.mark.parametrize(("backend", "said"), [("impatient", "RuntimeError: no patience"), ("misshapen", "shape")])
def test_a_backend_that_fails_is_named(backend: str, said: str) -> None:
    given = normal_operands(PROBLEM, 0)
    plan = plan_for(PROBLEM, backend)
    with pytest.raises(BackendError, match=f"{backend} .*{said}"):
        convbench.conv2d(given.x, given.w, given.b, **words_of(PROBLEM), plan=plan, plugins=PLUGINS)


def test_operands_that_do_not_fit_are_refused_with_their_numbers() -> None:
    x, w, b = (np.zeros(shape, np.float32) for shape in ((1, 4, 5, 5), (6, 4, 3, 3), (6,)))
    for operands, said in (
        ((x[0], w, b), "x has shape"),
        ((x, w[0], b), "w has shape"),
        ((x, w, b[:-1]), "bias"),
        ((x, w, b.astype(np.float64)), "bias is float64"),
        ((x.astype(np.float64), w, b), "x is float64 and w is float32"),
        ((x[:, :3], w, b), "x has 3 channels"),
        ((x.astype(">f4"), w, b), "byte order"),
        ((x.astype(np.int32), w, b), "x is int32"),
        ((x.tolist(), w, b), "x is of type list"),
        ((x, w.tolist(), b), "w is of type list"),
    ):
        with pytest.raises(ProblemError, match=said):
            convbench.conv2d(*operands)
    with pytest.raises(ProblemError, match="groups"):
        convbench.conv2d(x, w, b, groups=5)
    with pytest.raises(PlanError, match="plan is of type int"):
        convbench.conv2d(x, w, b, plan=3)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="there is no such file"):
        convbench.conv2d(x, w, b, plan="no-such-plan.json")


def test_gradients_are_refused_and_not_dropped() -> None:
    torch = pytest.importorskip("torch")
    x, w = torch.ones(1, 2, 4, 4), torch.ones(3, 2, 3, 3, requires_grad=True)
    for operands in ((x, w), (x.clone().requires_grad_(), w.detach())):
        with torch.no_grad():
            assert convbench.conv2d(*operands).shape == (1, 3, 2, 2)
        with pytest.raises(PlanError, match="gradient"):
            convbench.conv2d(*operands)


# --- as it is used ----------------------------------------------------------------------------------------------------


def test_arguments_take_the_forms_that_torch_takes_and_a_plan_may_be_a_file(
    tmp_path: Path, prepared: list[str]
) -> None:
    functional = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    x, w = torch.randn(2, 4, 7, 6), torch.randn(6, 2, 3, 3)
    plan = tmp_path / "plan.json"
    for words in (
        {},
        {"stride": 2},
        {"stride": [2, 1], "padding": [1, 0]},
        {"padding": "same", "dilation": (2, 1)},
        {"padding": "valid"},
    ):
        conv = convbench.Conv2d(w, groups=2, **words)
        plan_for(conv.problem(x), "reference").write(plan)
        for place in (plan, str(plan)):
            dispatch._read_once.cache_clear()
            got = convbench.conv2d(x, w, groups=2, **words, plan=place, plugins=PLUGINS, strict=True)
            assert close(got.numpy(), functional.conv2d(x, w, groups=2, **words).numpy())
    assert set(prepared) == {"reference"}


def test_threads_that_call_at_once_each_get_their_own_answer() -> None:
    weights = normal_operands(PROBLEM, 0)
    conv = convbench.Conv2d(
        weights.w, weights.b, **words_of(PROBLEM), plan=plan_for(PROBLEM, "reference"), plugins=PLUGINS
    )
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = normal_operands(PROBLEM, seed).x
        expected = right(PROBLEM, x, weights.w, weights.b)
        wrong.extend(seed for _ in range(20) if not np.array_equal(conv(x), expected))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_importing_the_package_costs_nothing_and_its_names_are_found() -> None:
    import subprocess

    code = (
        "import convbench, sys; names = [n for n in ('numpy', 'torch', 'pandas') if n in sys.modules]; "
        "print(names, all(hasattr(convbench, n) for n in convbench.__all__), hasattr(convbench, 'nonsense'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "True", "False"]
