"""Asks workers which kernel or algorithm ran, once the times of a pair are known.

Some libraries tell only in logs or profiles of a call of its own, and a log may crash or hang a library. That loses the
answer, and nothing else: the pair has its times, and the worker is replaced for the next case.
"""

from __future__ import annotations

from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.workers.messages import Explain
from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry


class Explainer:
    """Asks backends for a run. One that lost its worker over the question is not asked again, because each time would
    cost `limit_s` seconds and the start of a worker."""

    def __init__(self, limit_s: float = 30.0) -> None:
        self._limit_s = limit_s
        self._lost: set[str] = set()

    def asks(self, run: CaseRun, entry: Entry) -> bool:
        return run.settings.explain and entry.name not in self._lost

    def implementation(self, run: CaseRun, entry: Entry) -> str | None:
        """The kernel or algorithm that `entry`'s worker used for what it has prepared; None where it does not say."""
        limit_s = min(self._limit_s, run.settings.time_limit_s)
        try:
            return run.pool.request(entry, Explain(), limit_s).implementation
        except WorkerError:
            self._lost.add(entry.name)
            return None
