"""The pool of a run: the worker processes, started when first needed, replaced when dead, dismissed at the end.

A worker belongs to an entry; where a backend has several, to `entry.again(2)` and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any, Protocol

from numpy.typing import NDArray

from convbench.measurement.machine.affinity import Cores, starting_cores
from convbench.measurement.machine.facts import memory_limit_bytes, usable_cpus
from convbench.measurement.settings import Settings
from convbench.measurement.workers.process import WorkerError, WorkerProcess
from convbench.measurement.workers.protocol import Message
from convbench.registry import Entry

_START_LIMIT_S = 120.0
_KEPT_FREE = 0.1


class Worker(Protocol):
    """What a pool needs of a worker: see `WorkerProcess`. Tests put others in its place."""

    @property
    def alive(self) -> bool: ...
    def tell(self, command: str, arrays: Mapping[str, NDArray[Any]] | None = None, **fields: Any) -> None: ...
    def answer(self, command: str, time_limit_s: float) -> Message: ...
    def kill(self) -> None: ...


class WorkerPool:
    """The workers, by entry, pinned to `cores` if there are any. Of each, by its name: `versions` of the libraries as
    the worker found them, `import_s` that importing them took, `cores` that it runs on, facts of the GPU if it has one
    in `gpus`."""

    def __init__(
        self,
        settings: Settings,
        start_worker: Callable[[Entry, Settings, int], Worker] | None = None,
        cores: Cores = (),
    ) -> None:
        self.versions: dict[str, dict[str, str]] = {}
        self.import_s: dict[str, float] = {}
        self.cores: dict[str, Cores] = {}
        self.gpus: dict[str, dict[str, Any] | None] = {}
        self._settings = settings
        self._pinned_to = cores
        self._start_worker = start_worker or self._start_process
        self._workers: dict[str, Worker] = {}

    def runs(self, entry: Entry) -> bool:
        """Whether the worker of `entry` can be asked."""
        worker = self._workers.get(entry.name)
        return worker is not None and worker.alive

    def start(
        self, entries: Sequence[Entry], told: Callable[[int, int], None] = lambda done, of: None
    ) -> dict[str, WorkerError]:
        """Start those of `entries` that do not run, on all CPUs, for importing libraries is work; gives the errors of
        those that did not start. `told` how many are done, of how many."""
        missing = [entry for entry in entries if not self.runs(entry)]
        if not missing:
            return {}
        told(0, len(missing))
        failed: dict[str, WorkerError] = {}
        places: SimpleQueue[int] = SimpleQueue()
        for place in range(usable_cpus()):
            places.put(place)
        with ThreadPoolExecutor(places.qsize()) as pool:
            begun = {pool.submit(self._start, entry, places): entry for entry in missing}
            try:
                for done, future in enumerate(as_completed(begun), 1):
                    if (error := future.result()) is not None:
                        failed[begun[future].name] = error
                    told(done, len(begun))
            except BaseException:  # an interrupt: nobody waits for the others
                pool.shutdown(wait=False, cancel_futures=True)
                self.shutdown()
                raise
        return {entry.name: failed[entry.name] for entry in missing if entry.name in failed}

    def ask(
        self,
        entry: Entry,
        command: str,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        *,
        time_limit_s: float | None = None,
        **fields: Any,
    ) -> Message:
        """The worker's answer. Raises `WorkerError` when there is none within the time limit, by default that of the
        settings, or when it says that it failed."""
        worker = self._workers[entry.name]
        worker.tell(command, arrays, **fields)
        return worker.answer(command, time_limit_s or self._settings.time_limit_s)

    def shutdown(self) -> None:
        """End all workers."""
        for worker in list(self._workers.values()):
            worker.kill()

    def _start(self, entry: Entry, places: SimpleQueue[int]) -> WorkerError | None:
        """Start the worker of `entry` in the next of `places` that is free."""
        place = places.get()
        try:
            worker = self._workers[entry.name] = self._start_worker(entry, self._settings, place)
            self._tell_start(entry)
            started = worker.answer("start", _START_LIMIT_S)
        except WorkerError as error:
            self._workers.pop(entry.name).kill()
            return error
        finally:
            places.put(place)
        python = {} if entry.python is None else {"python": started.fields["python"]}
        self.versions[entry.name] = started.fields["versions"] | python
        self.import_s[entry.name] = started.fields["import_s"]
        self.cores[entry.name] = tuple(started.fields.get("cores") or ())
        self.gpus[entry.name] = started.fields.get("gpu")
        return None

    def _start_process(self, entry: Entry, settings: Settings, place: int) -> Worker:
        start_on = starting_cores(self._cores_of(entry), place)
        return WorkerProcess(entry, settings.threads, settings.allocator, start_on)

    def _cores_of(self, entry: Entry) -> Cores:
        return self._pinned_to if _on_cpu(entry) else ()  # a GPU's driver has threads of its own that need CPUs

    def _tell_start(self, entry: Entry) -> None:
        self._workers[entry.name].tell(
            "start",
            backend=entry.backend.name,
            origin=asdict(entry.origin),
            threads=self._settings.threads,
            cores=list(self._cores_of(entry)),
            # A GPU's driver reserves far more address space than it uses.
            memory_limit_bytes=int(memory_limit_bytes() * (1 - _KEPT_FREE)) if _on_cpu(entry) else None,
        )


def _on_cpu(entry: Entry) -> bool:
    return entry.backend.device == "cpu"
