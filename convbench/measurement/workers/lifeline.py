"""A pipe from a run to a child process that nothing is ever written to. When the run ends, however it ends, the kernel
ends the child and all of its process group.

A child sees its input end only when it reads, which native code that never returns keeps it from. Linux can send
SIGKILL when the last writer of a pipe is gone (fcntl(2), F_SETSIG). Elsewhere there is no such pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

VARIABLE = "CONVBENCH_LIFELINE"


class Lifeline:
    """The run's end. `environment` and `inherited` are for the child that is started."""

    def __init__(self) -> None:
        self._child_end, self._own_end = os.pipe() if sys.platform == "linux" else (-1, -1)

    @property
    def inherited(self) -> tuple[int, ...]:
        """File descriptors for the child."""
        return () if self._child_end < 0 else (self._child_end,)

    @property
    def environment(self) -> dict[str, str]:
        return {} if self._child_end < 0 else {VARIABLE: str(self._child_end)}

    def passed_on(self) -> None:
        """Close the child's end, which the child has by now."""
        file, self._child_end = self._child_end, -1
        _close(file)

    def cut(self) -> None:
        """Close this end. A child that runs is ended."""
        file, self._own_end = self._own_end, -1
        _close(file)


def hold() -> None:
    """In the child: end when the run does."""
    value = os.environ.pop(VARIABLE, "")
    if sys.platform == "linux" and value.isdecimal():
        import fcntl

        with contextlib.suppress(OSError):
            file = int(value)
            os.set_inheritable(file, False)
            fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(file, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
            with contextlib.suppress(BlockingIOError):
                if not os.read(file, 1):  # it had ended before
                    os.killpg(os.getpgrp(), signal.SIGKILL)


def _close(file: int) -> None:
    if file >= 0:
        os.close(file)
