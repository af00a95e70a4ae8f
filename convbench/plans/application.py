"""`convbench.apply`: a torch model whose convolutions follow a plan, if that makes the model faster.

The times in a plan are of single layers. In a model a layer gets its input in the layout of the layer before it. So the
plan is tried on the whole model: first every layer in its place, then several variants of the model in interleaved
rounds, and then the best variant against the unchanged model, in rounds that had no part in choosing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

from convbench.backend import Backend
from convbench.errors import PlanError
from convbench.plans.applied import Applied, LayerChange, LayerLeft, Report
from convbench.plans.equivalence import compare_outputs, outputs_in_float64
from convbench.plans.joined.graph import Graph, traced_graph
from convbench.plans.joined.layer import joined_layers
from convbench.plans.layers import Layer, follow_plan, layers_that_run, named_convolutions
from convbench.plans.plan import Plan, read_plan
from convbench.plans.resolution import cpu_deviations, registry_with, version_deviations
from convbench.plans.trial_model import (
    Replacement,
    Trial,
    joined_model,
    ratio_of_rounds,
    replacement_of,
    time_in_place,
    time_interleaved,
    to_channels_last,
)
from convbench.stats.estimates import estimate_median

UNCHANGED = "unchanged"
_GAIN = 0.99
"""The largest share of its time before at which a layer counts as faster in its place."""


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

    `example_input` is a tensor, or a tuple of the arguments of the model. Layers are changed for the shapes that they
    have with it, and compute other shapes as before. The result is a changed copy, or `model` itself if `in_place`.
    If the changed model is not faster beyond doubt, the result is the unchanged model, unless `even_if_slower`, which
    follows the whole plan. Measuring takes a little more than `seconds`, with torch's current number of threads. It may
    be called inside `torch.inference_mode()`; a layer whose parameters are inference tensors is left.

    Raises `PlanError` for what is not a plan, and for a model that cannot follow one.
    """
    plan = plan if isinstance(plan, Plan) else read_plan(plan)
    example = tuple(example_input) if isinstance(example_input, (tuple, list)) else (example_input,)
    _check(model)
    with _outside_inference_mode():
        example = tuple(map(_without_inference, example))
        return _apply(model, plan, example, in_place, even_if_slower, seconds, tuple(Path(file) for file in plugins))


def _apply(
    model: Any,
    plan: Plan,
    example: tuple[Any, ...],
    in_place: bool,
    even_if_slower: bool,
    seconds: float,
    plugins: tuple[Path, ...],
) -> Applied:
    findings = _findings(model, example, plan, plugins)
    variants = _variants(findings, even_if_slower)
    exact = outputs_in_float64(model, example) if variants else None
    agreements = {variant.name: compare_outputs(model, variant.switched(), example, exact) for variant in variants}
    notes = _notes(plan, findings)
    for variant in variants:
        if not agreements[variant.name].agrees:
            notes.append(f"{variant.name} gives other outputs: {agreements[variant.name]}")
    variants = [variant for variant in variants if agreements[variant.name].agrees]

    best, tried = _best(model, variants, example, findings.sync, seconds / 2)
    calls = {UNCHANGED: lambda: model(*example)} | ({best.name: best.call(example)} if best else {})
    walls_s = time_interleaved(calls, seconds / 2, findings.sync)
    before, after = walls_s[UNCHANGED], walls_s[best.name if best else UNCHANGED]
    ratio = ratio_of_rounds(before, after)
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
        layers_changed=tuple(_changes(best, findings)) if best else (),
        layers_left=tuple(_left(best, findings)),
        agreement=agreements[best.name] if best else None,
        tried=tried,
        notes=tuple(notes),
    )
    if best is None or not kept:
        return Applied(model, report)
    return Applied(_changed(model, best, findings, example) if in_place else best.switched(), report)


@dataclass(frozen=True)
class _Findings:
    """What the plan offers for the model: prepared replacements, trials with them, the times (before, after) of each
    layer in each trial by whether it is channels-last, and why the other layers are left."""

    replacements: Mapping[str, Replacement]
    trials: tuple[Trial, ...]
    times_s: Mapping[bool, Mapping[str, tuple[float, float]]]
    left: Mapping[str, str]
    sync: Callable[[], None]
    graph: Graph | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Variant:
    """One variant of the model: these layers follow the plan in this copy of it."""

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


@contextmanager
def _outside_inference_mode() -> Iterator[None]:
    """Copies of the model that are made in it could not tell when their weights change."""
    import torch

    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False):
        yield


def _without_inference(argument: Any) -> Any:
    """A model may write to its input, which outside of inference mode is an error for a tensor that was made in it."""
    import torch

    is_of_it = isinstance(argument, torch.Tensor) and argument.is_inference()
    return argument.clone() if is_of_it else argument


