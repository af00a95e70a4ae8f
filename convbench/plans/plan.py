"""A plan: which backend computes which convolution on one machine, and on what evidence.

`convbench choose --plan FILE` writes it. A plan is data. It names backends, which are looked up in the registry where
the plan is used. It has no paths, and nothing in it is run. The file is JSON:

    {"format": "convbench-plan", "version": 1, "machine": "bench-1", "cpu": "AMD EPYC", "threads": 1, "dtype": null,
     "made": "2026-11-22T12:00:00+00:00", "versions": {"convbench": "0.1.0", "torch": "2.13.0"}, "allocator": "steady",
     "default": "torch", "choices": [{"case_id": "n1c64h56w56_o64k3_p1", "backend": "numba-direct", ...}]}

A later version of the format gets another number. Whatever version 1 does not know is refused, not ignored.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cached_property
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import msgspec

from convbench.errors import PlanError, ProblemError, did_you_mean
from convbench.files.user_file import FileKind, read_bytes
from convbench.problem import ConvProblem, Dtype

FORMAT, VERSION = "convbench-plan", 1
_KIND = FileKind(  # the size: ten times a plan for every layer of every model in timm
    "a plan", 64 * 2**20, "`convbench choose --plan FILE` writes a plan", PlanError
)

Basis = Literal["measured", "recorded", "predicted"]
"""Raced for this plan; taken from earlier records; or inferred from similar layers, without a measurement."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")  # of a backend, as in the registry


