"""A copy of a model whose layers can be switched between their own computation and that of a plan, and its timing.

Several models are timed in interleaved rounds in this process: drift of the machine affects all, and ratios are by
round.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from numpy.typing import NDArray

from convbench.backend import Backend
from convbench.errors import BackendError
from convbench.measurement.sampling.sample import SamplingPlan, calibrate, take_sample
from convbench.measurement.sampling.tensors import as_numpy
from convbench.plans.arrays import device_of, owned
from convbench.plans.joined.graph import Graph
from convbench.plans.joined.layer import JoinedLayer, JoinedModel
from convbench.plans.layers import Layer, follow_plan, named_convolutions, watched
from convbench.plans.plan import Plan
from convbench.plans.prepared_call import Call, prepare_call
from convbench.plans.resolution import CallSpec, limit_threads, resolve_backend
from convbench.problem import ConvProblem
from convbench.registry import Registry
from convbench.stats.estimates import Estimate, estimate_median
from convbench.verification.operands import Operands
from convbench.verification.oracle import Oracle

FEWEST_ROUNDS, MOST_ROUNDS = 8, 60
_SAMPLE_S = 5e-3
_Weights = tuple[NDArray[Any], NDArray[Any] | None]


@dataclass(frozen=True)
class Replacement:
    """What computes a layer: calls, their backends and their problems, each by input shape. A joined layer is a
    convolution with the batch norm, the activation or the sum behind it."""

    calls: Mapping[tuple[int, ...], Call]
    backends: Mapping[tuple[int, ...], Backend]
    problems: Mapping[tuple[int, ...], ConvProblem]
    is_joined: bool = False


def replacement_of(
    layer: Layer, conv: Any, plan: Plan, registry: Registry, joined: JoinedLayer | None = None
) -> Replacement | str:
    """The prepared calls that the plan has for a layer, with what is joined to it where the plan has that, or why the
    layer cannot be changed."""
    if layer.refusal:
        return layer.refusal
    of_joined = {} if joined is None else {shape: joined.problem(p) for shape, p in layer.problems.items()}
    if joined is not None and any(map(plan.choice, of_joined.values())):
        return _prepared(of_joined, joined.weights, conv, plan, registry, is_joined=True)
    return _prepared(layer.problems, lambda: _weights(conv), conv, plan, registry, is_joined=False)


def _prepared(
    problems: Mapping[tuple[int, ...], ConvProblem],
    weights: Callable[[], _Weights],
    conv: Any,
    plan: Plan,
    registry: Registry,
    *,
    is_joined: bool,
) -> Replacement | str:
    device = device_of(conv.weight)
    backends = {}
    for shape, problem in problems.items():
        choice = plan.choice(problem)
        if choice is None:
            return f"{problem} is not in the plan"
        resolution = resolve_backend(CallSpec(problem, "torch", device), plan, registry)
        if resolution.backend.name != choice.backend:
            return next(text for text in resolution.deviations if text.startswith("The plan's")).rstrip(".")
        if resolution.backend.stands_in_for == "torch" and not is_joined:
            return f"{choice.backend} computes it already"
        backends[shape] = resolution.backend
    calls = {}
    w, b = weights()
    for shape, backend in backends.items():
        limit_threads(backend, plan)
        try:
            calls[shape] = prepare_call(backend, CallSpec(problems[shape], "torch", device), w, b, may_copy=False)
        except BackendError as error:
            return str(error).rstrip(".")
    return Replacement(calls, backends, problems, is_joined)


def _weights(conv: Any) -> _Weights:
    return owned(conv.weight), None if conv.bias is None else owned(conv.bias)


class Trial:
    """A copy of a model, perhaps in channels-last, with replacements of its layers by name. `graph` is that of the
    model, where layers are joined."""

    def __init__(
        self,
        model: Any,
        replacements: Mapping[str, Replacement],
        *,
        channels_last: bool,
        graph: Graph | None = None,
        example: tuple[Any, ...] = (),
    ) -> None:
        self.model = copy.deepcopy(model)
        if channels_last:
            to_channels_last(self.model)
        self.channels_last, self._replacements = channels_last, replacements
        self._joined = joined_model(self.model, replacements, graph, example)
        plain = {name for name, replacement in replacements.items() if not replacement.is_joined}
        self._convolutions = {name: conv for name, conv in named_convolutions(self.model) if name in plain}
        self._following: frozenset[str] = frozenset()

    def switch(self, names: Collection[str]) -> None:
        """Have the layers of these names follow the plan, and no others."""
        if self._following == frozenset(names):
            return
        self._following = frozenset(names)
        for name, conv in self._convolutions.items():
            follow_plan(conv, self._replacements[name].calls if name in names else {})
        for name, layer in self._joined.layers.items():
            layer.follow(self._replacements[name].calls if name in names else {})

    def wrong_layers(self, example: tuple[Any, ...]) -> dict[str, str]:
        """The layers whose replacements exceed the error bound on their inputs in the model, with the reasons."""
        import torch

        wrong: dict[str, str] = {}

        def judge(name: str, weights: Callable[[], _Weights], *tensors: Any) -> None:
            replacement, shape = self._replacements[name], tuple(tensors[0].shape)
            if shape in replacement.calls and name not in wrong:
                x, *residual = map(as_numpy, tensors)
                operands = Operands(x, *weights(), r=residual[0] if residual else None)
                output = as_numpy(replacement.calls[shape](*tensors))
                backend = replacement.backends[shape]
                verdict = Oracle(replacement.problems[shape], operands, "normal").judge(backend.arithmetic, output)
                if not verdict.passed:
                    wrong[name] = f"{backend.name} is wrong here: {verdict.reason}"

        def judge_plain(name: str, conv: Any, x: Any) -> None:
            judge(name, lambda: _weights(conv), x)

        def judge_joined(name: str, tensors: tuple[Any, ...], begins: bool) -> None:
            if begins:
                judge(name, self._joined.layers[name].weights, *tensors)

        self.switch(())
        with torch.no_grad(), self._joined.watched(judge_joined), watched(self._convolutions, judge_plain):
            self.model(*example)
        return wrong

    def time_pass(self, example: tuple[Any, ...], sync: Callable[[], None]) -> Mapping[str, float]:
        """Seconds of each replaceable layer in one pass through the model, as it is switched now."""
        import torch

        walls_s = dict.fromkeys(self._replacements, 0.0)
        started = [0.0]

        def start(*_: Any) -> None:
            sync()
            started[0] = time.perf_counter()

        def stop(name: str) -> None:
            sync()
            walls_s[name] += time.perf_counter() - started[0]

        def observe(name: str, _: Any, begins: bool) -> None:
            if begins:
                start()
            else:
                stop(name)

        with torch.no_grad(), self._joined.watched(observe), watched(self._convolutions, start, stop):
            self.model(*example)
        return walls_s


def joined_model(
    model: Any, replacements: Mapping[str, Replacement], graph: Graph | None, example: tuple[Any, ...]
) -> JoinedModel:
    """Give `model` the joined layers for which there are replacements; it stays as it is if there are none."""
    names = {name for name, replacement in replacements.items() if replacement.is_joined}
    return JoinedModel.of(model, graph, example, names) if graph is not None and names else JoinedModel(model, {})


def time_in_place(
    trial: Trial, names: Sequence[str], example: tuple[Any, ...], sync: Callable[[], None], times: int = 7
) -> dict[str, tuple[float, float]]:
    """Seconds of these layers inside the model: (unchanged, all of them following the plan).

    Medians over `times` interleaved passes each. The time of a layer includes its copies into another layout.
    """
    passes: dict[bool, list[Mapping[str, float]]] = {False: [], True: []}
    for _ in range(1 + times):
        for planned, walls_s in passes.items():
            trial.switch(names if planned else ())
            walls_s.append(trial.time_pass(example, sync))
    before, after = ({name: median(p[name] for p in walls_s[1:]) for name in names} for walls_s in passes.values())
    return {name: (before[name], after[name]) for name in names}


def time_interleaved(
    calls: Mapping[str, Callable[[], Any]], limit_s: float, sync: Callable[[], None]
) -> dict[str, list[float]]:
    """Seconds per call of each of `calls`, an element per round. Rounds go on for `limit_s`; there are 8 to 60.

    No gradients are recorded, as in inference.
    """
    import torch

    walls_s: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    with torch.no_grad():
        plans = {name: _sampling_plan(call, sync) for name, call in calls.items()}
        begin = time.perf_counter()
        for number in range(MOST_ROUNDS):
            if number >= FEWEST_ROUNDS and time.perf_counter() - begin > limit_s:
                break
            shuffle(order)
            for name in order:
                walls_s[name].append(take_sample(calls[name], sync, plans[name])[0].wall_s)
    return walls_s


def ratio_of_rounds(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """The median over the rounds of `before` / `after`, with its interval."""
    return estimate_median([b / a for b, a in zip(before, after, strict=True)])


def _sampling_plan(call: Callable[[], Any], sync: Callable[[], None]) -> SamplingPlan:
    warm_up = [take_sample(call, sync, SamplingPlan(1, 0))[0].wall_s for _ in range(3)]
    calls = calibrate(median(warm_up), _SAMPLE_S).calls
    # One call to warm up: the call before was of another model, which left its weights in the caches.
    return SamplingPlan(calls, 1)


def to_channels_last(model: Any) -> None:
    """Convert all weights of four axes in place, so that torch computes and passes on channels-last tensors."""
    import torch

    model.to(memory_format=torch.channels_last)