def _findings(model: Any, example: tuple[Any, ...], plan: Plan, plugins: tuple[Path, ...]) -> _Findings:
    registry, convolutions = registry_with(plugins), dict(named_convolutions(model))
    layers = layers_that_run(model, example)
    graph, notes = _graph(model, example, plan, layers)
    joined = {} if graph is None else joined_layers(model, graph)
    ready: dict[str, Replacement] = {}
    left: dict[str, str] = {}
    for layer in layers:
        replacement = replacement_of(layer, convolutions[layer.name], plan, registry, joined.get(layer.name))
        if isinstance(replacement, str):
            left[layer.name] = replacement
        else:
            ready[layer.name] = replacement
    sync = _sync(model)
    if not ready:
        return _Findings({}, (), {}, left, sync, graph, notes)
    wants_channels_last = any("input" in backend.prepacks for backend in _backends(ready))
    layouts = (False, True) if wants_channels_last else (False,)
    trials = tuple(Trial(model, ready, channels_last=last, graph=graph, example=example) for last in layouts)
    left |= trials[0].wrong_layers(example)
    right = [name for name in ready if name not in left]
    times_s = {trial.channels_last: time_in_place(trial, right, example, sync) for trial in trials}
    return _Findings({name: ready[name] for name in right}, trials, times_s, left, sync, graph, notes)


def _graph(
    model: Any, example: tuple[Any, ...], plan: Plan, layers: Sequence[Layer]
) -> tuple[Graph | None, tuple[str, ...]]:
    """The model's graph, if the plan is for layers with what is joined to them, and notes on what is not joined."""
    if not any(choice.problem.epilogue is not None for choice in plan.choices):
        return None, ()
    names = {layer.name for layer in layers if layer.refusal is None and len(layer.problems) == 1}
    graph = traced_graph(model, example, names)
    if isinstance(graph, str):
        return None, (f"nothing is joined to the convolutions of this model: {graph}",)
    return graph, graph.apart


def _variants(findings: _Findings, even_if_slower: bool) -> list[_Variant]:
    """The variants worth timing, each once. Some change all layers in the plan, others those that gain in place."""
    variants: dict[Any, _Variant] = {}
    for trial in findings.trials:
        times_s = findings.times_s[trial.channels_last]
        gaining = frozenset(name for name, (before, after) in times_s.items() if after < _GAIN * before)
        beside = " in a channels-last model" if trial.channels_last else ""
        tried = [(f"all layers as planned{beside}", frozenset(times_s))]
        if not even_if_slower:
            tried.append((f"the layers that gain{beside}", gaining))
            tried.append(("a channels-last model", frozenset()))
        for name, layers in tried:
            if layers or trial.channels_last:
                variants.setdefault((trial.channels_last, layers), _Variant(name, trial, layers))
    return list(variants.values())


def _best(
    model: Any, variants: Sequence[_Variant], example: tuple[Any, ...], sync: Callable[[], None], limit_s: float
) -> tuple[_Variant | None, tuple[tuple[str, float], ...]]:
    """The fastest variant, and how many times as fast as the unchanged model each seems."""
    if not variants:
        return None, ()
    calls = {UNCHANGED: lambda: model(*example)} | {variant.name: variant.call(example) for variant in variants}
    walls_s = time_interleaved(calls, limit_s, sync)
    ratios = {variant.name: ratio_of_rounds(walls_s[UNCHANGED], walls_s[variant.name]).median for variant in variants}
    return max(variants, key=lambda variant: ratios[variant.name]), tuple(ratios.items())


def _changes(best: _Variant, findings: _Findings) -> list[LayerChange]:
    times_s = findings.times_s[best.trial.channels_last]
    changes = []
    for name, replacement in findings.replacements.items():
        if name in best.layers:
            backends = ((replacement.problems[s].case_id, backend.name) for s, backend in replacement.backends.items())
            changes.append(LayerChange(name, tuple(backends), *times_s[name]))
    return changes


def _left(best: _Variant | None, findings: _Findings) -> list[LayerLeft]:
    others = [name for name in findings.replacements if best is None or name not in best.layers]
    return [
        *(LayerLeft(name, "neither it nor the model is faster with what the plan says of it") for name in others),
        *(LayerLeft(name, why) for name, why in findings.left.items()),
    ]


def _changed(model: Any, best: _Variant, findings: _Findings, example: tuple[Any, ...]) -> Any:
    """The model itself, changed into the best variant."""
    if best.trial.channels_last:
        to_channels_last(model)
    chosen = {name: findings.replacements[name] for name in best.layers}
    for name, conv in named_convolutions(model):
        if name in chosen and not chosen[name].is_joined:
            follow_plan(conv, chosen[name].calls)
    for name, layer in joined_model(model, chosen, findings.graph, example).layers.items():
        layer.follow(chosen[name].calls)
    return model


def _notes(plan: Plan, findings: _Findings) -> list[str]:
    import torch

    notes = list(cpu_deviations(plan))
    if (threads := torch.get_num_threads()) != plan.threads:
        notes.append(
            f"torch uses {threads} threads and the plan is for {plan.threads}: torch.set_num_threads sets them"
        )
    deviations = (version_deviations(plan, backend) for backend in _backends(findings.replacements))
    return list(dict.fromkeys(chain(notes, findings.notes, *deviations)))


def _backends(replacements: Mapping[str, Replacement]) -> Iterator[Backend]:
    return (backend for replacement in replacements.values() for backend in replacement.backends.values())


def _sync(model: Any) -> Callable[[], None]:
    """A function that waits until the model's device is done."""
    import torch

    return torch.cuda.synchronize if any(parameter.is_cuda for parameter in model.parameters()) else lambda: None
