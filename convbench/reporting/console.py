"""Where output goes: consoles, JSON lines, tables, sentences, warnings, plain text, and HTML for a notebook.

What comes from elsewhere is text: nothing in it becomes markup or runs, moves a cursor or hides. The console sees to
that for everything that is printed on it, so callers give texts as they are.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Span, Text

from convbench.reporting.streams import Messages, Output, Rows, as_file, color_choice, width_of
from convbench.reporting.terminal_text import fits, fitted, json_line, printable, wrapped
from convbench.status import Status
from convbench.store.line_file import JournalWarning

WIDTH_OF_A_FILE = 132
_NOTEBOOK = (
    '<pre style="font-family:ui-monospace,Menlo,Consolas,monospace;font-size:0.9em;line-height:1.35;overflow-x:auto;'
    'white-space:pre;background:transparent;color:inherit;border:0">{code}</pre>'
)
_STYLES: dict[str, str] = {
    Status.OK: "green",
    Status.WRONG: "bold red",
    Status.CRASHED: "bold red",
    Status.ERROR: "bold red",
    Status.TIMEOUT: "yellow",
    Status.OUT_OF_MEMORY: "yellow",
}


def status_style(status: str) -> str:
    """The colour of a status word."""
    return _STYLES.get(status, "dim")


class FittingConsole(Console):
    """A console whose texts are fit for its file: what cannot be seen is visible, what it cannot write has an
    equivalent, and nothing is markup. A text that is not wrapped is one line, whatever is in it; in others lines stay.
    """

    def __init__(self, *, wraps_sentences: bool = False, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        self.wraps_sentences = wraps_sentences
        """Whether a person reads lines of this width, so that sentences are wrapped between words."""

    @property
    def encoding(self) -> str:
        """UTF-8 for rich, so that lines and boxes are the same everywhere; the file writes equivalents."""
        return "utf-8"

    @property
    def file_encoding(self) -> str:
        """The encoding of the file."""
        return getattr(self.file, "encoding", None) or "utf-8"

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        shown = Text(renderable) if isinstance(renderable, str) else renderable
        return super().render(self.fitted(shown) if isinstance(shown, Text) else shown, options)

    def fitted(self, text: Text, *, one_line: bool = False) -> Text:
        """`text` as this console shows it, in the same styles; as one line if it is not wrapped or `one_line`."""
        if fits(text.plain, self.file_encoding):
            return text
        parts = fitted(text.plain, self.file_encoding, keep="" if one_line or text.no_wrap else "\n\t")
        ends = [0, *accumulate(map(len, parts))]
        copy = text.blank_copy("".join(parts))
        copy.spans = [Span(ends[span.start], ends[min(span.end, len(parts))], span.style) for span in text.spans]
        return copy


def spaced(*parts: RenderableType | None) -> Group:
    """The parts, without those that are None, with an empty line between each two."""
    return Group(*[line for part in parts if part is not None for line in (Text(), part)][1:])


def print_json(rows: Iterable[Any]) -> None:
    """JSON lines on standard output, and nothing else there. Raises `ReaderGoneError` when their reader is gone."""
    _print_json(rows, Rows(sys.stdout))


def _print_json(rows: Iterable[Any], output: Output) -> None:
    for row in rows:
        output.write(json_line(row, output.encoding or "utf-8") + "\n")
    output.flush()


def stdout() -> FittingConsole:
    """Where answers go."""
    return _console(Output(sys.stdout))


def stderr() -> FittingConsole:
    """Where progress, warnings and errors go."""
    return _console(Messages(sys.stderr))


def _console(output: Output) -> FittingConsole:
    width = width_of(output)
    return FittingConsole(
        file=as_file(output),
        width=width or WIDTH_OF_A_FILE,
        wraps_sentences=width is not None,
        **_dress(output),
    )


def _dress(output: Output) -> dict[str, Any]:
    """Colours or none. Nothing is redrawn where there is no terminal, whatever FORCE_COLOR says."""
    if (wanted := color_choice()) is False:
        return {"color_system": None}
    return {"color_system": "standard", "force_terminal": False} if wanted and not output.isatty() else {}


def show(report: RenderableType, rows: Iterable[Any], *, as_json: bool, markdown: str | None = None) -> None:
    """Print `rows` as JSON lines if asked to, else `markdown` if there is some, else `report`."""
    if as_json:
        _print_json(rows, Output(sys.stdout))
    elif markdown is not None:
        stdout().print(Text(markdown), soft_wrap=True)
    else:
        stdout().print(report, crop=False)


def say(sentence: str, *, error: bool = False) -> None:
    """Print a sentence as it is: nothing in it is markup. On standard error if `error`."""
    (stderr() if error else stdout()).print(Sentence(sentence), crop=False)


def text_of(shown: RenderableType) -> str:
    """`shown` without colours, as wide as the terminal, or as a file has it when there is none."""
    width = width_of(sys.stdout)
    console = _recorded(shown, width or WIDTH_OF_A_FILE, wraps_sentences=width is not None)
    return "".join(fitted(_trimmed(console.export_text()), sys.stdout.encoding or "utf-8", keep="\n"))


def plain_text(shown: RenderableType, width: int) -> str:
    """`shown` without colours, `width` columns wide, in any characters."""
    return _trimmed(_recorded(shown, width).export_text())


def html_of(shown: RenderableType) -> str:
    """`shown` as one `<pre>` in the notebook's own colours, all text escaped."""
    return _trimmed(_recorded(shown, WIDTH_OF_A_FILE).export_html(inline_styles=True, code_format=_NOTEBOOK))


class Sentence:
    """A sentence from anywhere: on one line in a file, wrapped between words where a person reads it. Printed with
    `crop=False`, it keeps a word that is longer than a line, such as a path."""

    def __init__(self, text: str, style: str = "") -> None:
        self._text, self._style = text, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wraps = isinstance(console, FittingConsole) and console.wraps_sentences
        for line in wrapped(printable(self._text), options.max_width if wraps else None).split("\n"):
            yield Text(line, style=self._style, no_wrap=True, overflow="ignore")


def _recorded(shown: RenderableType, width: int, *, wraps_sentences: bool = False) -> FittingConsole:
    console = FittingConsole(
        file=io.StringIO(),
        record=True,
        width=width,
        force_terminal=True,
        force_jupyter=False,
        wraps_sentences=wraps_sentences,
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
        say(f"convbench: {message}", error=True)
