"""A worker process seen from the run: requests, replies, and a status and reason for every way in which it can die."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading

from convbench.measurement.machine.affinity import Cores, children_on
from convbench.measurement.workers.messages import Failed, ReplyT, Request
from convbench.measurement.workers.process_environment import WORKER, Allocator, ChildProcess, worker_environment
from convbench.measurement.workers.protocol import Frame, ProtocolError, read_frame, reply_of, write_message
from convbench.registry import Entry
from convbench.status import Status

_WAIT_S = 1.0


class WorkerError(Exception):
    """A worker did not reply as requested; `status` and `reason` say how."""

    def __init__(self, status: Status, reason: str, stderr_tail: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.stderr_tail = stderr_tail


class WorkerProcess(ChildProcess):
    """One worker: its process, its pipes, and a thread that reads its replies so that a silent worker can time out."""

    def __init__(self, entry: Entry, threads: int, allocator: Allocator, cores: Cores = ()) -> None:
        environment = worker_environment(threads, allocator, elsewhere=entry.python is not None)
        with children_on(cores):  # Ctrl-C in the terminal is for the run, which then ends its workers
            super().__init__(WORKER, entry.python, environment, own_session=True)
        self._frames: queue.SimpleQueue[Frame | ProtocolError | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, request: Request[ReplyT]) -> None:
        """Send a request without waiting, so that several workers can start at once. `receive` waits."""
        with contextlib.suppress(OSError):  # `receive` finds out that the worker died
            write_message(self._stdin, request)  # type: ignore[arg-type]

    def receive(self, request: Request[ReplyT], time_limit_s: float) -> ReplyT:
        """The reply to `request`. Raises `WorkerError` when the worker failed, died, or sent something else; also after
        `time_limit_s` seconds, and then the worker is killed."""
        try:
            frame = self._next_frame(time_limit_s)
            if frame is None:
                raise self._death(request.name)
            if isinstance(frame, ProtocolError):
                raise frame
            reply = reply_of(frame, request)
        except queue.Empty:
            self.kill()
            reason = f"no answer to {request.name!r} within the time limit of {time_limit_s:g} s (--time-limit)"
            raise WorkerError(Status.TIMEOUT, reason, self._stderr_tail()) from None
        except ProtocolError as error:
            self.kill()
            reason = f"its worker's reply to {request.name!r} is invalid: {error}"
            raise WorkerError(Status.ERROR, reason, self._stderr_tail()) from None
        if isinstance(reply, Failed):
            if reply.status is Status.CRASHED:
                self.kill()
            raise WorkerError(reply.status, reply.reason, self._stderr_tail())
        return reply

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self.alive:
            with contextlib.suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def _next_frame(self, time_limit_s: float) -> Frame | ProtocolError | None:
        """Wait in short steps and count them, instead of reading a clock: a run that is stopped (Ctrl-Z) and continued
        has not waited meanwhile, and finds the reply that came. Raises `queue.Empty`."""
        left_s = time_limit_s
        while left_s > _WAIT_S:
            with contextlib.suppress(queue.Empty):
                return self._frames.get(timeout=_WAIT_S)
            left_s -= _WAIT_S
        return self._frames.get(timeout=left_s)

    def _read(self) -> None:
        try:
            while (frame := read_frame(self._stdout)) is not None:  # type: ignore[arg-type]
                self._frames.put(frame)
        except ProtocolError as error:
            self._frames.put(error)
        except (EOFError, OSError, ValueError):  # it died in the middle of a frame, or the pipe was closed here
            pass
        self._frames.put(None)

    def _death(self, request: str) -> WorkerError:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        self.kill()
        status, reason = Status.CRASHED, f"exited with code {code} during {request!r}"
        if code is None:
            reason = f"stopped answering during {request!r}"
        elif code == -signal.SIGKILL:
            status = Status.OUT_OF_MEMORY
            reason = f"killed during {request!r} (SIGKILL), as the system does when memory runs out"
        elif code < 0:
            reason = f"killed by {self._signal_name(-code)} during {request!r}"
        return WorkerError(status, reason, self._stderr_tail())
