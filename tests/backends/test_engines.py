"""The field's inference engines, each in a real worker process: no problem makes one fail, threads are kept to, and
what it computes in float32 is right. Engines that are not installed are skipped, with what to install.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache

import pytest

from convbench.measurement.machine.facts import cpu_flags
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import DIRECTIONS, ConvProblem, Direction
from convbench.registry import Entry, LoadFailure, discover
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.known import applicable, own_table
from convbench.verification.question import Question

ENGINES = (
    "onnxruntime*",
    "openvino*",
    "opencv*",
    "onednn*",
    "ncnn*",
    "litert*",
    "torch-compile*",
    "tensorflow*",
    "tvm*",
    "iree*",
)
LARGE = ConvProblem(in_channels=64, height=56, width=56, out_channels=64, kernel_size=3, padding=1)
SMALL = ConvProblem(in_channels=8, height=13, width=11, out_channels=12, kernel_size=3, padding=1)
PROBLEMS = {
    "large": LARGE,  # first, so that its times meet a worker without a past
    "dense": SMALL,
    "pointwise": SMALL.replace(kernel_size=1, padding=0),
    "depthwise": SMALL.replace(out_channels=8, groups=8),
    "grouped": SMALL.replace(groups=4),
    "strided": SMALL.replace(stride=(2, 1)),
    "dilated": SMALL.replace(dilation=2),
    "padded unevenly": SMALL.replace(padding=((1, 0), (2, 3))),
    "padded by reflection": SMALL.replace(padding_mode="reflect"),
    "bias": SMALL.replace(bias=True),
    "float16": SMALL.replace(dtype="float16"),
    "input gradient": SMALL.replace(stride=2, direction="input_gradient"),
    "weight gradient": SMALL.replace(groups=4, dilation=2, direction="weight_gradient"),
    "bias gradient": SMALL.replace(bias=True, direction="bias_gradient"),
    "step": SMALL.replace(stride=2, bias=True, direction="step"),
}
ENTRIES = [e for e in discover() if any(fnmatchcase(e.name, p) for p in ENGINES)]
each_engine = pytest.mark.parametrize("entry", [pytest.param(e, id=e.name) for e in ENTRIES])


@cache
def outcomes(entry: Entry) -> dict[str, Outcome]:
    """What becomes of every problem, in one worker with one thread."""
    if reason := entry.unavailable():
        pytest.skip(reason)
    dtypes = entry.backend.supports.dtypes
    asked = (
        PROBLEMS
        if "float32" in dtypes
        else {k: p.replace(dtype=min(dtypes, default="int8")) for k, p in PROBLEMS.items()}
    )
    # A compiler's first module may take half a minute where nothing of it is on disk yet.
    with Engine(Settings.quick(time_limit_s=120.0)) as engine:
        return {
            label: outcome
            for label, problem in asked.items()
            for outcome in engine.measure("engines", Case(problem, name=label), [entry])
        }


@each_engine
def test_every_problem_is_computed_or_refused_with_a_sentence(entry: Entry) -> None:
    for label, outcome in outcomes(entry).items():
        told = f"{label}: {outcome.status}: {outcome.reason}\n{outcome.stderr_tail}"
        known = applicable(own_table(), entry.name, outcome.versions, cpu_flags())
        may_be = {Status.OK, Status.UNSUPPORTED}
        if any(wrong.names(Question(problem=outcome.case.problem)) for wrong in known):
            may_be.add(Status.WRONG)
        assert outcome.status in may_be, told
        assert outcome.status is Status.OK or len((outcome.reason or "").split()) > 3, told


@each_engine
def test_one_thread_is_one_thread(entry: Entry) -> None:
    large = outcomes(entry)["large"]
    cpu_s = sum(taken.sample.cpu_s for taken in large.samples)
    wall_s = sum(taken.sample.wall_s for taken in large.samples)
    assert large.samples
    assert cpu_s / wall_s < 1.3


@each_engine
def test_float32_is_within_its_error_bound(entry: Entry) -> None:
    if entry.name == "openvino-default":
        pytest.skip("computes float32 in bfloat16 where the CPU has it, and declares so")
    for label, outcome in outcomes(entry).items():
        if outcome.case.problem.dtype == "float32" and outcome.max_error_over_bound is not None:
            assert outcome.max_error_over_bound < 1, label


@pytest.mark.parametrize("direction", [direction for direction in DIRECTIONS if direction != "forward"])
def test_engines_that_only_infer_say_so_without_their_library(direction: Direction) -> None:
    problem = SMALL.replace(bias=True, direction=direction)
    reasons = {entry.name: entry.backend.supports.reason_against(problem) for entry in ENTRIES}
    assert {name for name, reason in reasons.items() if reason is None} == {
        "onednn",
        "tensorflow",
        "iree",
        "torch-compile",
    }
    assert set(reasons.values()) == {None, f"computes forward only, not {direction}"}


def test_no_engine_fails_to_load() -> None:
    assert [row for row in discover().rows if isinstance(row, LoadFailure)] == []
