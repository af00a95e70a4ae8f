"""`apply` on real torch models: outputs agree, wrong layers are left, the model given stays as it was, and the report
is honest."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from places import PLUGINS

import convbench
from convbench.backend import Arithmetic
from convbench.errors import PlanError
from convbench.measurement.machine.facts import machine_facts
from convbench.plans.applied import Applied
from convbench.plans.equivalence import compare_outputs, outputs_in_float64, outputs_of
from convbench.plans.layers import follow_plan, layers_that_run
from convbench.plans.plan import Choice, Plan
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.verification.operands import normal_operands
from convbench.verification.oracle import Oracle
from convbench.verification.reference import convolve

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.usefixtures("torch_on_one_thread")


PLUGIN = PLUGINS / "planned.py"


class Block(nn.Module):  # type: ignore[misc]
    """A residual block, as in ResNet."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, groups=2)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Any) -> Any:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.conv2(y) + self.shortcut(x))


def small_resnet() -> Any:
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Block(8, 16, 2), Block(16, 16, 1), head).eval()


def example() -> Any:
    return torch.randn(1, 3, 20, 18, generator=torch.Generator().manual_seed(1))


def plan_of(model: Any, x: Any, backends: Any, **words: Any) -> Plan:
    """A plan for every convolution of the model; `backends` is one name, or names by layer."""
    choices: dict[str, Choice] = {}
    for layer in layers_that_run(model, (x,)):
        backend = backends if isinstance(backends, str) else backends.get(layer.name)
        for problem in layer.problems.values():
            if backend is not None:
                seconds = {"call_s": 1.0, "low_s": 1.0, "high_s": 1.0}
                choices[problem.case_id] = Choice(
                    case_id=problem.case_id, backend=backend, basis="measured", layer=layer.name, **seconds
                )
    given = {"machine": "here", "cpu": machine_facts()["cpu"], "threads": torch.get_num_threads(), "made": "2026"}
    return Plan(**(given | {"choices": tuple(choices.values())} | words))


def applied(model: Any, backends: Any, **words: Any) -> Applied:
    plan = plan_of(model, example(), backends)
    return convbench.apply(model, plan, example(), seconds=0.1, plugins=[PLUGIN], **words)


def outputs(model: Any, x: Any) -> Any:
    with torch.no_grad():
        return model(x)


ALL_LAYERS = ["0", "1.conv1", "1.conv2", "1.shortcut", "2.conv1", "2.conv2", "2.shortcut"]


# --- what is changed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backend", ["torch-channels-last", "torch-packed", "torch-native", "numba-direct", "numpy-gemm"]
)
def test_the_changed_model_computes_what_the_unchanged_one_does(backend: str) -> None:
    [entry] = [entry for entry in discover() if entry.name == backend]
    if reason := entry.unavailable():
        pytest.skip(reason)
    model = small_resnet()
    found = applied(model, backend, even_if_slower=True)
    assert [change.layer for change in found.report.layers_changed] == ALL_LAYERS
    assert {name for change in found.report.layers_changed for _, name in change.backends} == {backend}
    assert found.report.kept
    assert found.report.agreement is not None
    assert found.report.agreement.agrees
    for seed in range(3):
        x = torch.randn(1, 3, 20, 18, generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(outputs(found.model, x), outputs(model, x), rtol=1e-4, atol=1e-5)


def test_a_layer_that_is_planned_computes_by_the_plan_and_others_do_not() -> None:
    model = small_resnet()
    found = applied(model, {"1.conv1": "off-by-one", "1.shortcut": "reference"}, even_if_slower=True)
    report = found.report
    assert [change.layer for change in report.layers_changed] == ["1.shortcut"]
    left = {one.layer: one.why for one in report.layers_left}
    assert "off-by-one is wrong here: bound check" in left["1.conv1"]
    assert "is not in the plan" in left["0"]
    assert set(left) == set(ALL_LAYERS) - {"1.shortcut"}
    assert type(found.model[1].shortcut) is not nn.Conv2d
    assert type(found.model[1].conv1) is nn.Conv2d


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        ("torch", "torch computes it already"),
        ("unavailable", "cannot run here"),
        ("nonsense", "is no backend here"),
        ("impatient", "no patience"),
        ("misshapen", "misshapen answers"),
        ("bound", "takes no other input"),
        ("off-by-one", "is wrong here"),
    ],
)
def test_layers_that_cannot_be_changed_are_left_with_the_reason(backend: str, why: str) -> None:
    model = small_resnet()
    found = applied(model, backend, even_if_slower=True)
    assert found.model is model
    assert not found.report.kept
    assert [one.layer for one in found.report.layers_left] == ALL_LAYERS
    assert all(why in one.why for one in found.report.layers_left)
    assert found.report.sentence == "Nothing that the plan says makes this model faster: it is given unchanged."


