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


@dataclass(frozen=True)
class Replacement:
    """What computes a layer: calls, their backends and their problems, each by input shape."""

    calls: Mapping[tuple[int, ...], Call]
    backends: Mapping[tuple[int, ...], Backend]
    problems: Mapping[tuple[int, ...], ConvProblem]


def replacement_of(layer: Layer, conv: Any, plan: Plan, registry: Registry) -> Replacement | str:
    """The prepared calls that the plan has for a layer, or why the layer cannot be changed."""
    if layer.refusal:
        return layer.refusal
    backends = {}
    for shape, problem in layer.problems.items():
        choice = plan.choice(problem)
        if choice is None:
            return f"{problem} is not in the plan"
        resolution = resolve_backend(CallSpec(problem, "torch", device_of(conv.weight)), plan, registry)
        if resolution.backend.name != choice.backend:
            return next(text for text in resolution.deviations if text.startswith("The plan's")).rstrip(".")
        if resolution.backend.stands_in_for == "torch":
            return f"{choice.backend} computes it already"
        backends[shape] = resolution.backend
    calls = {}
    w, b = _weights(conv)
    for shape, backend in backends.items():
        spec = CallSpec(layer.problems[shape], "torch", device_of(conv.weight))
        limit_threads(backend, plan)
        try:
            calls[shape] = prepare_call(backend, spec, w, b, may_copy=False)
        except BackendError as error:
            return str(error).rstrip(".")
    return Replacement(calls, backends, layer.problems)


def _weights(conv: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
    return owned(conv.weight), None if conv.bias is None else owned(conv.bias)


class Trial:
    """A copy of a model, perhaps in channels-last, with replacements of its layers by name."""

    def __init__(self, model: Any, replacements: Mapping[str, Replacement], *, channels_last: bool) -> None:
        self.model = copy.deepcopy(model)
        if channels_last:
            to_channels_last(self.model)
        self.channels_last, self._replacements = channels_last, replacements
        self._convolutions = {name: conv for name, conv in named_convolutions(self.model) if name in replacements}
        self._following: frozenset[str] = frozenset()

    def switch(self, names: Collection[str]) -> None:
        """Have the layers of these names follow the plan, and no others."""
        if self._following == frozenset(names):
            return
        self._following = frozenset(names)
        for name, conv in self._convolutions.items():
            follow_plan(conv, self._replacements[name].calls if name in names else {})

    def wrong_layers(self, example: tuple[Any, ...]) -> dict[str, str]:
        """The layers whose replacements exceed the error bound on their inputs in the model, with the reasons."""
        import torch

        wrong: dict[str, str] = {}

        def judge(name: str, conv: Any, x: Any) -> None:
            replacement = self._replacements[name]
            shape = tuple(x.shape)
            if shape in replacement.calls and name not in wrong:
                operands = Operands(as_numpy(x), *_weights(conv))
                output = as_numpy(replacement.calls[shape](x))
                backend = replacement.backends[shape]
                verdict = Oracle(replacement.problems[shape], operands, "normal").judge(backend.arithmetic, output)
                if not verdict.passed:
                    wrong[name] = f"{backend.name} is wrong here: {verdict.reason}"

        self.switch(())
        with watched(self._convolutions, judge), torch.no_grad():
            self.model(*example)
        return wrong

    def time_pass(self, example: tuple[Any, ...], sync: Callable[[], None]) -> Mapping[str, float]:
        """Seconds of each replaceable layer in one pass through the model, as it is switched now."""
        import torch

        walls_s = dict.fromkeys(self._convolutions, 0.0)
        started = [0.0]

        def start(name: str, conv: Any, x: Any) -> None:
            sync()
            started[0] = time.perf_counter()

        def stop(name: str) -> None:
            sync()
            walls_s[name] += time.perf_counter() - started[0]

        with watched(self._convolutions, start, stop), torch.no_grad():
            self.model(*example)
        return walls_s


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
