"""The table of a suite: a line for each case, then its backends, fastest first, in columns that all cases share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from convbench.analysis.ranking import CaseRanking, RankedBackend, SuiteRanking
from convbench.reporting.tables import fitting, no_room_for

_INDENT = "  "
_GAP = "  "


@dataclass(frozen=True)
class CaseTable:
    """The numbers of a suite: `columns` are the cells under each heading, one for each place of each case.

    A narrow terminal shows them without `drops` or, with `groups`, the others in further tables below.
    """

    ranking: SuiteRanking
    columns: Mapping[str, Sequence[str]]
    heading: Callable[[CaseRanking], Text]
    """The line above the backends of a case."""
    marks: Callable[[CaseRanking, RankedBackend], Text] = lambda case, place: Text()
    """The words after a row."""
    drops: Sequence[str] = ()
    """Headings in the order in which their columns are left out where there is no room."""
    groups: Sequence[int] = ()
    """How many columns belong together, group by group; a group stays together if there is room for it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        places = [(case, place) for case in self.ranking.cases for place in case.timed]
        marks = [self.marks(case, place) for case, place in places]
        names = [_INDENT + place.record["backend"] for _, place in places]
        width = max(map(len, ("backend", *names)))
        room = options.max_width - width - max(map(len, marks))
        shown = [_flush_right([heading, *cells]) for heading, cells in self.columns.items()]
        widths = [len(_GAP + column[0]) for column in shown]
        headings = [*self.columns]
        drops = [headings.index(heading) for heading in self.drops if heading in headings]
        parts = _parts(widths, self.groups, room) if self.groups else [fitting(widths, room, drops, gap=0)]
        for number, part in enumerate(parts):
            if number:
                yield Text()
            yield from self._part(names, width, [shown[column] for column in part], marks, options.max_width)
        missing = {*range(len(headings))}.difference(*parts)
        if note := no_room_for([headings[column] for column in sorted(missing)]):
            yield Group(Text(), note)

    def _part(
        self, names: Sequence[str], width: int, columns: Sequence[Sequence[str]], marks: Sequence[Text], room: int
    ) -> Iterator[Text]:
        """A table of some of the columns, each with its heading before its cells."""
        lines = [_GAP + _GAP.join(cells) for cells in zip(*columns, strict=True)]
        yield Text("backend".ljust(width) + lines[0], style="bold", no_wrap=True, overflow="ignore")
        rows = zip(names, lines[1:], marks, strict=True)
        for case in self.ranking.cases:
            yield Text()
            yield from _broken_at_commas(self.heading(case), room)
            for place in case.timed:
                name, cells, mark = next(rows)
                line = Text(no_wrap=True, overflow="ignore").append(
                    name.ljust(width), style="bold green" if place.level else ""
                )
                yield line.append(cells).append(mark)


def _broken_at_commas(line: Text, room: int) -> Iterator[Text]:
    """`line` in as many lines as it takes, none of them wider than `room` where a comma allows that."""
    start, cuts = 0, []
    commas = [match.end() for match in re.finditer(", ", line.plain)]
    for end, following in pairwise([*commas, len(line.plain)]):
        if following - start > room:
            cuts.append(end)
            start = end - len(_INDENT)
    for number, part in enumerate(line.divide(cuts)):
        part.rstrip()
        yield Text(_INDENT if number else "", no_wrap=True, overflow="ignore").append_text(part)


def _flush_right(texts: Sequence[str]) -> list[str]:
    width = max(map(len, texts))
    return [text.rjust(width) for text in texts]


def _parts(widths: Sequence[int], groups: Sequence[int], room: int) -> list[range]:
    """The columns in as few parts as the room allows, as even in width as possible."""
    stops = list(accumulate(groups))
    together = [sum(widths[stop - count : stop]) for stop, count in zip(stops, groups, strict=True)]
    if max(together) > room:
        stops, together = list(range(1, len(widths) + 1)), list(widths)
    filled = _filled(together, room)
    even = next((ends for less in range(room) if len(ends := _filled(together, less)) == len(filled)), filled)
    ends = [stops[last - 1] for last in even]
    return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _filled(widths: Sequence[int], room: int) -> list[int]:
    """The ends of the parts when each is filled before the next begins."""
    ends, used = [], 0
    for number, width in enumerate(widths):
        if used and used + width > room:
            ends.append(number)
            used = 0
        used += width
    return [*ends, len(widths)]
