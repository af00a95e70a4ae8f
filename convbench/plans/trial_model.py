"""A copy of a model in which layers can be switched between what they computed before and what a plan says."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from convbench.backend import Backend
from convbench.errors import BackendError
from convbench.plans.arrays import device_of, owned
from convbench.plans.equivalence import judge_layer
from convbench.plans.layers import Layer, named_convolutions, watched
from convbench.plans.plan import Plan
from convbench.plans.planned_layer import follow_plan
from convbench.plans.prepared_call import Call, calling
from convbench.plans.resolution import CallSpec, limit_threads, resolve_backend
from convbench.problem import ConvProblem
from convbench.registry import Registry


@dataclass(frozen=True)
class Replacement:
    """What a layer is to compute by: calls by input shape, and who is behind each."""

    calls: Mapping[tuple[int, ...], Call]
    backends: Mapping[tuple[int, ...], Backend]
    problems: Mapping[tuple[int, ...], ConvProblem]


def replacement(layer: Layer, conv: Any, plan: Plan, registry: Registry) -> Replacement | str:
    """What the plan says of a layer, made ready, or why there is nothing to change about it."""
    if layer.why_not:
        return layer.why_not
    backends = {}
    for shape, problem in layer.problems.items():
        choice = plan.choice(problem)
        if choice is None:
            return f"{problem} is not in the plan"
        appointed = resolve_backend(CallSpec(problem, "torch", device_of(conv.weight)), plan, registry)
        if appointed.backend.name != choice.backend:
            return next(told for told in appointed.otherwise if told.startswith("The plan's")).rstrip(".")
        if appointed.backend.stands_in_for == "torch":
            return f"{choice.backend} is what it computes by already"
        backends[shape] = appointed.backend
    calls = {}
    w, b = owned(conv.weight), None if conv.bias is None else owned(conv.bias)
    for shape, backend in backends.items():
        wanted = CallSpec(layer.problems[shape], "torch", device_of(conv.weight))
        limit_threads(backend, plan)
        try:
            calls[shape] = calling(backend, wanted, w, b, may_copy=False)
        except BackendError as error:
            return str(error).rstrip(".")
    return Replacement(calls, backends, layer.problems)


class Trial:
    """A copy of a model, perhaps in channels-last, with what replaces its layers, by their names."""

    def __init__(self, model: Any, replacements: Mapping[str, Replacement], *, channels_last: bool) -> None:
        self.model = copy.deepcopy(model)
        if channels_last:
            to_channels_last(self.model)
        self.channels_last, self._replacements = channels_last, replacements
        self._convolutions = {name: conv for name, conv in named_convolutions(self.model) if name in replacements}
        self._following: frozenset[str] = frozenset()

    def switch(self, names: Collection[str]) -> None:
        """Have the layers of these names follow the plan, and the others not."""
        if self._following == frozenset(names):
            return
        self._following = frozenset(names)
        for name, conv in self._convolutions.items():
            follow_plan(conv, self._replacements[name].calls if name in names else {})

    def wrong_layers(self, example: tuple[Any, ...]) -> dict[str, str]:
        """The layers whose replacements are outside their bound on what they get in the model, and the reasons."""
        import torch

        wrong: dict[str, str] = {}

        def judge(name: str, conv: Any, x: Any) -> None:
            found = self._replacements[name]
            shape = tuple(x.shape)
            if shape in found.calls and name not in wrong:
                w, b = owned(conv.weight), None if conv.bias is None else owned(conv.bias)
                output = found.calls[shape](x)
                verdict = judge_layer(found.backends[shape], found.problems[shape], x, w, b, output)
                if not verdict.passed:
                    wrong[name] = f"{found.backends[shape].name} is wrong here: {verdict.reason}"

        self.switch(())
        with watched(self._convolutions, judge), torch.no_grad():
            self.model(*example)
        return wrong

    def times_of_pass(self, example: tuple[Any, ...], sync: Callable[[], None]) -> Mapping[str, float]:
        """Seconds that each replaceable layer takes in one pass through the model, as it is switched now."""
        import torch

        taken = dict.fromkeys(self._convolutions, 0.0)
        started = [0.0]

        def start(name: str, conv: Any, x: Any) -> None:
            sync()
            started[0] = time.perf_counter()

        def stop(name: str) -> Any:
            def hook(conv: Any, inputs: Any, output: Any) -> None:
                sync()
                taken[name] += time.perf_counter() - started[0]

            return hook

        handles = [conv.register_forward_hook(stop(name)) for name, conv in self._convolutions.items()]
        try:
            with watched(self._convolutions, start), torch.no_grad():
                self.model(*example)
        finally:
            for handle in handles:
                handle.remove()
        return taken


def times_in_place(
    trial: Trial, names: Sequence[str], example: tuple[Any, ...], sync: Callable[[], None], times: int = 7
) -> dict[str, tuple[float, float]]:
    """Seconds of these layers where they stand in the model: as they were, and when all of them follow the plan.

    Medians over `times` passes each, by turns. What a layer copies because its input comes in another layout is in its
    time.
    """
    passes: dict[bool, list[Mapping[str, float]]] = {False: [], True: []}
    for _ in range(1 + times):
        for planned, taken in passes.items():
            trial.switch(names if planned else ())
            taken.append(trial.times_of_pass(example, sync))
    before, after = ({name: median(one[name] for one in taken[1:]) for name in names} for taken in passes.values())
    return {name: (before[name], after[name]) for name in names}


def to_channels_last(model: Any) -> None:
    """In place: all weights of four axes, so that torch computes, and hands on, in channels-last."""
    import torch

    model.to(memory_format=torch.channels_last)
