"""One case under way: everything that the steps of its measurement share, and how a failure becomes an outcome."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from convbench.backend import Backend
from convbench.measurement.capacity import too_large
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.candidates import Candidate
from convbench.measurement.scheduling.verdicts import Verdicts
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Check, Prepare
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.measurement.workers.shared_arrays import SharedArrayCache
from convbench.registry import Entry, Row
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.gate import Gate, gate_of
from convbench.verification.operands import Operands
from convbench.verification.timed_data import TimedData

_Value = TypeVar("_Value")
_CACHE_IF_UNKNOWN = 32 << 20


@dataclass
class CaseRun:
    """A case of a suite, the workers to measure it with, and the candidates that qualified so far."""

    suite: str
    case: Case
    settings: Settings
    pool: WorkerPool
    shared: SharedArrayCache = field(default_factory=SharedArrayCache)
    candidates: list[Candidate] = field(default_factory=list)
    data: TimedData | None = None
    """What is computed while it is timed; None for normal values."""

    @cached_property
    def gate(self) -> Gate:
        """The questions to pass before being timed. Computes the reference. Raises `SuiteError` if the case expects
        another answer than the reference's, `DataError` if the data do not fit it."""
        return gate_of(self.case, self.settings.seed, self.data)

    @cached_property
    def verdicts(self) -> Verdicts:
        """On answers for the data that is timed."""
        return Verdicts(self.gate.real)

    @cached_property
    def too_large(self) -> str | None:
        """Why the case does not fit into memory; None if it may."""
        return too_large(self.case.problem)

    @cached_property
    def flush_bytes(self) -> int:
        """How much memory passes through the caches before each call; 0 for warm caches."""
        return flush_bytes(self.settings, machine_facts()["caches_bytes"].values())

    def processes(self, entry: Entry) -> list[Entry]:
        """One entry for each worker process of a backend, the first of which is its own."""
        return [entry.again(number) for number in range(1, self.settings.processes + 1)]

    def prepare(self, operands: Operands) -> Prepare:
        return Prepare(
            problem=self.case.problem,
            operands=self.shared.of(operands),
            handed_over=self.settings.handed_over,
            flush_bytes=self.flush_bytes,
        )

    def check(self, operands: Operands) -> Check:
        handed_over = self.settings.handed_over
        return Check(problem=self.case.problem, operands=self.shared.of(operands), handed_over=handed_over)

    def guarded(self, entry: Entry, step: Callable[[], _Value]) -> _Value | Outcome:
        """The result of `step`; if the worker fails, the outcome that says how."""
        try:
            return step()
        except WorkerError as error:
            return self.failed(entry, error)
        except MemoryError as error:  # in this process, which judges
            return self.outcome(entry, Status.OUT_OF_MEMORY, f"checking its answer: {error or 'no memory left'}")

    def failed(self, entry: Entry, error: WorkerError) -> Outcome:
        return self.outcome(entry, error.status, error.reason, error.stderr_tail)

    def outcome(self, row: Row, status: Status, reason: str | None = None, stderr_tail: str | None = None) -> Outcome:
        """An outcome of this case without samples."""
        return Outcome(
            suite=self.suite,
            case=self.case,
            backend=row.name,
            status=status,
            settings=self.settings,
            reason=reason,
            versions=self.pool.versions.get(row.name, {}),
            declared=declared(row.backend) if isinstance(row, Entry) else {},
            stderr_tail=stderr_tail or None,
        )


def flush_bytes(settings: Settings, caches_bytes: Collection[int]) -> int:
    """How much memory passes through caches of these sizes before each call. Twice the largest cache empties it: once
    is not enough, because a private cache of another core may survive. More empties nothing more."""
    if settings.cache == "cold":
        return 2 * max(caches_bytes, default=_CACHE_IF_UNKNOWN)
    if settings.cache == "pass":
        return min(settings.pass_bytes or 0, 2 * max(*caches_bytes, _CACHE_IF_UNKNOWN, 0))
    return 0


def declared(backend: Backend) -> dict[str, Any]:
    """What `backend` declares of itself, JSON-ready."""
    return {"device": backend.device, "prepacks": list(backend.prepacks), **asdict(backend.arithmetic)}
