"""For the tests of those who write a backend: one line verifies it.

    from convbench.testing import verify

    def test_my_conv():
        verify("my_conv.py")

`verify` fails as an assertion does, with a report of each cause: the smallest case, what the failing ones share, and
code that shows it.
"""

from __future__ import annotations

import sys
from os import PathLike
from pathlib import Path

from convbench.backend import Backend
from convbench.errors import BackendError
from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry, Origin, discover
from convbench.runner.verify.campaign import Campaign, CampaignPlan
from convbench.runner.verify.examiner import Examiner
from convbench.verification.causes.report import report

__all__ = ["WrongBackendError", "verify"]


class WrongBackendError(AssertionError):
    """A backend failed its verification; the message is the report."""


def verify(
    plugin: str | PathLike[str] | Backend,
    *,
    strength: int = 2,
    time_limit_s: float = 5.0,
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Verify every backend that a plugin file defines, or one backend that stands in the `BACKENDS` of its module.

    The sweep has every combination of `strength` parameter classes that the backend supports; then random questions are
    asked for `time_limit_s` seconds. The backend runs in a process of its own: a crash is a failure of the test only.

    Raises `WrongBackendError`, an `AssertionError`, for a failure, and `BackendError` for what cannot be run at all.
    """
    reports: list[str] = []
    for entry in _entries(plugin):
        if reason := entry.unavailable():
            raise BackendError(f"{entry.name} cannot be verified here: {reason}")
        with Examiner(entry, threads=threads) as examiner:
            campaign = Campaign(examiner)
            try:
                plan = CampaignPlan(strength=strength, time_limit_s=time_limit_s, seed=seed)
                asked = sum(1 for _ in campaign.follow(plan))
            except WorkerError as error:
                raise BackendError(f"{entry.name} cannot be verified: {error.reason}") from None
            if not asked:
                raise BackendError(f"{entry.name} supports nothing that could be asked.")
            reports += [report(cause, examiner.backend, examiner.versions) for cause in campaign.causes()]
    if reports:
        raise WrongBackendError("\n\n".join(["the backend is wrong", *reports]))


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
    path = Path(file).resolve()
    if name == "__main__":
        return Origin("file", str(path))
    inside = name.split(".") if path.stem != "__init__" else [*name.split("."), "__init__"]
    return Origin("module", name, str(path.parents[len(inside) - 1]))
