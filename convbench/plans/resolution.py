"""Which backend computes a convolution under a plan: the plan's choice if it works here, else a substitute.

Every deviation from the plan is reported in a sentence: as a warning, once, or as an error when the caller is strict.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from convbench.backend import Arrays, Backend
from convbench.errors import PlanError, did_you_mean
from convbench.measurement.machine.facts import machine_facts
from convbench.plans.plan import Plan
from convbench.problem import ConvProblem
from convbench.registry import Registry, discover, versions


class PlanWarning(UserWarning):
    """A convolution is not computed as planned, or the plan is of another machine."""


@dataclass(frozen=True)
class CallSpec:
    """A problem, the kind of arrays that it is computed on, and their device ("cpu", "cuda" or "mps")."""

    problem: ConvProblem
    arrays: Arrays
    device: str = "cpu"


@dataclass(frozen=True)
class Resolution:
    """The backend that computes, and its deviations from the plan, a sentence each."""

    backend: Backend
    deviations: tuple[str, ...] = ()
    cause: str | None = None
    """The deviation because of which this backend computes and not the planned one."""


def resolve_backend(
    spec: CallSpec, plan: Plan | None, registry: Registry, refused: Mapping[str, str] | None = None
) -> Resolution:
    """The plan's choice; else the plan's default; else the backend that stands in for arrays of this kind. Backends in
    `refused` are passed over for these reasons, a sentence each.

    Raises `PlanError` when none of them can compute it.
    """
    reasons: list[str] = []
    if plan is not None:
        reasons += cpu_deviations(plan)
        choice = plan.choice(spec.problem)
        if choice is None:
            reasons.append(_not_in_plan(plan, spec.problem))
        for name in dict.fromkeys((choice.backend if choice else plan.default, plan.default)):
            if name is None:
                continue
            candidate = (refused or {}).get(name) or _usable(name, spec, registry)
            if isinstance(candidate, Backend):
                planned = choice is not None and name == choice.backend
                cause = None if planned else reasons[-1]
                return Resolution(candidate, (*reasons, *version_deviations(plan, candidate)), cause)
            reasons.append(candidate)
    for entry in registry:
        if entry.backend.stands_in_for == spec.arrays and entry.name not in (refused or {}):
            candidate = _usable(entry.name, spec, registry)
            if isinstance(candidate, Backend):
                return Resolution(candidate, tuple(reasons), reasons[-1] if reasons else None)
    refusal = f"no backend here computes {spec.problem} on {spec.arrays} arrays on {spec.device}."
    raise PlanError(" ".join([refusal, *reasons]))


def report_deviations(resolution: Resolution, *, strict: bool) -> None:
    """Warn of each deviation, once in a process. When `strict`, raise `PlanError` instead."""
    if strict and resolution.deviations:
        raise PlanError(" ".join(resolution.deviations))
    for sentence in resolution.deviations:
        warn_once(f"{sentence} {resolution.backend.name} computes it." if sentence == resolution.cause else sentence)


_warned: set[str] = set()


def warn_once(sentence: str) -> None:
    """Give a `PlanWarning` at the line that called convbench, once in a process."""
    if sentence not in _warned:
        _warned.add(sentence)
        warnings.warn(sentence, PlanWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """How many frames above `warn_once` the first one outside convbench is."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "convbench":
        level, frame = level + 1, frame.f_back
    return level - 1


@functools.lru_cache(maxsize=8)
def registry_with(plugins: tuple[Path, ...]) -> Registry:
    """All backends, including those in the caller's files. Discovered once. Raises `BackendError`."""
    registry = discover(plugins)
    registry.defined_by(plugins)
    return registry


def limit_threads(backend: Backend, plan: Plan | None) -> None:
    """Have the backend use the plan's number of threads, unless its library is in use already.

    Call it before the first `prepare`. A library in use keeps the number of threads that its user set.
    """
    if plan is None:
        return
    if backend.limits_itself_alone or not any(module.partition(".")[0] in sys.modules for module in backend.requires):
        backend.limit_threads(plan.threads)


def _usable(name: str, spec: CallSpec, registry: Registry) -> Backend | str:
    """The backend of that name, or why it cannot compute `spec`."""
    entry = next((entry for entry in registry if entry.name == name), None)
    if entry is None:
        return f"The plan's {name!r} is no backend here.{did_you_mean(name, (entry.name for entry in registry))}"
    backend = entry.backend
    if reason := entry.unavailable():
        return f"The plan's {name} cannot run here: {reason}."
    if backend.device != spec.device:
        return f"The plan's {name} computes on {backend.device}, and the input is on {spec.device}."
    try:
        reason = backend.unsupported(spec.problem)
    except Exception as error:
        reason = f"asking whether it does raised {type(error).__name__}: {error}"
    return f"The plan's {name} does not compute {spec.problem}: {reason}." if reason else backend


def _not_in_plan(plan: Plan, problem: ConvProblem) -> str:
    if (closest := plan.closest(problem)) is None:
        return f"{problem} is not in the plan."
    choice, name = closest
    has = choice.problem.as_dict().get(name)
    return f"{problem} is not in the plan, which has {choice.case_id}, where {name} is {has!r}."


def cpu_deviations(plan: Plan) -> Iterator[str]:
    """A sentence if the plan was made on another CPU."""
    cpu = machine_facts()["cpu"]
    if plan.cpu != cpu:
        yield f"The plan was made on another CPU ({plan.cpu!r}) than this one ({cpu!r}): its times need not hold here."


def version_deviations(plan: Plan, backend: Backend) -> Iterator[str]:
    """A sentence for each distribution of `backend` that has another version than when the plan was made."""
    # The choice is followed all the same: a substitute would have another version, too.
    for distribution, version in versions(backend).items():
        planned = plan.versions.get(distribution)
        if planned is not None and planned != version:
            yield f"The plan was made with {distribution} {planned!r}, and here is {version}: it should be made anew."
