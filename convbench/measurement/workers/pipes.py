"""The two pipes between a run and a worker, at which no worker can make the run wait for longer than a limit.

A worker may stop reading or writing in the middle of a message, and a process that it forked may hold its ends open
after it is gone. So the run never blocks in a read or a write: it waits until the pipe is ready, in short steps, and
looks after each whether the worker still lives.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable
from io import BufferedReader
from typing import IO, Any, BinaryIO

_STEP_S = 0.5
_PIECE_BYTES = 2**20
_KEPT_BYTES = 2**16  # what a pipe holds
_HANG_UP_S = 0.1


class LateError(Exception):
    """The limit was over before everything was read or written."""


class Patience:
    """Seconds left to wait. Short steps of waiting are added up, and none counts for more than its length: a run that
    is stopped (Ctrl-Z) and continued, or a laptop that sleeps, has not waited meanwhile."""

    def __init__(self, limit_s: float) -> None:
        self._left_s = limit_s

    def wait(self, file: int, event: int, goes_on: Callable[[], bool]) -> bool:
        """Wait for an event of `select.poll`; False when there is none to come, as `goes_on` has ended. Raises
        `LateError`."""
        poll = select.poll()
        poll.register(file, event)
        while True:
            start = time.monotonic()
            is_ready = poll.poll(1000 * min(_STEP_S, max(0.0, self._left_s)))
            self._left_s -= min(_STEP_S, time.monotonic() - start)
            if is_ready and self._left_s > 0:
                return True
            if not goes_on():
                return bool(poll.poll(0))
            if self._left_s <= 0:
                raise LateError


class RequestPipe:
    """Writes to a worker: what its pipe takes at once, and the rest when there is time to wait."""

    def __init__(self, file: IO[bytes], goes_on: Callable[[], bool]) -> None:
        self._file, self._goes_on = file, goes_on
        self._left: deque[memoryview] = deque()
        os.set_blocking(file.fileno(), False)

    def begin(self, pieces: Iterable[Any]) -> None:
        """Write what goes of `pieces` of bytes without waiting. Raises `OSError` when no process is left to read."""
        self._left = deque(memoryview(piece).cast("B") for piece in pieces)
        self._write()

    def finish(self, patience: Patience) -> None:
        """Write the rest. Raises `OSError` when no process is left to read, and `LateError`."""
        while self._left:
            if not patience.wait(self._file.fileno(), select.POLLOUT, self._goes_on):
                raise BrokenPipeError
            self._write()

    def close(self) -> None:
        self._left.clear()
        self._file.close()

    def _write(self) -> None:
        while self._left:
            try:
                written = os.write(self._file.fileno(), self._left[0][:_PIECE_BYTES])
            except BlockingIOError:
                return
            self._left[0] = self._left[0][written:]
            if not self._left[0].nbytes:
                self._left.popleft()


class ReplyPipe:
    """A stream that reads what a worker writes, for as long as `patience` lasts."""

    patience: Patience

    def __init__(self, file: IO[bytes], goes_on: Callable[[], bool]) -> None:
        self._file, self._goes_on = file, goes_on
        self._memory = memoryview(bytearray(_KEPT_BYTES))
        self._kept = self._memory[:0]  # was read, and belongs to the next buffers

    def readinto(self, buffer: Any, /) -> int:
        """Fill some of `buffer`; 0 when the worker has closed its end or is gone. Raises `LateError`."""
        view = memoryview(buffer).cast("B")
        if not self._kept:
            if not self.patience.wait(self._file.fileno(), select.POLLIN, self._goes_on):
                return 0
            if len(view) >= _KEPT_BYTES:
                return os.readv(self._file.fileno(), [view])
            self._kept = self._memory[: os.readv(self._file.fileno(), [self._memory])]
        count = min(len(view), len(self._kept))
        view[:count] = self._kept[:count]
        self._kept = self._kept[count:]
        return count

    def close(self) -> None:
        self._file.close()


def wait_for_hang_up(incoming: BufferedReader) -> None:
    """In the worker: return when the run has closed its end or is gone, whatever lies in the pipe unread."""
    poll = select.poll()
    poll.register(incoming.fileno(), 0)
    while not any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll()):
        time.sleep(_HANG_UP_S)  # on Linux nothing else is reported


def private_streams() -> tuple[BufferedReader, BinaryIO]:
    """The worker's ends, kept for this process and convbench's own code, whatever a backend, or C code under it, does
    with descriptors 0 and 1. A process that the backend forks has neither."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)

    def leave_the_pipes() -> None:
        os.dup2(null, incoming.fileno(), inheritable=False)
        os.dup2(null, outgoing.fileno(), inheritable=False)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=leave_the_pipes)
    return incoming, outgoing
