"""A worker process seen from the run: requests, replies, and a status and reason for every way in which it can die."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from convbench.isa import Isa
from convbench.measurement.machine.affinity import Cores, children_on
from convbench.measurement.machine.run_queue import queued_between, queued_s
from convbench.measurement.workers.child_process import ChildProcess
from convbench.measurement.workers.messages import Failed, Prepare, ReplyT, Request, TakeSample
from convbench.measurement.workers.pipes import LateError, Patience, ReplyPipe, RequestPipe
from convbench.measurement.workers.process_environment import WORKER, Allocator, kept_caches, worker_environment
from convbench.measurement.workers.protocol import Frame, ProtocolError, encoded_message, read_frame, reply_of
from convbench.measurement.workers.stage import stage_in
from convbench.registry import Entry
from convbench.status import Status

_DYING_S = 5.0
# Both processes read one clock, so that what passed for a worker passed for the run; this is for what it rounds.
_CLOCK_SHARE, _CLOCK_S = 0.02, 0.002


@dataclass(frozen=True)
class Wait:
    """How long the run waited for a sample, and how much of that the worker says that the calls took. `queued_s` is how
    long worker and run waited for a CPU outside of the calls: by the kernel's count, less what the worker says of the
    calls. It is None where that is not known, and for samples whose queue was not asked about."""

    waited_s: float
    accounted_s: float
    queued_s: float | None = None

    @property
    def unaccounted_s(self) -> float:
        return max(0.0, self.waited_s - self.accounted_s - (self.queued_s or 0.0))


@dataclass(frozen=True)
class _Queued:
    """Seconds that the worker's main thread, which samples, and the threads of this process have waited for a CPU."""

    worker: dict[int, float]
    run: dict[int, float]

    def outside_s(self, before: _Queued, inside_s: float | None) -> float | None:
        """Seconds since `before` that are not among the `inside_s` seconds that the worker says of its calls; None
        where the system does not tell."""
        if inside_s is None or not (self.worker and before.worker):
            return None
        of_worker_s = queued_between(before.worker, self.worker) - max(0.0, inside_s)
        return max(0.0, of_worker_s) + queued_between(before.run, self.run)


