"""Where output goes: consoles, JSON lines, plain tables, warnings. What comes from elsewhere is text, never markup."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.reporting.rendering import WIDTH_OF_A_FILE
from convbench.status import Status
from convbench.store.journal import JournalWarning

_STYLES = {
    Status.OK: "green",
    Status.WRONG: "bold red",
    Status.CRASHED: "bold red",
    Status.ERROR: "bold red",
    Status.TIMEOUT: "yellow",
    Status.OUT_OF_MEMORY: "yellow",
}


def status_style(status: str) -> str:
    """The colour of a status word."""
    return _STYLES.get(Status(status), "dim")


def plain_table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Iterable[int] = ()) -> Table:
    """A table of texts without lines but one under the header; the columns `right` are set flush right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    flush = set(right)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index in flush else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


def print_json(rows: Iterable[Any]) -> None:
    """JSON lines on standard output, and nothing else there."""
    import json

    for row in rows:
        sys.stdout.write(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n")


def stdout() -> Console:
    """Where answers go."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)


def stderr() -> Console:
    """Where progress, warnings and errors go."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDTH_OF_A_FILE)


def show_journal_warnings() -> None:
    """Print the warnings of a journal's reader as sentences on standard error from now on."""
    warnings.simplefilter("always", JournalWarning)
    warnings.showwarning = _show_warning  # type: ignore[assignment]


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if category is JournalWarning:
        stderr().print(Text(f"convbench: {message}"))
