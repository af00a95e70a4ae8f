"""Hazards as a person reads them: what was seen, and under it what to do. `convbench doctor` shows one machine's, a run
those of its records."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from convbench.measurement.hazards.catalogue import Hazard, Kind
from convbench.reporting.markdown import printable
from convbench.store.journal import Record

_SEEN, _REMEDY = 2, 6  # columns


@dataclass(frozen=True)
class Paragraph:
    """A text wrapped to the width there is, each line indented, without the blanks that rich's padding leaves."""

    text: str
    indent: int = 0
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        before = " " * self.indent
        width = max(options.max_width, self.indent + 20)
        text = printable(self.text)
        for line in textwrap.wrap(text, width, initial_indent=before, subsequent_indent=before, break_on_hyphens=False):
            yield Text(line, style=self.style)


def told(hazards: Iterable[Hazard]) -> list[RenderableType]:
    """What was seen, one below another, each with its remedy."""
    return [part for hazard in hazards for part in _told(hazard.sentence, hazard)]


def hazard_report(records: Sequence[Record], of_machine: Sequence[Hazard] = ()) -> RenderableType | None:
    """The hazards of a run: those of the machine, then those in its records (`hazards`), one of each kind with where it
    was seen. None when there were none."""
    parts = told(of_machine)
    seen: dict[Kind, list[tuple[Record, Hazard]]] = {}
    for record in records:
        for given in record.get("hazards") or []:
            if (hazard := Hazard.from_dict(given)) is not None:
                seen.setdefault(hazard.kind, []).append((record, hazard))
    for kind in Kind:
        if kind in seen:
            record, hazard = seen[kind][0]
            parts += _told(f"{_where([record for record, _ in seen[kind]])}: {hazard.sentence}", hazard)
    return Group(Text("To know when reading these times", style="bold"), *parts) if parts else None


def _told(sentence: str, hazard: Hazard) -> list[RenderableType]:
    return [Paragraph(sentence, _SEEN, style="yellow"), Paragraph(hazard.remedy, _REMEDY)]


def _where(records: Sequence[Record]) -> str:
    """`torch on n1c2h6w6_o3k3 and 4 more`: the first pair, whose figures follow, and how many others there were."""
    more = f" and {len(records) - 1} more" if len(records) > 1 else ""
    return f"{records[0].get('backend')} on {records[0].get('case')}{more}"
