"""`convbench.apply`: a torch model with its convolutions computed as a plan says, where that makes the model faster.

A plan's times are of layers alone. In a model a layer gets its input in the layout that the one before left it in, so
what a plan promises is tried here on the whole model: every layer where it stands, then the model in several ways by
turns, and the best of them once more against the unchanged one, in turns that had no part in choosing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from convbench.errors import PlanError
from convbench.plans.applied import Applied, LayerChange, LayerLeft, Report
from convbench.plans.equivalence import agreement, outputs_in_float64
from convbench.plans.interleaved_timing import by_turns, ratio_of_turns
from convbench.plans.layers import layers_that_run, named_convolutions
from convbench.plans.plan import Plan, read_plan
from convbench.plans.planned_layer import follow_plan
from convbench.plans.resolution import elsewhere, other_versions, registry_with
from convbench.plans.trial_model import Replacement, Trial, replacement, times_in_place, to_channels_last
from convbench.stats.estimates import estimate_median

UNCHANGED = "unchanged"
_GAIN = 0.99
"""Of its time before, what a layer may take at most in its place to be changed in the ways that change only some."""


def apply(
    model: Any,
    plan: Plan | str | PathLike[str],
    example_input: Any,
    *,
    in_place: bool = False,
    even_if_slower: bool = False,
    seconds: float = 20.0,
    plugins: Sequence[str | PathLike[str]] = (),
) -> Applied:
    """The torch `model`, in evaluation mode, with its `nn.Conv2d` layers computed as `plan` says, and a report.

    `example_input` is a tensor, or a tuple of what the model is called with: layers are changed for the shapes that
    they have in it, and compute as before for others. The model that is given stays as it is, and the answer is a copy,
    unless `in_place`. Where the changed model is not faster beyond doubt the one given comes back, unless
    `even_if_slower`, which asks for all that the plan says. Measuring takes about `seconds` and some more, on the
    threads that torch has now.

    Raises `PlanError` for what is no plan, and for a model that this cannot be done with.
    """
    plan = plan if isinstance(plan, Plan) else read_plan(plan)
    example = tuple(example_input) if isinstance(example_input, (tuple, list)) else (example_input,)
    _check(model)
    found = _found(model, example, plan, tuple(Path(file) for file in plugins))
    ways = _ways(found, even_if_slower)
    exact = outputs_in_float64(model, example) if ways else None
    agreements = {way.name: agreement(model, way.switched(), example, exact) for way in ways}
    notes = _notes(plan, found)
    for way in ways:
        if not agreements[way.name].agrees:
            notes.append(f"{way.name} gives other outputs: {agreements[way.name]}")
    ways = [way for way in ways if agreements[way.name].agrees]

    best, tried = _best(model, ways, example, found.sync, seconds / 2)
    calls = {UNCHANGED: lambda: model(*example)} | ({best.name: best.call(example)} if best else {})
    taken = by_turns(calls, seconds / 2, found.sync)
    before, after = taken[UNCHANGED], taken[best.name if best else UNCHANGED]
    ratio = ratio_of_turns(before, after)
    kept = best is not None and (even_if_slower or ratio.low > 1)
    report = Report(
        before_s=estimate_median(before).median,
        after_s=estimate_median(after).median,
        ratio=ratio.median,
        low=ratio.low,
        high=ratio.high,
        rounds=len(before),
        kept=kept,
        way=best.name if best else UNCHANGED,
        channels_last=best is not None and best.trial.channels_last,
        layers_changed=tuple(_changes(best, found)) if best else (),
        layers_left=tuple(_left(best, found)),
        agreement=agreements[best.name] if best else None,
        tried=tried,
        notes=tuple(notes),
    )
    if best is None or not kept:
        return Applied(model, report)
    return Applied(_changed(model, best, found) if in_place else best.switched(), report)


@dataclass(frozen=True)
class _Found:
    """What the plan says of the model: replacements made ready, trials with them, times in place by layer (before,
    after) for each trial, and why the other layers are left."""

    replacements: Mapping[str, Replacement]
    trials: tuple[Trial, ...]
    times_s: Mapping[bool, Mapping[str, tuple[float, float]]]
    left: Mapping[str, str]
    sync: Callable[[], None]


@dataclass(frozen=True)
class _Way:
    """One way to change the model: these layers follow the plan in this copy of it."""

    name: str
    trial: Trial
    layers: frozenset[str]

    def switched(self) -> Any:
        self.trial.switch(self.layers)
        return self.trial.model

    def call(self, example: tuple[Any, ...]) -> Callable[[], Any]:
        return lambda: self.switched()(*example)


def _check(model: Any) -> None:
    import torch

    if not isinstance(model, torch.nn.Module):
        raise PlanError(f"the model is of type {type(model).__name__}; it should be a torch.nn.Module.")
    if any(module.training for module in model.modules()):
        raise PlanError("the model is in training mode, and a plan is for inference: call model.eval() first.")


def _found(model: Any, example: tuple[Any, ...], plan: Plan, plugins: tuple[Path, ...]) -> _Found:
    registry, convolutions = registry_with(plugins), dict(named_convolutions(model))
    ready: dict[str, Replacement] = {}
    left: dict[str, str] = {}
    for layer in layers_that_run(model, example):
        says = replacement(layer, convolutions[layer.name], plan, registry)
        if isinstance(says, str):
            left[layer.name] = says
        else:
            ready[layer.name] = says
    if not ready:
        return _Found({}, (), {}, left, _sync(model))
    wants_channels_last = any("input" in b.prepacks for one in ready.values() for b in one.backends.values())
    trials = tuple(
        Trial(model, ready, channels_last=last) for last in ((False, True) if wants_channels_last else (False,))
    )
    left |= trials[0].wrong_layers(example)
    right = [name for name in ready if name not in left]
    sync = _sync(model)
    times_s = {trial.channels_last: times_in_place(trial, right, example, sync) for trial in trials}
    return _Found({name: ready[name] for name in right}, trials, times_s, left, sync)


def _ways(found: _Found, even_if_slower: bool) -> list[_Way]:
    """The ways worth trying, each once. Some change all layers that the plan has, others those that gain in place."""
    ways: dict[Any, _Way] = {}
    for trial in found.trials:
        times_s = found.times_s[trial.channels_last]
        gaining = frozenset(name for name, (before, after) in times_s.items() if after < _GAIN * before)
        beside = " in a channels-last model" if trial.channels_last else ""
        tried = [(f"all layers as planned{beside}", frozenset(times_s))]
        if not even_if_slower:
            tried.append((f"the layers that gain{beside}", gaining))
            tried.append(("a channels-last model", frozenset()))
        for name, layers in tried:
            if layers or trial.channels_last:
                ways.setdefault((trial.channels_last, layers), _Way(name, trial, layers))
    return list(ways.values())


def _best(
    model: Any, ways: Sequence[_Way], example: tuple[Any, ...], sync: Callable[[], None], limit_s: float
) -> tuple[_Way | None, tuple[tuple[str, float], ...]]:
    """The way that is fastest, and how many times as fast as the unchanged model each seems."""
    if not ways:
        return None, ()
    calls = {UNCHANGED: lambda: model(*example)} | {way.name: way.call(example) for way in ways}
    taken = by_turns(calls, limit_s, sync)
    ratios = {way.name: ratio_of_turns(taken[UNCHANGED], taken[way.name]).median for way in ways}
    return max(ways, key=lambda way: ratios[way.name]), tuple(ratios.items())


def _changes(best: _Way, found: _Found) -> list[LayerChange]:
    times_s = found.times_s[best.trial.channels_last]
    changes = []
    for name in (name for name in found.replacements if name in best.layers):
        one = found.replacements[name]
        backends = tuple((one.problems[shape].case_id, backend.name) for shape, backend in one.backends.items())
        changes.append(LayerChange(name, backends, *times_s[name]))
    return changes


def _left(best: _Way | None, found: _Found) -> list[LayerLeft]:
    others = [name for name in found.replacements if best is None or name not in best.layers]
    return [
        *(LayerLeft(name, "neither it nor the model is faster with what the plan says of it") for name in others),
        *(LayerLeft(name, why) for name, why in found.left.items()),
    ]


def _changed(model: Any, best: _Way, found: _Found) -> Any:
    """The model itself, changed in the best way."""
    if best.trial.channels_last:
        to_channels_last(model)
    for name, conv in named_convolutions(model):
        if name in best.layers:
            follow_plan(conv, found.replacements[name].calls)
    return model


def _notes(plan: Plan, found: _Found) -> list[str]:
    import torch

    notes = list(elsewhere(plan))
    if (threads := torch.get_num_threads()) != plan.threads:
        notes.append(
            f"torch uses {threads} threads and the plan is for {plan.threads}: torch.set_num_threads sets them"
        )
    backends = {b.name: b for one in found.replacements.values() for b in one.backends.values()}
    return list(dict.fromkeys([*notes, *(told for b in backends.values() for told in other_versions(plan, b))]))


def _sync(model: Any) -> Callable[[], None]:
    """Wait until the model's device is done."""
    import torch

    if any(parameter.is_cuda for parameter in model.parameters()):
        wait: Callable[[], None] = torch.cuda.synchronize
        return wait
    return lambda: None
