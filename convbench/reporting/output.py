"""An answer on standard output: as JSON lines, as Markdown, or for a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from convbench.reporting.console import print_json, stderr, stdout


def show(report: RenderableType, rows: Iterable[Any], *, as_json: bool, markdown: str | None = None) -> None:
    """Print `rows` as JSON lines if asked to, else `markdown` if there is some, else `report`."""
    if as_json:
        print_json(rows)
    elif markdown is not None:
        stdout().print(Text(markdown), soft_wrap=True)
    else:
        stdout().print(report)


def say(sentence: str, *, error: bool = False) -> None:
    """Print a sentence as it is: nothing in it is markup, and lines are not broken. On standard error if `error`."""
    (stderr() if error else stdout()).print(Text(sentence), soft_wrap=True)
