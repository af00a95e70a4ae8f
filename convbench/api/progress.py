"""The observer of an API call: live progress in a terminal or a notebook, lines when asked for, or silence."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from convbench.reporting.console import stderr
from convbench.reporting.progress import LiveProgress, PlainProgress
from convbench.runner.observer import Observer, SilentObserver


@contextmanager
def observed(progress: bool | None) -> Iterator[Observer]:
    """Live progress where it can be drawn and disappears at the end. `True` adds the messages, and prints lines where
    it cannot be drawn; `False` shows nothing."""
    console = stderr()
    draws_widgets = console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    live = console.is_terminal or draws_widgets
    if progress is False or not (live or progress):
        yield SilentObserver()
    elif live:
        with LiveProgress(console, messages=bool(progress)) as observer:
            yield observer
    else:
        yield PlainProgress(console)
