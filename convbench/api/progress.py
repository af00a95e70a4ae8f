"""The observer of an API call: live progress in a terminal or a notebook, lines when asked for, or silence."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from convbench.reporting.console import stderr
from convbench.reporting.progress import LiveProgress, PlainProgress
from convbench.runner.observer import Observer


def is_drawn(console: Console) -> bool:
    """Whether lines can be redrawn: in a terminal, and in a notebook with ipywidgets."""
    return console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None)


@contextmanager
def observed(progress: bool | None) -> Iterator[Observer]:
    """Live progress where it can be drawn and disappears at the end. `True` adds the messages, and prints lines where
    it cannot be drawn; `False` shows nothing."""
    console = stderr()
    live = is_drawn(console)
    if progress is False or not (live or progress):
        yield Observer()
    elif live:
        with LiveProgress(console, messages=bool(progress)) as observer:
            yield observer
    else:
        yield PlainProgress(console)
