"""A worker process seen from the run: start it, ask it, and turn every way it can die into a status and a reason."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from convbench.measurement.machine.affinity import Cores, children_on
from convbench.measurement.workers.process_environment import START, Allocator, worker_environment
from convbench.measurement.workers.protocol import Message, read_message, write_message
from convbench.registry import Entry
from convbench.status import Status

_WORKER = "convbench.measurement.workers.worker"
_PATIENCE_S = 1.0


class WorkerError(Exception):
    """A worker did not answer as asked; `status` and `reason` say how."""

    def __init__(self, status: Status, reason: str, stderr_tail: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.stderr_tail = stderr_tail


class WorkerProcess:
    """One worker: its process, its pipes, and a thread that reads its answers so that a silent one can time out."""

    def __init__(self, entry: Entry, threads: int, allocator: Allocator, cores: Cores = ()) -> None:
        self.entry = entry
        started = [sys.executable, "-m"] if entry.python is None else [entry.python, str(START)]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        with children_on(cores):
            self._process = subprocess.Popen(
                [*started, _WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=worker_environment(threads, allocator, elsewhere=entry.python is not None),
                start_new_session=True,  # Ctrl-C in the terminal is for the run, which then ends its workers
            )
        self._answers: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def tell(self, command: str, arrays: Mapping[str, NDArray[Any]] | None = None, **fields: Any) -> None:
        """Send a command without waiting, so that several workers can start at once; `answer` then waits."""
        assert self._process.stdin is not None
        # A worker that died is found out when its answer is read.
        with contextlib.suppress(OSError):
            write_message(self._process.stdin, Message({"command": command, **fields}, arrays or {}))  # type: ignore[arg-type]

    def answer(self, command: str, time_limit_s: float) -> Message:
        """Wait for the answer to `command`, at most `time_limit_s`; then the worker is killed."""
        try:
            answer = self._next_answer(time_limit_s)
        except queue.Empty:
            self.kill()
            raise WorkerError(
                Status.TIMEOUT,
                f"no answer to {command!r} within the time limit of {time_limit_s:g} s (--time-limit)",
                self._stderr_tail(),
            ) from None
        if answer is None:
            raise self._death(command)
        if "status" in answer.fields:
            status = Status(answer.fields["status"])
            if status is Status.CRASHED:
                self.kill()
            raise WorkerError(status, answer.fields["reason"], self._stderr_tail())
        return answer

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self.alive:
            with contextlib.suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _next_answer(self, time_limit_s: float) -> Message | None:
        """Wait in short pieces and count those, not what a clock says: a run that is stopped (Ctrl-Z) and continued has
        not waited meanwhile, and finds the answer that came. Raises `queue.Empty`."""
        left_s = time_limit_s
        while True:
            piece_s = min(left_s, _PATIENCE_S)
            try:
                return self._answers.get(timeout=piece_s)
            except queue.Empty:
                left_s -= piece_s
                if left_s <= 0:
                    raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while (message := read_message(self._process.stdout)) is not None:  # type: ignore[arg-type]
                self._answers.put(message)
        except (EOFError, OSError, ValueError, KeyError):
            pass  # a torn or foreign frame: the worker is beyond talking to
        self._answers.put(None)

    def _death(self, command: str) -> WorkerError:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
            return WorkerError(Status.CRASHED, f"stopped answering during {command!r}", self._stderr_tail())
        self.kill()
        if code >= 0:
            return WorkerError(Status.CRASHED, f"exited with code {code} during {command!r}", self._stderr_tail())
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        if name == "SIGKILL":
            reason = f"killed during {command!r} (SIGKILL), as the system does when memory runs out"
            return WorkerError(Status.OUT_OF_MEMORY, reason, self._stderr_tail())
        return WorkerError(Status.CRASHED, f"killed by {name} during {command!r}", self._stderr_tail())

    def _stderr_tail(self, size: int = 4000) -> str:
        self._stderr.flush()
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - size))
        return self._stderr.read().decode(errors="replace")
