"""What changed: from one set of records to another, and along series of runs."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="Say what changed from BASE to NEW.")
@click.argument("base")
@click.argument("new")
@click.option("--backend", metavar="NAME", help="Compare only this backend.")
@click.option("--against", metavar="NAME", help="Compare --backend in BASE with this backend in NEW.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Call a slow-down a regression only above this share.",
)
@options.markdown
@options.results
@options.json_lines
def compare(base: str, new: str, as_json: bool, markdown: bool, **selection: Any) -> None:
    """Say what changed from BASE to NEW.

    BASE and NEW are journals, folders of journals, machines, commits, tags or branches. The exit code is 1 when
    something is slower beyond doubt by more than --threshold or is broken now, and 3 when nothing can be compared.
    """
    from convbench.api.compare import compare as compare_records
    from convbench.reporting.console import show_journal_warnings
    from convbench.reporting.output import show

    show_journal_warnings()
    result = compare_records(base, new, **selection)
    show(result, result.records, as_json=as_json, markdown=result.markdown() if markdown else None)
    sys.exit(result.exit_code)


@click.command(short_help="Find where series of runs step.")
@click.argument("where", nargs=-1)
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="Look only at this suite; repeatable.")
@options.backends
@options.case
@click.option(
    "--threshold",
    type=click.FloatRange(0),
    default=0.03,
    show_default=True,
    metavar="SHARE",
    help="Leave out steps that are not larger than this share.",
)
@click.option(
    "--min-segment",
    type=click.IntRange(2),
    default=3,
    show_default=True,
    metavar="N",
    help="The fewest runs between two steps, and after the last step.",
)
@click.option(
    "--last",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    metavar="N",
    help="Exit with 1 only for a step among the N newest points of its series.",
)
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Show only steps since this day (YYYY-MM-DD)."
)
@options.markdown
@options.results
@options.json_lines
def trend(
    where: tuple[str, ...],
    suites: tuple[str, ...],
    backends: tuple[str, ...],
    case_glob: str | None,
    threshold: float,
    min_segment: int,
    last: int,
    since: datetime | None,
    markdown: bool,
    results: Path | None,
    as_json: bool,
) -> None:
    """Find where series of runs step: over releases, commits or time.

    WHERE is journals, folders of journals or machines; without it, all results. A series needs 12 runs, or two releases
    of a library. The exit code is 1 when a series is slower now: its newest step is to slower and among its --last
    points. Older steps are shown and do not count. It is 3 when no series is long enough.
    """
    from convbench.reporting.console import show_journal_warnings
    from convbench.reporting.history import trend as shown
    from convbench.reporting.output import show
    from convbench.runner.trend import Selection, find_steps

    show_journal_warnings()
    case_globs = () if case_glob is None else (case_glob,)
    steps = find_steps(Selection(where, suites, backends, case_globs, results), threshold, min_segment)
    listing = shown.in_order(steps, threshold, last, f"{since:%Y-%m-%d}" if since else "")
    text = shown.markdown(listing) if markdown else None
    show(shown.report(listing), shown.rows(listing), as_json=as_json, markdown=text)
    sys.exit(1 if listing.alarms else 0)
