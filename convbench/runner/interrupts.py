"""Interrupts of a run: what was measured is kept and shown, and no record is half kept."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """A polite end of the process is an interrupt, too: what was measured is kept and shown."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # who alone may say what a signal does
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """An interrupt that comes meanwhile is heeded at the end: for what has to be done wholly or not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before: dict[int, Any] = {}
    try:
        for held in (signal.SIGINT, signal.SIGTERM):
            before[held] = signal.signal(held, lambda *what: came.append(what))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for came_as, frame in came:
            heeded = before[came_as]
            if callable(heeded):
                heeded(came_as, frame)
            else:
                signal.raise_signal(came_as)
