"""Gradients and training steps of torch-compile, in a real worker process, each judged by the reference of its
direction. A compilation takes seconds, so the problems are few."""

from __future__ import annotations

import pytest

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import DIRECTIONS, ConvProblem, Direction
from convbench.registry import discover
from convbench.status import Status
from convbench.suite import Case

# A compiler's first module may take half a minute where nothing of it is on disk yet.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LAYERS = (
    "n2c8h9w8_o8k3_s2_p1_bias",
    "n2c8h7w9_o12k3_p1_d2_g4_bias_f64",
    "n1c3h6w5_o4k3x2_pt1b2l0r1_bias_circular",  # padding that conv2d does not do itself
    "n2c6h5w7_o6k3_p1_g6_bias_reflect_f16",
)


def outcomes(layer: str) -> dict[tuple[str, Direction], Outcome]:
    """The layer in every direction but forward, compiled and as torch has it in the same layout."""
    named = ("torch-compile", "torch-channels-last")
    entries = [entry for entry in discover(entry_points=False) if entry.name in named]
    for entry in entries:
        if reason := entry.unavailable():
            pytest.skip(reason)
    found = {}
    with Engine(Settings.quick(time_limit_s=120.0)) as engine:
        for direction in DIRECTIONS[1:]:
            problem = ConvProblem.parse(layer).replace(direction=direction)
            for outcome in engine.measure("compiled", Case(problem, name=str(problem)), entries):
                found[outcome.backend, direction] = outcome
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_each_result_is_right_and_gradients_are_by_the_kernels_of_torch(layer: str) -> None:
    found = outcomes(layer)
    assert len(found) == 2 * len(DIRECTIONS[1:])
    for (backend, direction), outcome in found.items():
        told = f"{backend}, {direction}: {outcome.reason}\n{outcome.stderr_tail}"
        assert outcome.status is Status.OK, told
        assert outcome.max_error_over_bound is not None and outcome.max_error_over_bound < 1, told
    for direction in ("input_gradient", "weight_gradient"):
        # Inductor has none of its own for them on the CPU.
        of_torch = found["torch-channels-last", direction].implementation
        assert found["torch-compile", direction].implementation == of_torch
