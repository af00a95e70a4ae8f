"""The figures of a report by themselves: the templates with the rows of each suite and conditions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convbench.analysis.comparison import Change
from convbench.analysis.roofline import Limits
from convbench.errors import FigureError
from convbench.installation import pip_line
from convbench.measurement.ceilings.figures import Ceilings
from convbench.reporting.page.datasets import datasets
from convbench.reporting.page.figure import WIDTH, Figure, Figures
from convbench.reporting.page.rows import Row, groups_of, rows_of
from convbench.store.schema import Record

if TYPE_CHECKING:
    from convbench.reporting.page.figures import FigureTemplate

_BULKY = {"samples_ms", "rounds", "processes", "hazards"}  # of a row: no figure shows them
Selection = tuple[tuple[str, str], ...]


def figures_of(records: Sequence[Record], ceilings: Sequence[Ceilings] = (), changes: Sequence[Change] = ()) -> Figures:
    """The figures of records and of what changed, one for each suite and conditions that it is of.

    Raises `FigureError` where the extra `report` is not installed.
    """
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError:
        raise FigureError(f"figures need Altair and vl-convert; type: {pip_line('convbench[report]')}") from None
    from convbench.reporting.page.figures import figure_templates

    groups = groups_of(records)
    sets = {"rows": rows_of(groups, Limits(ceilings))} | datasets(groups, records, ceilings, changes)
    data = {name: [_slim(row) for row in rows] for name, rows in sets.items()}
    made: dict[str, Figure] = {}
    for template in figure_templates():
        for figure in _figures(template, data):
            name = next(name for name in _numbered(figure.name) if name not in made)
            made[name] = replace(figure, name=name)
    return Figures(tuple(made.values()))


def _slim(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in _BULKY}


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _figures(template: FigureTemplate, data: Mapping[str, Sequence[Row]]) -> Iterator[Figure]:
    """The template with the rows of each suite and conditions; of both, or the one that its rows name."""
    drawn = [row for row in data[template.data] if row.get(template.needs) is not None]
    selections = list(dict.fromkeys(map(_selection, drawn)))
    several = [len(set(values)) > 1 for values in zip(*selections, strict=True)]
    for selection in selections:
        subject = ", ".join(value for _, value in selection)
        differing = [value for (_, value), differs in zip(selection, several, strict=True) if differs]
        sets = {name: [row for row in rows if _is_of(row, selection)] for name, rows in data.items()}
        yield Figure(
            name=_slug(" ".join([template.title, *differing])),
            title=template.title,
            subject=subject,
            caption=template.caption,
            rows=[row for name in template.data_names for row in sets[name]],
            specification=_filled(template, subject, sets),
        )


def _selection(row: Row) -> Selection:
    return tuple((name, str(row[name])) for name in ("suite", "conditions") if name in row)


def _is_of(row: Row, selection: Selection) -> bool:
    return all(row.get(name, value) == value for name, value in selection)


def _slug(text: str) -> str:
    """`text` as part of the name of a file: whatever was in it, only letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:100].strip("-")


def _filled(template: FigureTemplate, subject: str, sets: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """The specification of the template with its rows and a title, as wide as a page of text, on white."""
    specification = dict(template.specification)
    config = specification["config"] | {"background": "#ffffff", "font": "sans-serif"}
    title = {"text": template.title, "subtitle": subject, "anchor": "start", "frame": "group", "offset": 12}
    used = {name: sets[name] for name in template.data_names}
    return specification | {"width": WIDTH, "title": title, "config": config, "datasets": used}
