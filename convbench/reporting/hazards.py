"""Hazards as text: each with what was seen, and below it what to do about it. `convbench doctor` shows the hazards of a
machine, a run also those of its records."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from convbench.measurement.hazards.catalogue import Hazard, Kind
from convbench.reporting.console import Sentence
from convbench.reporting.terminal_text import printable
from convbench.store.schema import Record

_SEEN, _REMEDY = 2, 6  # columns


@dataclass(frozen=True)
class Paragraph:
    """A text wrapped to the console's width, each line indented, without the trailing blanks of rich's padding."""

    text: str
    indent: int = 0
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        before = " " * self.indent
        width = max(options.max_width, self.indent + 20)
        text = printable(self.text)
        for line in textwrap.wrap(text, width, initial_indent=before, subsequent_indent=before, break_on_hyphens=False):
            yield Text(line, style=self.style)


def hazard_paragraphs(hazards: Iterable[Hazard]) -> list[RenderableType]:
    """Each hazard with its remedy, one below the other."""
    return [part for hazard in hazards for part in _paragraphs(hazard.sentence, hazard)]


def hazard_report(records: Sequence[Record], machine_hazards: Sequence[Hazard] = ()) -> RenderableType | None:
    """The hazards of a run, the gravest first: the machine's, and one of each kind in its records (`hazards`) with
    where it was seen; None for a run without any."""
    parts = [part for sentence, hazard in _seen(records, machine_hazards) for part in _paragraphs(sentence, hazard)]
    return Group(Text("To know when reading these times", style="bold"), *parts) if parts else None


def hazard_line(records: Sequence[Record], machine_hazards: Sequence[Hazard] = ()) -> RenderableType | None:
    """The same in a sentence: the gravest hazard, how many others there are, and what shows what to do about them."""
    seen = _seen(records, machine_hazards)
    if not seen:
        return None
    more = f", and {len(seen) - 1} more" if len(seen) > 1 else ""
    return Sentence(f"To know: {seen[0][0]} (what to do{more}: --details).", style="yellow")


def _seen(records: Sequence[Record], machine_hazards: Sequence[Hazard]) -> list[tuple[str, Hazard]]:
    """One hazard of each kind, the gravest first, with what was seen and where."""
    by_kind: dict[Kind, list[tuple[Record, Hazard]]] = {}
    for record in records:
        for fields in record.get("hazards") or []:
            if (hazard := Hazard.from_dict(fields)) is not None:
                by_kind.setdefault(hazard.kind, []).append((record, hazard))
    seen = {hazard.kind: (hazard.sentence, hazard) for hazard in machine_hazards}
    for kind, ((record, hazard), *others) in by_kind.items():
        more = f" and {len(others)} more" if others else ""  # the numbers of the sentence are those of the first
        where = f"{record.get('backend')} on {record.get('case')}{more}"
        seen.setdefault(kind, (f"{where}: {hazard.sentence}", hazard))
    return [seen[kind] for kind in Kind if kind in seen]


def _paragraphs(sentence: str, hazard: Hazard) -> list[RenderableType]:
    return [Paragraph(sentence, _SEEN, style="yellow"), Paragraph(hazard.remedy, _REMEDY)]
