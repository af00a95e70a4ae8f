"""`apply` with what is joined to convolutions: it computes the same, only what is right is used, and the model stays
what it was."""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deployed_models import SHAPE, Behind, Net, PreActivation, with_statistics
from hypothesis import given, settings
from hypothesis import strategies as st
from places import PLUGINS

import convbench
from convbench.measurement.machine.facts import machine_facts
from convbench.plans.applied import Applied
from convbench.plans.joined.graph import Graph, traced_graph
from convbench.plans.joined.layer import JoinedModel, joined_layers
from convbench.plans.layers import layers_that_run, named_convolutions
from convbench.plans.plan import Choice, Plan
from convbench.plans.resolution import registry_with
from convbench.problem import ConvProblem, Epilogue
from convbench.verification.fused.truth import result
from convbench.verification.reference import convolve

torch = pytest.importorskip("torch")
nn = torch.nn
F = nn.functional

PLUGIN = PLUGINS / "deployed.py"
LAYERS = [
    *("blocks.0.conv1", "blocks.0.conv2", "blocks.0.conv3", "blocks.0.shortcut.0", "blocks.1"),
    *("blocks.3.conv1", "blocks.3.conv2", "blocks.3.conv3"),
]

pytestmark = pytest.mark.usefixtures("torch_on_one_thread")


def example(seed: int = 0, dtype: Any = None) -> Any:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def graph_of(model: Any, x: Any) -> Graph:
    graph = traced_graph(model, (x,), {name for name, _ in named_convolutions(model)})
    assert isinstance(graph, Graph), graph
    return graph


def deployed_problems(model: Any, x: Any) -> dict[str, ConvProblem]:
    """The problem of each layer with what is joined to it."""
    layers = joined_layers(model, graph_of(model, x))
    bare = {layer.name: next(iter(layer.problems.values())) for layer in layers_that_run(model, (x,))}
    return {name: layers[name].problem(problem) if name in layers else problem for name, problem in bare.items()}


def plan_of(problems: dict[str, ConvProblem], backends: str | dict[str, str]) -> Plan:
    names = dict.fromkeys(problems, backends) if isinstance(backends, str) else backends
    seconds = {"call_s": 1.0, "low_s": 1.0, "high_s": 1.0}
    choices = {
        problem.case_id: Choice(case_id=problem.case_id, backend=names[layer], basis="measured", **seconds)
        for layer, problem in problems.items()
        if layer in names
    }
    facts = {"machine": "here", "cpu": machine_facts()["cpu"], "threads": torch.get_num_threads(), "made": "2026"}
    return Plan(choices=tuple(choices.values()), **facts)


def applied(model: Any, backends: str | dict[str, str] = "fused", **words: Any) -> Applied:
    plan = plan_of(deployed_problems(model, example()), backends)
    return convbench.apply(model, plan, example(), seconds=0.1, plugins=[PLUGIN], even_if_slower=True, **words)


def outputs(model: Any, x: Any) -> Any:
    with torch.no_grad():
        return model(x)


def same(one: Any, other: Any) -> bool:
    return bool(torch.allclose(one, other, rtol=1e-4, atol=1e-5))


# --- a folded and joined layer computes what the unfolded ones compute ------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "none": lambda y: y,
    "relu": nn.ReLU(inplace=True),
    "relu6": F.relu6,
    "leaky": lambda y: F.leaky_relu(y, 0.2),
    "clip": lambda y: y.clamp(-1, 1),
    "silu": lambda y: y * torch.sigmoid(y),
    "hard swish": nn.Hardswish(),
    "sigmoid": torch.sigmoid,
    "gelu": nn.GELU(),
}


class Layers(nn.Module):  # type: ignore[misc]
    """A convolution, perhaps with a batch norm, an activation and a sum in some order."""

    def __init__(self, conv: Any, norm: Any, activation: str, residual: str, functional: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.residual, self.functional = conv, norm, residual, functional
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Any, r: Any) -> Any:
        y = self.conv(x)
        y = self._normed(y)
        y = y + r if self.residual == "before" else y
        y = self.activation(y)
        return r + y if self.residual == "after" else y

    def _normed(self, y: Any) -> Any:
        norm = self.norm
        if norm is None or not self.functional:
            return y if norm is None else norm(y)
        torch._assert(y.ndim == 4, "an image")
        return F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, bias=norm.bias, eps=norm.eps)


@st.composite
def layers_and_operands(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    groups = draw(st.sampled_from([1, 2]))
    channels, out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    conv = nn.Conv2d(
        channels, out, draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 2)), groups=groups,
        bias=draw(st.booleans()),
    )  # fmt: skip
    affine = draw(st.sampled_from([True, False, None]))
    norm = None if affine is None else nn.BatchNorm2d(out, eps=draw(st.sampled_from([1e-5, 0.1])), affine=affine)
    torch.manual_seed(draw(st.integers(0, 99)))
    if norm is not None:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.1, 2)
        if affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    words = draw(st.sampled_from(sorted(ACTIVATIONS))), draw(st.sampled_from(["before", "after", "none"]))
    model = Layers(conv, norm, *words, functional=draw(st.booleans())).double().eval()
    x = torch.randn(draw(st.integers(1, 2)), channels, 5, 6, dtype=torch.float64)
    return model, x, torch.randn_like(outputs(conv, x))


