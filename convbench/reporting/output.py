"""An answer on standard output: as JSON lines, as Markdown, or for a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from convbench.reporting.console import print_json, stdout


def show(report: RenderableType, rows: Iterable[Any], *, as_json: bool, markdown: str | None = None) -> None:
    """Print `rows` as JSON lines if asked to, else `markdown` if there is some, else `report`."""
    if as_json:
        print_json(rows)
    elif markdown is not None:
        stdout().print(Text(markdown), soft_wrap=True)
    else:
        stdout().print(report)
