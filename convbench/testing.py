"""One line for the test suite of a backend: it verifies it.

    from convbench.testing import verify

    def test_my_conv():
        verify("my_conv.py")

`verify` fails as an assertion does, with a report of each cause: the smallest case, what the failing cases share, and
code that reproduces it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from convbench.backend import Backend
from convbench.errors import BackendError, ConvbenchError
from convbench.files.user_file import real_path
from convbench.measurement.machine.facts import cpu_flags
from convbench.measurement.workers.process import WorkerError
from convbench.problem import DIRECTIONS, Direction
from convbench.registry import Entry, Origin, discover
from convbench.runner.verify.campaign import Campaign
from convbench.runner.verify.campaign_plan import CampaignPlan
from convbench.runner.verify.examiner import Examiner
from convbench.runner.verify.rows import command_for
from convbench.verification.causes.report import report
from convbench.verification.known import KnownWrong, applicable, own_table, read_known

__all__ = ["WrongBackendError", "verify"]


class WrongBackendError(AssertionError):
    """A backend failed its verification; the message is the report."""


def verify(
    plugin: str | PathLike[str] | Backend,
    *,
    strength: int = 2,
    search_s: float = 5.0,
    seed: int = 0,
    threads: int = 1,
    known: Iterable[str | PathLike[str]] = (),
    time_limit_s: float | None = None,
) -> None:
    """Verify every backend that a plugin file defines, or one backend in the `BACKENDS` of its module.

    The sweep has every combination of `strength` parameter classes that the backend supports, in each direction that
    it names; random questions follow
    for `search_s` seconds, of which `time_limit_s` is the older name. The backend runs in its own process, so a crash
    fails the test and nothing else. `known` are files of known wrong answers (`convbench verify --write-known`), which
    are no failures.

    Raises `WrongBackendError`, an `AssertionError`, for a failure, and `BackendError` for a backend that cannot run.
    """
    __tracebackhide__ = True  # pytest shows the line that calls this, and no frames of convbench
    search_s = search_s if time_limit_s is None else time_limit_s
    try:
        table = [*own_table(), *(entry for path in known for entry in read_known(Path(path)))]
        plan = CampaignPlan(strength=strength, search_s=search_s, seed=seed)
        reports = [
            text
            for entry in _entries(plugin)
            for text in _reports(entry, replace(plan, directions=_directions(entry.backend)), threads, table)
        ]
    except ConvbenchError as error:
        raise type(error)(*error.args) from None
    if reports:
        raise WrongBackendError("\n\n".join(["the backend is wrong", *reports]))


def _reports(entry: Entry, plan: CampaignPlan, threads: int, table: Sequence[KnownWrong]) -> list[str]:
    """A report of each cause of failures. Raises `BackendError`."""
    if reason := entry.unavailable():
        raise BackendError(f"{entry.name} cannot be verified here: {reason}")
    with Examiner(entry, threads=threads) as examiner:
        try:
            examiner.start()
            known_here = applicable(table, examiner.backend.name, examiner.versions, cpu_flags())
            campaign = Campaign(examiner, known_here)
            answers = sum(1 for _ in campaign.follow(plan))
        except WorkerError as error:
            raise BackendError(f"{entry.name} cannot be verified: {error.reason}") from None
        if not answers:
            raise BackendError(f"{entry.name} supports no question of the sweep.")
        return [
            report(cause, examiner.backend, examiner.versions, command_for(examiner, [cause.representative.question]))
            for cause in campaign.causes()
        ]


def _directions(backend: Backend) -> tuple[Direction, ...]:
    """All that it says it computes."""
    return tuple(direction for direction in DIRECTIONS if direction in backend.supports.directions)


def _entries(plugin: str | PathLike[str] | Backend) -> list[Entry]:
    if isinstance(plugin, Backend):
        return [Entry(plugin.name, _origin(plugin), plugin)]
    path = Path(plugin)
    return discover([path], entry_points=False).defined_by([path])


def _origin(backend: Backend) -> Origin:
    """The module of `backend`, with the folder that holds it or the outermost package that it is in."""
    name = type(backend).__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return Origin("module", name)
    path = real_path(file)
    if name == "__main__":
        return Origin("file", str(path))
    inside = name.split(".") if path.stem != "__init__" else [*name.split("."), "__init__"]
    return Origin("module", name, str(path.parents[len(inside) - 1]))