def test_convolutions_that_are_more_than_nn_conv2d_are_left() -> None:
    class Scaled(nn.Conv2d):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return 2 * super().forward(x)

    hooked = nn.Conv2d(3, 3, 1)
    hooked.register_forward_hook(lambda module, inputs, output: output + 1)
    plain = nn.Conv2d(3, 3, 1)
    model = nn.Sequential(Scaled(3, 3, 1), hooked, plain)
    model.never = nn.Conv2d(3, 3, 1)
    model.forward = lambda x: plain(hooked(model[0](x)))
    model.eval()
    x = example()
    found = convbench.apply(
        model, plan_of(model, x, "reference"), x, seconds=0.1, plugins=[PLUGIN], even_if_slower=True
    )
    left = {one.layer: one.why for one in found.report.layers_left}
    assert "class Scaled" in left["0"]
    assert "hooks" in left["1"]
    assert "does not run" in left["never"]
    assert "2" not in left


# --- what is given back -----------------------------------------------------------------------------------------------


def test_a_slower_model_is_not_given_and_the_report_says_so() -> None:
    model = small_resnet()
    found = applied(model, "idle")
    assert found.model is model
    assert not found.report.kept
    assert found.report.sentence.endswith("unchanged.") or "the unchanged one is given" in found.report.sentence
    forced = applied(model, "idle", even_if_slower=True)
    assert forced.report.kept
    assert forced.report.ratio < 1
    assert forced.report.after_s > forced.report.before_s
    sure = forced.report.high < 1  # on a machine that is busy enough nobody is
    assert ("is slower" in str(forced.report)) == sure


def test_the_model_given_stays_as_it_was() -> None:
    model = small_resnet()
    before = copy.deepcopy(model.state_dict())
    strides = [parameter.stride() for parameter in model.parameters()]
    found = applied(model, "torch-channels-last", even_if_slower=True)
    assert found.model is not model
    assert [parameter.stride() for parameter in model.parameters()] == strides
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert {type(module) for module in model.modules() if isinstance(module, nn.Conv2d)} == {nn.Conv2d}


def test_in_place_it_is_the_model_itself_that_changes() -> None:
    model = small_resnet()
    expected = outputs(model, example())
    found = applied(model, "reference", even_if_slower=True, in_place=True)
    assert found.model is model
    assert type(model[0]) is not nn.Conv2d
    assert torch.allclose(outputs(model, example()), expected, rtol=1e-4, atol=1e-5)


def test_a_model_in_training_and_what_is_no_model_are_refused() -> None:
    model = small_resnet()
    plan = plan_of(model, example(), "reference")
    with pytest.raises(PlanError, match="training mode"):
        convbench.apply(model.train(), plan, example())
    with pytest.raises(PlanError, match=r"torch\.nn\.Module"):
        convbench.apply(lambda x: x, plan, example())


def test_another_machine_and_other_threads_are_noted() -> None:
    model = small_resnet()
    plan = plan_of(model, example(), "reference", cpu="Abacus 1", threads=torch.get_num_threads() + 1)
    report = convbench.apply(model, plan, example(), seconds=0.1, plugins=[PLUGIN]).report
    assert any("Abacus 1" in note for note in report.notes)
    assert any("threads" in note for note in report.notes)
    assert all(note in str(report) for note in report.notes)


# --- a layer that follows a plan --------------------------------------------------------------------------------------


def planned(conv: Any, shape: tuple[int, ...]) -> list[int]:
    """`conv` answers inputs of `shape` with zeros; the list grows with each such call."""
    calls: list[int] = []

    def call(x: Any) -> Any:
        calls.append(1)
        return torch.zeros_like(nn.functional.conv2d(x, conv.weight))

    follow_plan(conv, {shape: call})
    return calls