class WorkerError(Exception):
    """A worker did not reply as requested; `status` and `reason` say how. Of an exception of the backend, `where` is
    its author's file, line and function, and `traceback` its author's frames."""

    def __init__(
        self, status: Status, reason: str, stderr_tail: str = "", where: str | None = None, traceback: str = ""
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.stderr_tail = stderr_tail
        self.where = where
        self.traceback = traceback


class WorkerProcess(ChildProcess):
    """One worker: its process and its pipes. It is not trusted: nothing that it does, or a process that it starts,
    makes the run wait for longer than a limit, and what it sends is checked. `waits` are those for samples
    since something was prepared."""

    def __init__(
        self, entry: Entry, threads: int, allocator: Allocator, cores: Cores = (), isa: Isa | None = None
    ) -> None:
        switches = {} if isa is None else entry.backend.isa_switches.get(isa)
        environment = worker_environment(threads, allocator, elsewhere=entry.python is not None, switches=switches)
        environment = kept_caches(entry.backend.kept_caches, isa) | environment
        with children_on(cores):  # Ctrl-C in the terminal is for the run, which then ends its workers
            super().__init__(WORKER, entry.python, environment, own_session=True)
        self.waits: list[Wait] = []
        self._requests = RequestPipe(self._stdin, lambda: self.alive)
        self._replies = ReplyPipe(self._stdout, lambda: self.alive)
        self._number = 0
        self._sent_at_s = 0.0
        self._queued: _Queued | None = None  # when the request was sent
        self._pid: int | None = None  # as its first frame has it, because an interpreter may be started by a script
        self._most_bytes = 0  # of the output for the problem that is prepared

    def send(self, request: Request[ReplyT]) -> None:
        """Send a request without waiting, so that several workers can start at once. `receive` waits, and sends what
        did not fit into the pipe."""
        self._number += 1
        self._queued = self._queued_now() if isinstance(request, TakeSample) and request.asks_queue else None
        self._sent_at_s = time.perf_counter()
        with contextlib.suppress(OSError, ValueError):  # `receive` finds out that the worker died
            self._requests.begin(encoded_message(request, self._number))

    def receive(self, request: Request[ReplyT], time_limit_s: float) -> ReplyT:
        """The reply to `request`. Raises `WorkerError` when the worker failed, died, or sent something else; also after
        `time_limit_s` seconds, and then the worker is killed."""
        try:
            reply = self._receive(request, time_limit_s)
        except LateError:
            what = stage_in(self._temporary) or request.name
            self.kill()
            reason = f"no answer to {what!r} within the time limit of {time_limit_s:g} s (--time-limit)"
            raise WorkerError(Status.TIMEOUT, reason, self._stderr_tail()) from None
        except (EOFError, OSError, ValueError):  # it died, perhaps in the middle of a frame
            raise self._death(stage_in(self._temporary) or request.name) from None
        except ProtocolError as error:
            self.kill()
            reason = f"its worker's reply to {request.name!r} is invalid: {error}"
            raise WorkerError(Status.ERROR, reason, self._stderr_tail()) from None
        if isinstance(reply, Failed):
            if reply.status is Status.CRASHED:
                self.kill()
            raise WorkerError(reply.status, reply.reason, self._stderr_tail(), reply.where, reply.traceback)
        return reply

    def kill(self) -> None:
        """End the process and whatever it started."""
        self.end()
        for pipe in (self._requests, self._replies):
            with contextlib.suppress(OSError):
                pipe.close()

    def _receive(self, request: Request[ReplyT], time_limit_s: float) -> ReplyT | Failed:
        """The reply. Raises `LateError`, `EOFError`, `OSError`, `ValueError` or `ProtocolError`."""
        patience = self._replies.patience = Patience(time_limit_s)
        self._requests.finish(patience)
        if request.most_bytes:
            self._most_bytes = request.most_bytes
        most_bytes = self._most_bytes if request.most_bytes is None else request.most_bytes
        frame = self._next_frame(most_bytes)
        waited_s = time.perf_counter() - self._sent_at_s
        reply = reply_of(frame, request)
        if not isinstance(reply, Failed):
            self._note_wait(request, reply, waited_s)
        return reply

    def _note_wait(self, request: Request[Any], reply: Any, waited_s: float) -> None:
        """Keep how long a sample took. Raises `ProtocolError` if more time passed for the worker than for the run."""
        claimed_s = sum(request.claimed_s(reply))
        if claimed_s > waited_s * (1 + _CLOCK_SHARE) + _CLOCK_S:
            raise ProtocolError(f"it says that {claimed_s:.3g} s passed, where the run waited {waited_s:.3g} s")
        if isinstance(request, Prepare):
            self.waits = []
        elif isinstance(request, TakeSample):
            before = self._queued
            queued_s = None if before is None else self._queued_now().outside_s(before, reply.queued_s)
            self.waits.append(Wait(waited_s, request.accounted_s(reply), queued_s))

    def _queued_now(self) -> _Queued:
        main: dict[int, float] = {}
        with contextlib.suppress(OSError):
            # By its own word it is the worker. It is believed if it belongs to the process that was started.
            if self._pid is not None and os.getsid(self._pid) == self._process.pid:
                main = {thread: s for thread, s in queued_s(self._pid).items() if thread == self._pid}
        return _Queued(main, queued_s(os.getpid()))

    def _next_frame(self, most_bytes: int) -> Frame:
        """A frame that this worker sent about the last request."""
        frame = read_frame(self._replies, most_bytes=most_bytes)
        if frame is None:
            raise EOFError
        if self._pid is None:
            self._pid = frame.sender
        if frame.sender != self._pid:
            raise ProtocolError(f"process {frame.sender} wrote it, and the worker is {self._pid}")
        if frame.number != self._number:
            raise ProtocolError(f"it answers request {frame.number}, and {self._number} was the last")
        return frame

    def _death(self, request: str) -> WorkerError:
        end_s = time.monotonic() + _DYING_S
        while self.alive and time.monotonic() < end_s:  # a process closes its pipes before it is gone
            time.sleep(0.005)
        is_gone = not self.alive
        self.kill()
        code = self._process.returncode if is_gone else None
        status, reason = Status.CRASHED, f"exited with code {code} during {request!r}"
        if code is None:
            reason = f"stopped answering during {request!r}"
        elif code == -signal.SIGKILL:
            status = Status.OUT_OF_MEMORY
            reason = f"killed during {request!r} (SIGKILL), as the system does when memory runs out"
        elif code < 0:
            reason = f"killed by {self._signal_name(-code)} during {request!r}"
        return WorkerError(status, reason, self._stderr_tail())
