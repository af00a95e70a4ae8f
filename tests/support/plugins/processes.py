"""Backends that start processes, leave them behind, or stop the worker from being heard. A plugin file."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem

_HOUR_S = 3600
_CHATTER = b"chatter, and more of it, until it fills the prefix of a frame"


class Once(Backend):
    """Right, and in its first call does something to the worker's process."""

    supports = Supports()
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str, act: Callable[[], None], where: str = "run") -> None:
        self.name, self.act, self.where, self.done = name, act, where, False

    def at(self, where: str) -> None:
        if where == self.where and not self.done:
            self.done = True
            self.act()

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        self.at("prepare")

        def run() -> Any:
            self.at("run")
            return convolve(problem, x, w, b).astype(x.dtype)

        def to_numpy(output: Any) -> Any:
            self.at("to_numpy")
            return output

        return Ready(run, to_numpy=to_numpy)


def _native_fork() -> int:
    """fork(2) without Python's hooks, as a library's own code calls it."""
    return int(ctypes.CDLL(None).fork())


def _leave_to_the_child(fork: Callable[[], int]) -> None:
    if fork():
        os._exit(0)


def _exit_with_a_child_that_stays() -> None:
    if _native_fork():
        os._exit(0)
    time.sleep(_HOUR_S)


def _stay_in_another_session() -> None:
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(_HOUR_S)
        os._exit(0)


def _start_a_program() -> None:
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({_HOUR_S})"], start_new_session=True)


def _with_all_pipes(act: Callable[[int], object]) -> None:
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if int(path.name) > 2 and stat.S_ISFIFO(os.fstat(int(path.name)).st_mode):
                act(int(path.name))


def _never_return() -> None:
    ctypes.PyDLL(None).sleep(_HOUR_S)  # and keeps every other thread of the interpreter from running


BACKENDS = (
    Once("right", lambda: None),
    Once("forks-and-both-go-on", lambda: os.fork() and None),
    Once("forks-natively-and-both-go-on", lambda: _native_fork() and None),
    Once("leaves-to-its-child", lambda: _leave_to_the_child(os.fork)),
    Once("leaves-to-its-native-child", lambda: _leave_to_the_child(_native_fork)),
    Once("exits-and-its-child-stays", _exit_with_a_child_that_stays),
    Once("leaves-one-in-another-session", _stay_in_another_session),
    Once("leaves-a-program", _start_a_program),
    Once("writes-to-all-pipes", lambda: _with_all_pipes(lambda file: os.write(file, _CHATTER))),
    Once("closes-all-pipes", lambda: _with_all_pipes(os.close)),
    Once("never-returns", _never_return),
    Once("never-prepares", _never_return, "prepare"),
    Once("never-converts", _never_return, "to_numpy"),
)
