"""Interrupts: what was measured is kept and shown, no record is half kept, and before that a command just ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class _Interrupts:
    keeping: int = 0
    """How many blocks are under way that have something to keep."""
    arrived: bool = False


_STATE = _Interrupts()


def interrupt(number: int, frame: FrameType | None) -> None:
    """The command line's handler of SIGINT. Raises `KeyboardInterrupt`; while a library is imported and nothing has to
    be kept, ends the process at once with 130, because an interrupted library may raise anything or nothing."""
    _STATE.arrived = True
    if not _STATE.keeping and _is_importing(frame):
        os._exit(130)
    raise KeyboardInterrupt


def interrupt_arrived() -> bool:
    """Whether `interrupt` was called: an exception that came after it may be a library's answer to it."""
    return _STATE.arrived


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: what was measured is kept and shown."""

    if threading.current_thread() is not threading.main_thread():  # only the main thread may install handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    _STATE.keeping += 1
    try:
        yield
    finally:
        _STATE.keeping -= 1
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def handlers_stay() -> Iterator[None]:
    """Put back the handlers of interrupts that a library replaces within the block."""
    if threading.current_thread() is not threading.main_thread():  # where a library cannot replace them, either
        yield
        return
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Delay an interrupt until the end of the block, which is done wholly or not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    before: dict[int, Any] = {}
    try:
        for kind in (signal.SIGINT, signal.SIGTERM):
            before[kind] = signal.signal(kind, lambda *arguments: arrived.append(arguments))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in arrived:
            handler = before[number]
            if callable(handler):
                handler(number, frame)
            else:
                signal.raise_signal(number)