@settings(max_examples=60, deadline=None)
@given(layers_and_operands())
def test_folded_weights_and_the_epilogue_compute_what_the_layers_do(drawn: tuple[Any, Any, Any]) -> None:
    model, x, r = drawn
    right = outputs(lambda x: model(x, r), x).numpy()
    graph = traced_graph(model, (x, r), {"conv"})
    assert isinstance(graph, Graph), graph
    layers = joined_layers(model, graph)
    if not layers:
        assert model.norm is None and model.residual == "none" and model.activation is ACTIVATIONS["none"]
        return
    (layer,) = layers.values()
    bare = next(iter(layers_that_run(model, (x, r))[0].problems.values()))
    problem = layer.problem(bare)
    w, b = layer.weights()
    assert (b is not None) == problem.bias
    y = convolve(problem.replace(epilogue=None), x.numpy(), w, b)
    residual = r.numpy() if model.residual != "none" else None
    computed = y if problem.epilogue is None else result(problem.epilogue, y, residual)
    np.testing.assert_allclose(computed, right, rtol=1e-9, atol=1e-9)
    joined = JoinedModel.of(copy.deepcopy(model), graph, (x, r), {"conv"})
    with torch.no_grad():
        assert torch.equal(joined.model(x, r), model(x, r))


# --- apply ------------------------------------------------------------------------------------------------------------


def test_a_model_computes_by_joined_layers_and_stays_what_it_was() -> None:
    model = with_statistics(Net())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = applied(model)
    assert sorted(change.layer for change in found.report.layers_changed) == sorted(LAYERS)
    cases = {case_id for change in found.report.layers_changed for case_id, _ in change.backends}
    assert cases == {problem.case_id for problem in deployed_problems(model, example()).values()}
    assert any(case.endswith("_bias_add_relu") for case in cases)
    assert found.report.agreement is not None and found.report.agreement.agrees
    assert found.model is not model and type(model) is Net and isinstance(found.model, Net)
    for seed in range(3):
        assert same(outputs(found.model, example(seed)), outputs(model, example(seed)))
    after = found.model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)


def test_the_backend_is_called_with_the_residual_and_only_when_the_plan_holds() -> None:
    model = with_statistics(Net())
    found = applied(model)
    calls = _calls(found.model)
    assert calls(lambda m: outputs(m, example())) == len(LAYERS)
    assert calls(lambda m: outputs(m, example()[..., :7])) == 0  # another shape
    assert calls(lambda m: outputs(m, example().expand(2, -1, -1, -1))) == 0
    assert calls(lambda m: m(example())) == 0  # gradients are recorded
    assert calls(lambda m: outputs(m.double(), example(dtype=torch.float64))) == 0
    other = example(1)[..., :7]
    assert same(outputs(applied(model).model, other), outputs(model, other))


def _calls(model: Any) -> Callable[[Callable[[Any], Any]], int]:
    """A function that counts the calls of the backend while something uses `model`."""
    [backend] = [entry.backend for entry in registry_with((PLUGIN,)) if entry.name == "fused"]
    counted = sys.modules[type(backend).__module__].CALLS

    def count(use: Callable[[Any], Any]) -> int:
        counted.clear()
        use(model)
        return len(counted)

    return count


@pytest.mark.parametrize("name", ["blocks.0.bn2.running_var", "blocks.0.conv1.weight", "blocks.3.bn3.bias"])
def test_a_layer_computes_with_new_numbers_once_they_change(name: str) -> None:
    model = with_statistics(Net())
    found = applied(model)
    for net in (model, found.model):
        with torch.no_grad():
            net.state_dict()[name].mul_(1.5)
    assert same(outputs(found.model, example()), outputs(model, example()))
    loaded = {key: value + 0.25 for key, value in model.state_dict().items() if value.is_floating_point()}
    for net in (model, found.model):
        net.load_state_dict(loaded, strict=False)
    assert same(outputs(found.model, example(1)), outputs(model, example(1)))


def test_copies_and_what_is_saved_are_plain_models() -> None:
    found = applied(with_statistics(Net()))
    buffer = io.BytesIO()
    torch.save(found.model, buffer)
    buffer.seek(0)
    for plain in (copy.deepcopy(found.model), torch.load(buffer, weights_only=False)):
        assert type(plain) is Net and not [name for name in vars(plain) if "joined" in name]
        assert same(outputs(plain, example()), outputs(found.model, example()))


