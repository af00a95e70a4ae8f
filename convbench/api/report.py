"""`convbench.report`: one page of HTML with the answer, the tables, the figures and the samples of runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from convbench.analysis.comparison import compare as compare_records
from convbench.analysis.hardware.prices import CURRENCY
from convbench.api.result import Result
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.files.user_file import opened
from convbench.reporting.page.page import Report, page_of
from convbench.reporting.page.rows import FIELDS
from convbench.reporting.page.standalone import figures_of
from convbench.runner.locate import place_named, records_named
from convbench.runner.verify.failure_reports import report_text
from convbench.store.ceilings import ceilings_of
from convbench.store.journal import JOURNAL
from convbench.store.locations import draft_of, results_folder
from convbench.store.schema import Record
from convbench.store.verification_log import SUFFIX

Source: TypeAlias = "str | PathLike[str] | Result"
"""A journal, folder of journals, machine, commit, tag or branch, a file of `convbench verify --json`, or a result."""


class WrittenReport(NamedTuple):
    """The page's path, how many records and verified backends it shows, whether it has figures, and the files of these
    that were written beside it."""

    path: Path
    records: int
    verified: int
    has_figures: bool
    figures: tuple[Path, ...] = ()


def report(
    *sources: Source,
    to: str | PathLike[str] = "report.html",
    compare: bool = False,
    threshold: float = 0.05,
    title: str | None = None,
    figures: str | PathLike[str] | None = None,
    price: Mapping[str, float] | None = None,
    currency: str = CURRENCY,
    results: str | PathLike[str] | None = None,
) -> WrittenReport:
    """Write the page of `sources` to the file `to`; of the newest run without any.

    With `compare` there are two sources, and the page says what changed from the first to the second; a slow-down above
    `threshold` (0.05 is 5 %) is a regression. With `figures`, a folder, every figure is also written there as SVG, PNG
    and CSV. `price` is what an hour of a machine costs in `currency`, by a glob of its name: with several machines the
    page says which brings most for it. Machines and commits are looked for in the folder `results`, by default the
    usual one. Figures need `pip install 'convbench[report]'`.

    Raises `ResultsError` for a source that names no records and a file that cannot be written, `FigureError` for
    `figures` that cannot be drawn here, and `NothingMeasuredError` when there is nothing to show.
    """
    folder = results_folder(None if results is None else Path(results))
    named = list(sources) or ["last"]
    if compare and len(named) != 2:
        raise ResultsError(f"a comparison needs two runs, a base and a new one; there are {len(named)}.")
    parts = [_read(source, folder) for source in named]
    shown = [record for records, _ in parts for record in records]
    verified = [row for _, rows in parts for row in rows]
    if not shown and not verified:
        names = " and in ".join(map(_name, named))
        raise NothingMeasuredError(f"there is no record in {names}, so there is nothing to report.")
    ceilings = ceilings_of(shown, folder)
    comparison = compare_records(parts[0][0], parts[1][0], threshold) if compare else None
    drawn = None if figures is None else figures_of(shown, ceilings, comparison.changes if comparison else ())
    page, has_figures = page_of(
        Report(
            title or f"convbench: {' and '.join(map(_name, named))}",
            shown,
            ceilings,
            verified,
            comparison,
            (_name(named[0]), _name(named[-1])),
            threshold,
            prices=price or {},
            currency=currency,
        )
    )
    with draft_of(Path(to)) as draft:
        draft.write_text(page, encoding="utf-8")
    files = () if drawn is None or figures is None else tuple(drawn.write(Path(figures)))
    return WrittenReport(Path(to), len(shown), len(verified), has_figures, files)


def _name(source: Source) -> str:
    return "this result" if isinstance(source, Result) else Path(source).name


def _read(source: Source, folder: Path) -> tuple[Sequence[Record], list[dict[str, Any]]]:
    """The records of a source, or the rows of a verification."""
    if isinstance(source, Result):
        rows = [dict(row) for row in source.records]
        return source.pair_records, [row for row in rows if "failures" in row]
    place = place_named(str(source), folder)
    if place is not None and place.is_file() and (verified := list(_verified(place))):
        return [], [_with_reports(row, folder) for row in verified]
    logs = sorted(place.glob(f"*{SUFFIX}")) if place is not None and place.is_dir() else []
    newest = {str(row.get("backend")): row for log in logs for row in _verified(log)}
    return records_named(str(source), folder, FIELDS), [_with_reports(row, folder) for row in newest.values()]


def _with_reports(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The row with the text of each failure's report, which is in the results folder: only there is it looked for, by
    the name of the file, because a path in a file from elsewhere may be that of anything."""
    failures = [
        failure | {"report": report_text(folder, Path(failure["report_file"]).name)}
        if isinstance(failure, dict) and "report" not in failure and isinstance(failure.get("report_file"), str)
        else failure
        for failure in row["failures"]
    ]
    return row | {"failures": failures}


def _verified(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a verification: of its log, or of a file of `convbench verify --json`; none in other files."""
    with opened(path, JOURNAL) as lines:
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                event = json.loads(line)
                row = event.get("row", event) if isinstance(event, dict) else None
                if isinstance(row, dict) and isinstance(row.get("failures"), list):
                    yield row
                elif not isinstance(event, dict) or not {"asked", "event"} & event.keys():
                    return
