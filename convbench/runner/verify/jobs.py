"""The processes of `convbench verify`: one for each backend, as many at once as there are cores for.

An interrupt asks them to end, and each reports what it has. A second interrupt ends the program.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from convbench.measurement.workers.json_child import JsonChild
from convbench.measurement.workers.process_environment import worker_environment
from convbench.store.verification_log import Event

_LAST_WORDS_S = 20.0


class _Job:
    """One process: its events go to `events` as (name, event), then (name, None) when it has ended."""

    def __init__(self, name: str, request: Mapping[str, Any], events: queue.SimpleQueue[Any]) -> None:
        self._child = JsonChild(
            "convbench.runner.verify.job",
            request,
            environment=worker_environment(request["threads"], "steady", switches=request["switches"]),
            keep_input_open=True,  # an interrupt is for the run, which then asks the jobs to end
        )
        self.ask_to_end, self.kill = self._child.close_input, self._child.end
        threading.Thread(target=self._read, args=(name, events), daemon=True).start()

    def _read(self, name: str, events: queue.SimpleQueue[Any]) -> None:
        for message in self._child.messages():
            events.put((name, message))
        events.put((name, None))

    def ending(self) -> str:
        """Wait for the end; what to say of a job that ended without a report."""
        with self._child:
            return f"its verifying process {self._child.failure() or 'ended without a report'}"


class Jobs:
    """Runs what each of `requests` says, by backend. `interrupted` says whether it had to end early."""

    def __init__(self, requests: Mapping[str, Mapping[str, Any]], at_once: int) -> None:
        self.interrupted = False
        self._waiting = deque(requests.items())
        self._at_once = at_once
        self._running: dict[str, _Job] = {}
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._reported: set[str] = set()

    def events(self) -> Iterator[tuple[str, Event]]:
        """(backend, event) as they come; for every backend that was begun the last one is its report."""
        with self._ends_politely():
            try:
                while self._start() or self._running:
                    message = self._next()
                    if message is None:
                        self._end_early()
                    elif message[1] is None:
                        ending = self._running.pop(message[0]).ending()
                        if message[0] not in self._reported:
                            yield message[0], {"event": "died", "reason": ending}
                    else:
                        if message[1]["event"] == "report":
                            self._reported.add(message[0])
                        yield message
            finally:
                for job in self._running.values():
                    job.kill()

    def _start(self) -> bool:
        while self._waiting and len(self._running) < self._at_once:
            name, request = self._waiting.popleft()
            self._running[name] = _Job(name, request, self._events)
        return bool(self._running)

    def _next(self) -> Any:
        if not self.interrupted:
            return self._events.get()
        try:
            return self._events.get(timeout=max(0.0, self._end_by - time.monotonic()))
        except queue.Empty:
            for job in self._running.values():
                job.kill()
            return self._events.get()

    def _end_early(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self._end_by = time.monotonic() + _LAST_WORDS_S
        self._waiting.clear()
        for job in self._running.values():
            job.ask_to_end()

    @contextlib.contextmanager
    def _ends_politely(self) -> Iterator[None]:
        before = {}
        with contextlib.suppress(ValueError):  # not in the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, lambda *_: self._events.put(None))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