def test_training_and_gradients_are_those_of_the_model() -> None:
    model = with_statistics(Net())
    changed = applied(model).model
    for net in (model, changed):
        net.train()
        net(example()).sum().backward()
    for (name, one), (_, other) in zip(model.named_parameters(), changed.named_parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
    assert torch.equal(model.blocks[0].bn1.running_mean, changed.blocks[0].bn1.running_mean)


def test_in_place_the_model_itself_changes() -> None:
    model = with_statistics(Net())
    before = outputs(model, example())
    found = applied(model, in_place=True)
    assert found.model is model and same(outputs(model, example()), before)
    assert type(model) is not Net and isinstance(model, Net)


@pytest.mark.parametrize("backend", ["no-activation", "no-residual"])
def test_layers_that_are_wrong_are_left(backend: str) -> None:
    model = with_statistics(Net())
    problems = deployed_problems(model, example())
    found = applied(model, dict.fromkeys(problems, "fused") | {"blocks.0.shortcut.0": backend})
    wrong = {left.layer: left.why for left in found.report.layers_left}
    assert f"{backend} is wrong here" in wrong["blocks.0.shortcut.0"]
    assert same(outputs(found.model, example()), outputs(model, example()))


def test_bare_convolutions_of_a_plan_are_changed_beside_joined_ones() -> None:
    model = with_statistics(Net())
    problems = deployed_problems(model, example())
    bare = {layer.name: next(iter(layer.problems.values())) for layer in layers_that_run(model, (example(),))}
    mixed = problems | {"blocks.1": bare["blocks.1"]}
    found = convbench.apply(
        model, plan_of(mixed, "fused"), example(), seconds=0.1, plugins=[PLUGIN], even_if_slower=True
    )
    cases = {change.layer: change.backends[0][0] for change in found.report.layers_changed}
    assert cases["blocks.1"] == bare["blocks.1"].case_id and cases["blocks.0.conv1"].endswith("_relu")
    assert same(outputs(found.model, example()), outputs(model, example()))


def test_a_plan_of_bare_convolutions_joins_nothing() -> None:
    model = with_statistics(Net())
    bare = {layer.name: next(iter(layer.problems.values())) for layer in layers_that_run(model, (example(),))}
    found = convbench.apply(
        model, plan_of(bare, "fused"), example(), seconds=0.1, plugins=[PLUGIN], even_if_slower=True
    )
    assert type(found.model) is Net and found.report.notes == ()


class Undecided(nn.Module):  # type: ignore[misc]
    """What follows depends on the data, which no tracer follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        return F.relu(y) if y.sum() > 0 else y


def test_what_cannot_be_joined_is_noted() -> None:
    problem = ConvProblem(
        in_channels=4,
        height=9,
        width=10,
        out_channels=4,
        kernel_size=1,
        bias=True,
        epilogue=Epilogue(activation="relu"),
    )
    plan = plan_of({"conv": problem}, "fused")
    for model, words in (
        (Undecided().eval(), "torch.fx cannot trace it"),
        (_hooked(), "has hooks"),
        (with_statistics(PreActivation()), "A batch norm that is not joined"),
    ):
        found = convbench.apply(model, plan, example(), seconds=0.1, plugins=[PLUGIN])
        assert any(words in note for note in found.report.notes), found.report.notes
        assert found.model is model


def _hooked() -> Any:
    model = with_statistics(Net())
    model.blocks[0].register_forward_hook(lambda module, inputs, output: output * 2)
    return model


class Aliased(Behind):
    """Writes to its residual, which it reads later."""


@pytest.mark.parametrize(
    "then",
    [
        lambda x, y: (x.add_(y), F.relu(x))[1],
        lambda x, y: (F.relu(y, inplace=True), y * 2)[1],
        lambda x, y: torch.cat([F.relu(F.dropout(y, training=False)), x], 1),
        lambda x, y: F.relu(y).reshape(y.shape[0], y.size(1), -1),
        lambda x, y: {"a": [F.relu6(y)], "b": x},
    ],
)
def test_odd_models_compute_the_same(then: Callable[[Any, Any], Any]) -> None:
    model = with_statistics(Aliased(then))
    graph = graph_of(model, example())
    joined = JoinedModel.of(copy.deepcopy(model), graph, (example(),), set(graph.groups))
    right, computed = outputs(model, example()), outputs(joined.model, example())
    if isinstance(right, dict):
        right, computed = right["a"][0], computed["a"][0]
    assert torch.equal(right, computed)


@pytest.mark.parametrize("backend", ["torch", "torch-inplace", "torch-packed", "torch-channels-last"])
def test_backends_of_torch_compute_a_joined_model(backend: str) -> None:
    model = with_statistics(Net())
    problems = deployed_problems(model, example())
    # Without an epilogue torch-inplace is torch, and says so.
    found = applied(model, {name: backend if problem.epilogue else "torch" for name, problem in problems.items()})
    left = {one.layer: one.why for one in found.report.layers_left}
    assert left == {} and len(found.report.layers_changed) == len(LAYERS)
    for seed in range(2):
        assert same(outputs(found.model, example(seed)), outputs(model, example(seed)))
