"""Gradients and training steps of torch-compile, in a real worker process, each judged by the reference of its
direction. A compilation takes seconds, so the problems are few."""

from __future__ import annotations

from functools import cache

import pytest

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import DIRECTIONS, ConvProblem, Direction
from convbench.registry import Entry, discover
from convbench.status import Status
from convbench.suite import Case

pytestmark = pytest.mark.slow

LAYERS = (
    "n2c8h9w8_o8k3_s2_p1_bias",
    "n2c8h7w9_o12k3_p1_d2_g4_bias_f64",
    "n1c3h6w5_o4k3x2_pt1b2l0r1_bias_circular",  # padding that conv2d does not do itself
    "n2c6h5w7_o6k3_p1_g6_bias_reflect_f16",
)
ENTRIES = {entry.name: entry for entry in discover(entry_points=False)}


@cache
def outcomes(name: str) -> dict[ConvProblem, Outcome]:
    """Every layer in every direction but forward, by problem."""
    entry: Entry = ENTRIES[name]
    if reason := entry.unavailable():
        pytest.skip(reason)
    layers = [ConvProblem.parse(layer) for layer in LAYERS]
    problems = [layer.replace(direction=d) for layer in layers for d in DIRECTIONS if d != "forward"]
    # A compiler's first module may take half a minute where nothing of it is on disk yet.
    with Engine(Settings.quick(time_limit_s=120.0)) as engine:
        measured = (engine.measure("compiled", Case(problem, name=str(problem)), [entry]) for problem in problems)
        return {outcome.case.problem: outcome for of_case in measured for outcome in of_case}


@pytest.mark.parametrize("direction", [direction for direction in DIRECTIONS if direction != "forward"])
@pytest.mark.parametrize("layer", LAYERS)
def test_each_result_is_right(layer: str, direction: Direction) -> None:
    outcome = outcomes("torch-compile")[ConvProblem.parse(layer).replace(direction=direction)]
    assert outcome.status is Status.OK, f"{outcome.reason}\n{outcome.stderr_tail}"
    assert outcome.max_error_over_bound is not None and outcome.max_error_over_bound < 1


def test_compiled_gradients_are_computed_by_the_kernels_of_torch_in_the_same_layout() -> None:
    """Inductor has none of its own for them on the CPU."""
    compiled, called = outcomes("torch-compile"), outcomes("torch-channels-last")
    kernels = {problem: outcome.implementation for problem, outcome in compiled.items()}
    alike = [p for p in compiled if p.direction in ("input_gradient", "weight_gradient")]
    assert len(alike) == 2 * len(LAYERS)
    assert [kernels[p] for p in alike] == [called[p].implementation for p in alike]