def test_a_planned_layer_computes_as_before_for_what_it_was_not_planned_for() -> None:
    conv = nn.Conv2d(2, 3, 3, bias=False).eval()
    plain = copy.deepcopy(conv)
    x = torch.randn(1, 2, 5, 5)
    calls = planned(conv, (1, 2, 5, 5))
    assert outputs(conv, x).abs().max() == 0
    assert len(calls) == 1
    for other in (torch.randn(2, 2, 5, 5), torch.randn(1, 2, 6, 5)):
        assert torch.equal(outputs(conv, other), outputs(plain, other))
    assert torch.equal(conv(x), plain(x))
    conv(x).sum().backward()
    assert conv.weight.grad is not None
    assert len(calls) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda conv: conv.weight.mul_(2),
        lambda conv: conv.load_state_dict({"weight": torch.ones_like(conv.weight)}),
        lambda conv: setattr(conv, "weight", nn.Parameter(torch.ones_like(conv.weight))),
        lambda conv: conv.to(memory_format=torch.channels_last),
        lambda conv: follow_plan(conv, {}),
    ],
    ids=["in place", "loaded", "replaced", "moved", "restored"],
)
def test_a_planned_layer_whose_weights_change_computes_with_the_new_ones(change: Any) -> None:
    conv = nn.Conv2d(2, 3, 3, bias=False).eval()
    calls = planned(conv, (1, 2, 5, 5))
    with torch.no_grad():
        change(conv)
    x = torch.randn(1, 2, 5, 5)
    assert torch.allclose(outputs(conv, x), nn.functional.conv2d(x, conv.weight), atol=1e-6)
    assert calls == []


def test_copies_of_a_planned_layer_are_plain_and_its_state_has_the_same_names() -> None:
    conv = nn.Conv2d(2, 3, 3).eval()
    names = list(conv.state_dict())
    planned(conv, (1, 2, 5, 5))
    assert list(conv.state_dict()) == names
    saved = io.BytesIO()
    torch.save(conv, saved)
    saved.seek(0)
    x = torch.randn(1, 2, 5, 5)
    for other in (copy.deepcopy(conv), torch.load(saved, weights_only=False)):
        assert type(other) is nn.Conv2d
        assert torch.allclose(outputs(other, x), nn.functional.conv2d(x, conv.weight, conv.bias), atol=1e-6)


# --- agreement --------------------------------------------------------------------------------------------------------


def test_a_layer_is_judged_by_its_bound() -> None:
    problem = ConvProblem.parse("n1c4h6w6_o3k3_p1_bias")
    given = normal_operands(problem, 0)
    right = convolve(problem, given.x, given.w, given.b).astype(np.float32)
    oracle = Oracle(problem, given, "normal")
    assert oracle.judge(Arithmetic("direct"), right).passed
    wrong = right.copy()
    wrong[0, 1, 2, 3] *= np.float32(1.001)
    assert oracle.judge(Arithmetic("direct"), wrong).element == (0, 1, 2, 3)


def test_a_model_that_rounds_otherwise_agrees_and_one_that_is_off_does_not() -> None:
    model, x = small_resnet(), example()
    exact = outputs_in_float64(model, (x,))
    assert exact is not None
    assert exact[0].dtype == np.float64
    reordered = copy.deepcopy(model).to(memory_format=torch.channels_last)
    assert compare_outputs(model, reordered, (x,), exact).agrees
    off = copy.deepcopy(model)
    with torch.no_grad():
        off[1].conv1.weight.mul_(1.001)
    assert not compare_outputs(model, off, (x,), exact).agrees
    assert not compare_outputs(model, off, (x,), None).agrees
    with torch.no_grad():
        off[3][2].bias[0] = float("nan")
    assert compare_outputs(model, off, (x,), exact).changed == float("inf")


@dataclass
class Outputs:
    """As libraries of models give them."""

    logits: Any
    loss: Any


OUTPUTS: dict[str, Callable[[Any], Any]] = {
    "0-d": lambda y: y.sum(),
    "a number": lambda y: y.sum().item(),
    "a tuple with 0-d, None and integers": lambda y: (y, None, y.mean(), y.argmax()),
    "a dict": lambda y: {"logits": y, "loss": y.mean(), "name": "net", "of": [{"a": y}]},
    "a dataclass": lambda y: Outputs(y, y.mean()),
    "integers alone": lambda y: y.argmax(1),
    "a truth": lambda y: bool(y.sum() > 1e9),
    "complex": lambda y: y * (1 + 2j),
    "complex 0-d": lambda y: (y * 1j).sum(),
    "sparse": lambda y: y.to_sparse(),
    "nothing in it": lambda y: (y[:0], y.mean()),
    "an iterator": lambda y: iter((y, y.mean())),
}


