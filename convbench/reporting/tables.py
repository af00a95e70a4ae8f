"""Tables of texts that fit the width: the least important columns go first, and no number or name is broken."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from convbench.reporting.console import FittingConsole
from convbench.reporting.terminal_text import printable

_GAP, _CLOSE = 3, 1
_LEAST_WRAPPED, _LONGEST_WORD = 24, 40
"""Columns that a text has at least before it is wrapped, and the length from which words in it may be broken."""
_ANY = 10_000


@dataclass(frozen=True)
class PlainTable:
    """See `plain_table`."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    right: Collection[int]
    wraps: Collection[int]
    drops: Sequence[int]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [[_Cell(header), *(_Cell(row[i]) for row in self.rows)] for i, header in enumerate(self.headers)]
        measured = [[Measurement.get(console, options.update_width(_ANY), c) for c in column] for column in columns]
        least = [self._least(index, cells, _LONGEST_WORD) for index, cells in enumerate(measured)]
        shown = fitting(least, options.max_width, self.drops)
        if _width([least[index] for index in shown]) > options.max_width:
            least = [self._least(index, cells, _LEAST_WRAPPED) for index, cells in enumerate(measured)]
            shown = fitting(least, options.max_width, self.drops)
        widths = [least[index] for index in shown]
        is_close = _width(widths) > options.max_width  # and then columns stand nearer to each other
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0 if is_close else (0, 1))
        for index in shown:
            wraps = index in self.wraps
            # To the least width rich adds the padding of both sides, and the outer sides have none.
            outer = 0 if is_close else (index == shown[0]) + (index == shown[-1])
            table.add_column(
                columns[index][0],
                justify="right" if index in self.right else "left",
                min_width=max(1, least[index] - outer),
                no_wrap=not wraps,
                overflow="fold" if wraps else "ignore",
            )
        for number in range(1, len(self.rows) + 1):
            table.add_row(*(columns[index][number] for index in shown))
        # Where even the columns that stay are too wide, their lines are, and nothing in them is broken.
        needed = _width(widths, _CLOSE if is_close else _GAP)
        yield from console.render(table, options.update_width(max(options.max_width, needed)))
        if note := no_room_for([self.headers[i] for i in sorted({*range(len(self.headers))} - {*shown})]):
            yield note

    def _least(self, index: int, cells: Sequence[Measurement], most: int) -> int:
        """How wide a column has to be: as its widest cell, or where it wraps as its longest word up to `most`."""
        widest = max(cell.maximum for cell in cells)
        if index not in self.wraps:
            return widest
        words = max(cell.minimum for cell in cells)
        return min(widest, max(_LEAST_WRAPPED, cells[0].maximum, min(words, most)))


def plain_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    right: Iterable[int] = (),
    *,
    wraps: Collection[int] = (),
    drops: Sequence[int] = (),
) -> PlainTable:
    """A table of texts without lines but one under the header; the columns `right` are set flush right. A `str` may
    come from anywhere and is one line. The columns `wraps` are sentences, which continue in a line below. Where there
    is no room for all columns, those in `drops` are left out, in this order, and named below the table."""
    return PlainTable(headers, list(rows), frozenset(right), frozenset(wraps), tuple(drops))


def fitting(widths: Sequence[int], room: int, drops: Sequence[int], gap: int = _GAP) -> list[int]:
    """The columns of these widths that are shown in so much room: `drops` are left out one by one until the others fit,
    and come back, the last one first, where a wide one made room for them."""

    def fits(columns: set[int]) -> bool:
        return _width([widths[i] for i in columns], gap) <= room

    shown = set(range(len(widths)))
    dropped: list[int] = []
    for index in drops:
        if fits(shown):
            break
        shown.remove(index)
        dropped.append(index)
    for index in reversed(dropped):
        if fits(shown | {index}):
            shown.add(index)
    return sorted(shown)


def no_room_for(headers: Sequence[str]) -> Text | None:
    """The line that names the columns which are left out."""
    named = [header for header in headers if header]
    return Text(f"No room here for: {', '.join(named)}.", style="dim") if named else None


def _width(widths: Sequence[int], gap: int = _GAP) -> int:
    return sum(widths) + gap * max(0, len(widths) - 1)


class _Cell:
    """A text in a table, as wide as the console shows it."""

    def __init__(self, text: str | Text) -> None:
        self._text = text if isinstance(text, Text) else Text(printable(text))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._shown(console))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._shown(console)

    def _shown(self, console: Console) -> Text:
        return console.fitted(self._text, one_line=True) if isinstance(console, FittingConsole) else self._text
