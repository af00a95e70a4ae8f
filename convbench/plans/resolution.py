"""Who computes a convolution, by a plan: its choice where that can be had, and who stands in where it cannot.

Whatever is not as planned is said in a sentence: warned of once, or raised where the caller is strict.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convbench.backend import Arrays, Backend
from convbench.errors import PlanError, did_you_mean
from convbench.measurement.machine.facts import machine_facts
from convbench.plans.plan import Plan
from convbench.problem import ConvProblem
from convbench.registry import Registry, discover, versions


class PlanWarning(UserWarning):
    """Something is computed otherwise than planned, or on another machine."""


@dataclass(frozen=True)
class CallSpec:
    """What is to be computed: on arrays of this kind, on this device ("cpu", "cuda", "mps")."""

    problem: ConvProblem
    arrays: Arrays
    device: str = "cpu"


@dataclass(frozen=True)
class Resolution:
    """Who computes, and what is not as planned: a sentence each, of which `cause` is why another one stands in."""

    backend: Backend
    otherwise: tuple[str, ...] = ()
    cause: str | None = None


def resolve_backend(wanted: CallSpec, plan: Plan | None, registry: Registry) -> Resolution:
    """The plan's choice; else the plan's default; else who stands in for arrays of this kind. Without a plan the last.

    Raises `PlanError` when not even that one can compute it.
    """
    reasons: list[str] = []
    if plan is not None:
        reasons += elsewhere(plan)
        choice = plan.choice(wanted.problem)
        if choice is None:
            reasons.append(_not_in_plan(plan, wanted.problem))
        for name in dict.fromkeys((choice.backend if choice else plan.default, plan.default)):
            if name is None:
                continue
            found = _usable(name, wanted, registry)
            if isinstance(found, Backend):
                planned = choice is not None and name == choice.backend
                cause = None if planned else reasons[-1]
                return Resolution(found, (*reasons, *other_versions(plan, found)), cause)
            reasons.append(found)
    for entry in registry:
        if entry.backend.stands_in_for == wanted.arrays:
            found = _usable(entry.name, wanted, registry)
            if isinstance(found, Backend):
                return Resolution(found, tuple(reasons), reasons[-1] if reasons else None)
    nobody = f"no backend here computes {wanted.problem} on {wanted.arrays} arrays on {wanted.device}."
    raise PlanError(" ".join([nobody, *reasons]))


def report_deviations(appointed: Resolution, *, strict: bool) -> None:
    """Say what is not as planned, each sentence once in a process. Raises `PlanError` instead where `strict`."""
    if strict and appointed.otherwise:
        raise PlanError(" ".join(appointed.otherwise))
    for sentence in appointed.otherwise:
        say_once(f"{sentence} {appointed.backend.name} computes it." if sentence == appointed.cause else sentence)


_said: set[str] = set()


def say_once(sentence: str) -> None:
    """A `PlanWarning`, at the line that called convbench; once in a process."""
    if sentence not in _said:
        _said.add(sentence)
        warnings.warn(sentence, PlanWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """How many calls further up than `say_once` the code stands that is not convbench's."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "convbench":
        level, frame = level + 1, frame.f_back
    return level - 1


@functools.lru_cache(maxsize=8)
def registry_with(plugins: tuple[Path, ...]) -> Registry:
    """All backends, those of the caller's own files among them; looked for once. Raises `BackendError`."""
    registry = discover(plugins)
    registry.defined_by(plugins)
    return registry


def limit_threads(backend: Backend, plan: Plan | None) -> None:
    """Have the backend use the plan's threads, where that changes nothing for others who use its library already.

    To be called before its first `prepare`. A library that is in use keeps the threads that its user gave it.
    """
    if plan is None:
        return
    if backend.limits_itself_alone or not any(module.partition(".")[0] in sys.modules for module in backend.requires):
        backend.limit_threads(plan.threads)


def _usable(name: str, wanted: CallSpec, registry: Registry) -> Backend | str:
    """The backend of that name, or why it cannot compute what is wanted."""
    entry = next((entry for entry in registry if entry.name == name), None)
    if entry is None:
        return f"The plan's {name!r} is no backend here.{did_you_mean(name, (entry.name for entry in registry))}"
    backend = entry.backend
    if reason := entry.unavailable():
        return f"The plan's {name} cannot run here: {reason}."
    if backend.device != wanted.device:
        return f"The plan's {name} computes on {backend.device}, and the input is on {wanted.device}."
    try:
        reason = backend.unsupported(wanted.problem)
    except Exception as error:
        reason = f"asking whether it does raised {type(error).__name__}: {error}"
    return f"The plan's {name} does not compute {wanted.problem}: {reason}." if reason else backend


def _not_in_plan(plan: Plan, problem: ConvProblem) -> str:
    close = plan.closest(problem)
    has = ""
    if close is not None:
        choice, name = close
        has = f", which has {choice.case_id}, where {name} is {getattr(choice.problem, name)!r}"
    return f"{problem} is not in the plan{has}."


def elsewhere(plan: Plan) -> Iterator[str]:
    """What is to be said where the plan was made on another CPU."""
    cpu = machine_facts()["cpu"]
    if plan.cpu != cpu:
        yield f"The plan was made on another CPU ({plan.cpu!r}) than this one ({cpu!r}): its times need not hold here."


def other_versions(plan: Plan, backend: Backend) -> Iterator[str]:
    """What is to be said where the plan was made with other versions of what `backend` needs."""
    # Whoever stood in would be of another version, too: the choice is followed.
    for distribution, version in versions(backend).items():
        planned = plan.versions.get(distribution)
        if planned is not None and planned != version:
            yield f"The plan was made with {distribution} {planned!r}, and here is {version}: it should be made anew."