class Giving(nn.Module):  # type: ignore[misc]
    """A model that gives its output in that form."""

    def __init__(self, form: Callable[[Any], Any]) -> None:
        super().__init__()
        self.model, self.form = small_resnet(), form

    def forward(self, x: Any) -> Any:
        return self.form(self.model(x))


@pytest.mark.parametrize("form", OUTPUTS)
def test_outputs_of_any_shape_are_compared(form: str) -> None:
    model, x = Giving(OUTPUTS[form]).eval(), example()
    exact = outputs_in_float64(model, (x,))
    assert exact
    assert compare_outputs(model, copy.deepcopy(model), (x,), exact).agrees
    off = copy.deepcopy(model)
    with torch.no_grad():
        off.model[3][2].bias.add_(torch.tensor([0.0, 9e10, 0.0, 0.0, 1.0]))
    if form != "integers alone" or not torch.equal(model(x), off(x)):
        assert not compare_outputs(model, off, (x,), exact).agrees


def test_a_model_whose_output_is_a_scalar_follows_a_plan() -> None:
    model = Giving(lambda y: y.sum()).eval()
    found = applied(model, "numpy-gemm", even_if_slower=True)
    assert found.report.kept and found.report.agreement is not None and found.report.agreement.agrees
    assert outputs(found.model, example()).shape == ()


def test_a_model_that_gives_no_numbers_is_told_so() -> None:
    with pytest.raises(PlanError, match="no tensor and no number"):
        outputs_of(Giving(lambda y: None).eval(), (example(),))


class ByName(nn.Module):  # type: ignore[misc]
    """Gives its layer the input by name, and perhaps under autocast."""

    def __init__(self, autocast: bool) -> None:
        super().__init__()
        self.conv, self.autocast = nn.Conv2d(3, 4, 3), autocast

    def forward(self, x: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            return self.conv(input=x)


def test_a_layer_that_gets_its_input_by_name_follows_a_plan() -> None:
    found = applied(ByName(autocast=False).eval(), "numpy-gemm", even_if_slower=True)
    assert [change.layer for change in found.report.layers_changed] == ["conv"]


class OverwritesItsInput(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.body = small_resnet()

    def forward(self, x: Any) -> Any:
        return self.body(x.relu_())


def test_it_may_be_called_in_inference_mode() -> None:
    model = OverwritesItsInput().eval()
    with torch.inference_mode():
        found = applied(model, "torch-channels-last", even_if_slower=True)
        assert torch.is_inference_mode_enabled()
        inside = found.model(example())
    assert [change.layer for change in found.report.layers_changed] == [f"body.{name}" for name in ALL_LAYERS]
    assert not any(parameter.is_inference() for parameter in found.model.parameters())
    assert torch.allclose(inside, outputs(model, example()), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        found.model.body[0].weight.zero_()
        assert not torch.allclose(found.model(example()), inside)


@pytest.mark.parametrize("called_in_it", [False, True])
def test_a_layer_whose_parameters_were_made_in_inference_mode_is_left(called_in_it: bool) -> None:
    model = small_resnet()
    with torch.inference_mode():
        model[0].bias = nn.Parameter(torch.zeros(8), requires_grad=False)
        model[1].conv1 = nn.Conv2d(8, 16, 3, 2, 1, bias=False).eval()
    with torch.inference_mode(called_in_it):
        report = applied(model, "torch-channels-last", even_if_slower=True).report
    assert {one.layer for one in report.layers_left if "inference tensor" in one.why} == {"0", "1.conv1"}
    assert {change.layer for change in report.layers_changed} == set(ALL_LAYERS) - {"0", "1.conv1"}


def test_a_layer_under_autocast_is_left_and_said_to_be() -> None:
    model = ByName(autocast=True).eval()
    [layer] = layers_that_run(model, (example(),))
    assert layer.refusal is not None and "torch.autocast" in layer.refusal
    # Planned without autocast, and run under it: it computes as torch does.
    [layer] = layers_that_run(ByName(autocast=False).eval(), (example(),))
    before = outputs(model, example())
    follow_plan(model.conv, dict.fromkeys(layer.problems, lambda x: x * float("nan")))
    assert torch.equal(outputs(model, example()), before)
