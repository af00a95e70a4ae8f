"""Tables as plain text and as HTML for a notebook. Whatever they hold is text: nothing in it becomes markup or runs."""

from __future__ import annotations

import io
import shutil
import sys

from rich.console import Console, RenderableType
from rich.text import Text

WIDTH_OF_A_FILE = 132
_NOTEBOOK = (
    '<pre style="font-family:ui-monospace,Menlo,Consolas,monospace;font-size:0.9em;line-height:1.35;overflow-x:auto;'
    'white-space:pre;background:transparent;color:inherit;border:0">{code}</pre>'
)


def text_of(shown: RenderableType) -> str:
    """`shown` without colours, as wide as the terminal, or as a file has it when there is none."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_OF_A_FILE
    console = _console(width)
    console.print(shown, crop=False)
    return _trimmed(console.export_text())


def html_of(shown: RenderableType) -> str:
    """`shown` as one `<pre>` in the notebook's own colours, all text escaped."""
    console = _console(WIDTH_OF_A_FILE)
    console.print(shown, crop=False)
    return _trimmed(console.export_html(inline_styles=True, code_format=_NOTEBOOK))


def unwrapped(sentence: str) -> Text:
    """A sentence on one line however long it is, for a console that prints it with `crop=False`."""
    return Text(sentence, no_wrap=True, overflow="ignore")


def _console(width: int) -> Console:
    return Console(
        file=io.StringIO(), record=True, width=width, highlight=False, force_terminal=True, force_jupyter=False
    )


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