@dataclass(frozen=True)
class Lead:
    """How many times slower the runner-up is, with a 95 % interval."""

    ratio: float
    low: float
    high: float

    def __post_init__(self) -> None:
        _ordered("lead", self.low, self.ratio, self.high)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The backend for one convolution. It takes `call_s` seconds per call, with the 95 % interval `low_s` to `high_s`.

    The plan's model has this convolution `count` times, first at `layer`. `reason` is a sentence.
    """

    case_id: str
    backend: str
    basis: Basis
    call_s: float
    low_s: float
    high_s: float
    runner_up: str | None = None
    lead: Lead | None = None
    count: int = 1
    layer: str | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        try:
            canonical = self.problem.case_id
        except ProblemError as error:
            raise PlanError(f"case_id names no convolution: {error}") from None
        if canonical != self.case_id:
            raise PlanError(f"case_id is {_shown(self.case_id)}, which should be spelt {canonical!r}")
        _named("backend", self.backend)
        if self.runner_up is not None:
            _named("runner_up", self.runner_up)
        _ordered("seconds (low_s, call_s, high_s)", self.low_s, self.call_s, self.high_s)
        _at_least_one("count", self.count)

    @cached_property
    def problem(self) -> ConvProblem:
        """The convolution that this choice is for."""
        return ConvProblem.from_case_id(self.case_id)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The choices for one machine and one number of threads, one for each convolution.

    `made` is the time, in ISO 8601. `versions` are those of convbench and of the distributions that the backends need.
    `default` is the backend for other convolutions: the best over all that the plan has.
    """

    machine: str
    cpu: str
    threads: int
    made: str
    choices: tuple[Choice, ...]
    dtype: Dtype | None = None
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    allocator: str | None = None
    default: str | None = None

    def __post_init__(self) -> None:
        _at_least_one("threads", self.threads)
        if self.default is not None:
            _named("default", self.default)
        if len(self._by_case) < len(self.choices):
            twice = next(a for a, b in pairwise(sorted(choice.case_id for choice in self.choices)) if a == b)
            raise PlanError(f"there are two choices for {twice}; there should be one")

    def choice(self, problem: ConvProblem) -> Choice | None:
        """The choice for exactly this convolution; None if the plan does not have it."""
        return self._by_case.get(problem.case_id)

    def closest(self, problem: ConvProblem) -> tuple[Choice, str] | None:
        """A choice whose convolution differs from `problem` in one argument only, and that argument's name."""
        wanted = problem.as_dict()
        for choice in self.choices:
            has = choice.problem.as_dict()
            differing = [name for name in wanted | has if has.get(name) != wanted.get(name)]
            if len(differing) == 1:
                return choice, differing[0]
        return None

    def write(self, path: str | PathLike[str]) -> None:
        """Write the file, completely or not at all. Raises `PlanError` if it cannot be written."""
        target = Path(path)
        partial = target.with_name(f".{target.name}-{os.getpid()}.partial")
        try:
            content = msgspec.json.encode({"format": FORMAT, "version": VERSION, **asdict(self)})
            with partial.open("wb") as file:
                file.write(msgspec.json.format(content, indent=1) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except (OSError, ValueError) as error:  # a ValueError is a text that is not Unicode, or a path with a NUL in it
            with contextlib.suppress(OSError, ValueError):
                partial.unlink()
            fault = getattr(error, "strerror", None) or error
            raise PlanError(f"the plan cannot be written to {str(path)!r}: {fault}.") from None

    @cached_property
    def _by_case(self) -> dict[str, Choice]:
        return {choice.case_id: choice for choice in self.choices}


def read_plan(path: str | PathLike[str]) -> Plan:
    """The plan in a file. Raises `PlanError`, with one sentence, if the file cannot be read or is not a valid plan."""
    where = repr(os.fspath(path))
    content = read_bytes(path, _KIND)
    try:
        return _plan(msgspec.json.decode(content))
    except (ValueError, RecursionError) as error:
        raise PlanError(
            f"{where} is no plan: {str(error).rstrip('.')}. `convbench choose --plan FILE` writes one."
        ) from None


def _plan(decoded: Any) -> Plan:
    """The plan in a decoded file. Raises `ValueError`, such as `PlanError`, for anything that is not valid."""
    if not isinstance(decoded, dict) or decoded.get("format") != FORMAT:
        raise PlanError(f'it should be a JSON object with "format": "{FORMAT}"')
    version = decoded.get("version")
    if type(version) is not int or version != VERSION:
        newer = "; it was written by a newer convbench" if type(version) is int and version > VERSION else ""
        raise PlanError(f'its "version" is {_shown(version)}, and this convbench reads {VERSION}{newer}')
    content = {name: value for name, value in decoded.items() if name not in ("format", "version")}
    _check_names(Plan, content, "the plan")
    for number, choice in enumerate(content["choices"] if isinstance(content["choices"], list) else (), 1):
        _check_names(Choice, choice, f"choice {number}")
        if isinstance(choice, dict):
            _check_names(Lead, choice.get("lead"), f"the lead of choice {number}")
    return msgspec.convert(content, Plan)


def _check_names(kind: type[Plan | Choice | Lead], content: Any, where: str) -> None:
    if not isinstance(content, dict):
        return  # msgspec refuses what is of another type, and says where it is
    known = [f.name for f in fields(kind)]
    if unknown := [name for name in content if name not in known]:
        raise PlanError(
            f"{where} has {_shown(unknown[0])}, which version {VERSION} does not know.{did_you_mean(unknown[0], known)}"
        )
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in content]:
        raise PlanError(f"{where} has no {' and no '.join(missing)}")


def _named(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise PlanError(f"{what} is {_shown(name)}; a backend's name has letters, digits and . _ @ + - only")


def _at_least_one(what: str, count: int) -> None:
    if count < 1:
        raise PlanError(f"{what} is {_shown(count)}; it should be at least 1")


def _ordered(what: str, low: float, middle: float, high: float) -> None:
    if not 0 < low <= middle <= high < math.inf:
        raise PlanError(f"{what} should be positive and in order, not {low:g}, {middle:g}, {high:g}")


def _shown(value: Any) -> str:
    """A value from a file of unknown origin, safe and short for a terminal."""
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else f"{value[:77]}...")
    return reprlib.repr(value)
