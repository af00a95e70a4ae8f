"""The crew of a run: one worker per backend, started when first needed, replaced when dead, dismissed at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from numpy.typing import NDArray

from convbench.measurement.machine import memory_limit_bytes, usable_cpus
from convbench.measurement.outcome import Settings
from convbench.measurement.process import WorkerError, WorkerProcess
from convbench.measurement.protocol import Message
from convbench.registry import Entry

_START_LIMIT_S = 120.0
_KEPT_FREE = 0.1


class Worker(Protocol):
    """What a crew needs of a worker: see `WorkerProcess`. Tests put others in its place."""

    @property
    def alive(self) -> bool: ...
    def tell(self, command: str, arrays: Mapping[str, NDArray[Any]] | None = None, **fields: Any) -> None: ...
    def answer(self, command: str, time_limit_s: float) -> Message: ...
    def kill(self) -> None: ...


class Crew:
    """The workers, by backend. `versions` are those of the libraries, as the workers found them."""

    def __init__(self, settings: Settings, start_worker: Callable[[Entry, Settings], Worker] | None = None) -> None:
        self.versions: dict[str, dict[str, str]] = {}
        self._settings = settings
        self._start_worker = start_worker or (lambda entry, s: WorkerProcess(entry, s.threads, s.allocator))
        self._workers: dict[str, Worker] = {}

    def runs(self, entry: Entry) -> bool:
        """Whether the worker of `entry` can be asked."""
        worker = self._workers.get(entry.name)
        return worker is not None and worker.alive

    def start(self, entries: Sequence[Entry]) -> dict[str, WorkerError]:
        """Start those of `entries` that do not run, all at once; gives the errors of those that did not start."""
        missing = [entry for entry in entries if not self.runs(entry)]
        for entry in missing:
            self._workers[entry.name] = self._start_worker(entry, self._settings)
            self._tell_start(entry)
        failed = {}
        for entry in missing:
            try:
                started = self._workers[entry.name].answer("start", _START_LIMIT_S)
                self.versions[entry.name] = started.fields["versions"]
            except WorkerError as error:
                self._workers.pop(entry.name).kill()
                failed[entry.name] = error
        return failed

    def ask(
        self, entry: Entry, command: str, arrays: Mapping[str, NDArray[Any]] | None = None, **fields: Any
    ) -> Message:
        """The worker's answer. Raises `WorkerError` when there is none within the time limit, or it says it failed."""
        worker = self._workers[entry.name]
        worker.tell(command, arrays, **fields)
        return worker.answer(command, self._settings.time_limit_s)

    def dismiss(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.kill()

    def _tell_start(self, entry: Entry) -> None:
        on_cpu = entry.backend is not None and entry.backend.device == "cpu"
        self._workers[entry.name].tell(
            "start",
            backend=entry.name,
            origin=asdict(entry.origin),
            threads=self._settings.threads,
            # A GPU's driver reserves far more address space than it uses.
            memory_limit_bytes=int(memory_limit_bytes() * (1 - _KEPT_FREE)) if on_cpu else None,
        )


def batches(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """`entries` in groups of as many as there are CPUs: importing libraries is work."""
    at_once = usable_cpus()
    return [entries[first : first + at_once] for first in range(0, len(entries), at_once)]
