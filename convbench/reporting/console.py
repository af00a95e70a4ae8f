"""Where output goes: consoles, JSON lines, tables, sentences, warnings, plain text, and HTML for a notebook.

What comes from elsewhere is text: nothing in it becomes markup or runs.
"""

from __future__ import annotations

import io
import shutil
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from convbench.status import Status
from convbench.store.journal import JournalWarning

WIDTH_OF_A_FILE = 132
_NOTEBOOK = (
    '<pre style="font-family:ui-monospace,Menlo,Consolas,monospace;font-size:0.9em;line-height:1.35;overflow-x:auto;'
    'white-space:pre;background:transparent;color:inherit;border:0">{code}</pre>'
)
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


def spaced(*parts: RenderableType | None) -> Group:
    """The parts, without those that are None, with an empty line between each two."""
    return Group(*[line for part in parts if part is not None for line in (Text(), part)][1:])


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


def text_of(shown: RenderableType) -> str:
    """`shown` without colours, as wide as the terminal, or as a file has it when there is none."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_OF_A_FILE
    return _trimmed(_recorded(shown, width).export_text())


def html_of(shown: RenderableType) -> str:
    """`shown` as one `<pre>` in the notebook's own colours, all text escaped."""
    return _trimmed(_recorded(shown, WIDTH_OF_A_FILE).export_html(inline_styles=True, code_format=_NOTEBOOK))


def unwrapped(sentence: str) -> Text:
    """A sentence on one line however long it is, for a console that prints it with `crop=False`."""
    return Text(sentence, no_wrap=True, overflow="ignore")


def _recorded(shown: RenderableType, width: int) -> Console:
    console = Console(
        file=io.StringIO(), record=True, width=width, highlight=False, force_terminal=True, force_jupyter=False
    )
    console.print(shown, crop=False)
    return console


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def show_journal_warnings() -> None:
    """Print the warnings of a journal's reader as sentences on standard error from now on."""
    warnings.simplefilter("always", JournalWarning)
    warnings.showwarning = _show_warning  # type: ignore[assignment]


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if category is JournalWarning:
        stderr().print(Text(f"convbench: {message}"))
