"""Tables in GitHub's Markdown, for others' screens.

What comes from a journal is text: nothing in it is markup, moves a cursor or changes a colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convbench.reporting.terminal_text import printable

_MARKUP = frozenset("\\`*_{}[]<>|~#!&@")


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """The rows as a table, with the columns `right` flush right."""
    flush = set(right)
    lines = [headers, ["---:" if index in flush else "---" for index in range(len(headers))]]
    lines += [[escaped(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def escaped(text: str) -> str:
    """`text` with whatever Markdown or HTML would take for markup escaped, on one line."""
    return "".join("\\" + c if c in _MARKUP else c for c in printable(" ".join(text.split())))
