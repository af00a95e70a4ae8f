"""The worker processes of a run: started when first needed, replaced when dead, shut down at the end.

A worker belongs to an entry; where a backend has several, to `entry.again(2)` and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue

from convbench.isa import exceeds
from convbench.measurement.machine.affinity import Cores, starting_cores
from convbench.measurement.machine.facts import memory_limit_bytes, usable_cpus
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import ReplyT, Request, Start, Started
from convbench.measurement.workers.process import Wait, WorkerError, WorkerProcess
from convbench.registry import Entry
from convbench.status import Status

_START_LIMIT_S = 120.0
_KEPT_FREE = 0.1
_LONGEST_ISA = 200


class WorkerPool:
    """Workers by entry, pinned to `cores` if any are given. By the entry's name it keeps what each reported when it
    `started`, and the `versions` of its libraries."""

    def __init__(
        self,
        settings: Settings,
        start_worker: Callable[[Entry, Settings, int], WorkerProcess] | None = None,
        cores: Cores = (),
    ) -> None:
        self.versions: dict[str, dict[str, str]] = {}
        self.started: dict[str, Started] = {}
        self._settings = settings
        self._pinned_to = cores
        self._start_worker = start_worker or self._start_process
        self._workers: dict[str, WorkerProcess] = {}
        self._is_shut_down = False

    def runs(self, entry: Entry) -> bool:
        worker = self._workers.get(entry.name)
        return worker is not None and worker.alive

    def start(
        self, entries: Sequence[Entry], on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, WorkerError]:
        """Start the workers of `entries` that do not run yet, on all CPUs because importing libraries takes time.
        Returns the errors of those that failed, by name. `on_progress` is called with the number done and of all."""
        missing = [entry for entry in entries if not self.runs(entry)]
        if not missing:
            return {}
        self._is_shut_down = False
        on_progress(0, len(missing))
        slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(usable_cpus()):
            slots.put(slot)
        with ThreadPoolExecutor(slots.qsize()) as executor:
            futures = {executor.submit(self._start, entry, slots): entry for entry in missing}
            try:
                for done, _ in enumerate(as_completed(futures), 1):
                    on_progress(done, len(futures))
                errors = {entry.name: future.result() for future, entry in futures.items()}
            except BaseException:  # an interrupt: do not wait for the others
                executor.shutdown(wait=False, cancel_futures=True)
                self.shutdown()
                raise
        return {name: error for name, error in errors.items() if error is not None}

    def request(
        self,
        entry: Entry,
        request: Request[ReplyT],
        time_limit_s: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> ReplyT:
        """The worker's reply. Raises `WorkerError` when it failed, or after the time limit (else that of settings).
        `meanwhile` is called while the worker is at it, and should take little time."""
        worker = self._workers[entry.name]
        worker.send(request)
        try:
            meanwhile()
        except BaseException:  # the reply would be taken for that to the next request
            worker.kill()
            raise
        return worker.receive(request, time_limit_s or self._settings.time_limit_s)

    def waits(self, entry: Entry) -> Sequence[Wait]:
        """How long the run waited for each of the worker's samples since something was prepared."""
        return self._workers[entry.name].waits

    def shutdown(self) -> None:
        self._is_shut_down = True
        for worker in list(self._workers.values()):
            worker.kill()

    def _start(self, entry: Entry, slots: SimpleQueue[int]) -> WorkerError | None:
        on_cpu = entry.backend.device == "cpu"
        request = Start(
            backend=entry.backend.name,
            origin=entry.origin,
            threads=self._settings.threads,
            cores=self._cores_of(entry),
            # A GPU's driver reserves far more address space than it uses.
            memory_limit_bytes=int(memory_limit_bytes() * (1 - _KEPT_FREE)) if on_cpu else None,
            asks_isa=self._settings.isa is not None,
            priority=self._settings.priority,
        )
        slot = slots.get()
        try:
            worker = self._workers[entry.name] = self._start_worker(entry, self._settings, slot)
            if self._is_shut_down:  # meanwhile, by an interrupt, which did not see this worker yet
                worker.kill()
            worker.send(request)
            started = worker.receive(request, _START_LIMIT_S)
            self._check_isa(entry, started)
        except WorkerError as error:
            self._workers.pop(entry.name).kill()
            return error
        finally:
            slots.put(slot)
        python = {} if entry.python is None else {"python": started.python}
        self.versions[entry.name] = started.versions | python
        self.started[entry.name] = started
        return None

    def _check_isa(self, entry: Entry, started: Started) -> None:
        """Raise `WorkerError` where the library says that it uses more than it was held to."""
        isa = self._settings.isa
        if isa is not None and started.isa is not None and exceeds(started.isa, isa):
            switches = " ".join(f"{name}={value}" for name, value in entry.backend.isa_switches[isa].items())
            reason = f"its switch for --isa {isa} did not take: {switches} was set, and it says that it uses "
            raise WorkerError(Status.ERROR, reason + " ".join(started.isa.split())[:_LONGEST_ISA])

    def _start_process(self, entry: Entry, settings: Settings, slot: int) -> WorkerProcess:
        start_on = starting_cores(self._cores_of(entry), slot)
        return WorkerProcess(entry, settings.threads, settings.allocator, start_on, settings.isa)

    def _cores_of(self, entry: Entry) -> Cores:
        # A GPU's driver has threads of its own that need CPUs.
        return self._pinned_to if entry.backend.device == "cpu" else ()
