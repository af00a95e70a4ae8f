"""What changed: from one time to another, and along a series."""

from __future__ import annotations

import sys
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="What changed from BASE to NEW.")
@click.argument("base")
@click.argument("new")
@click.option("--backend", metavar="NAME", help="Only this backend.")
@click.option("--against", metavar="NAME", help="Compare --backend in BASE with this one in NEW.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="A regression is slower beyond doubt and by more than this.",
)
@options.markdown
@options.results
@options.json_lines
def compare(**given: Any) -> None:
    """Say what changed from BASE to NEW: journals, folders of them, machines, commits, tags or branches.

    Leaves with 1 when something got slower than --threshold allows or is broken now, with 3 when nothing is comparable.
    """
    from convbench.runner.compare import Request, compare_records

    sys.exit(compare_records(Request(**given)))


@click.command(short_help="Where series of runs step.")
@click.argument("where", nargs=-1)
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="Only this suite; repeatable.")
@options.backends
@options.case
@click.option(
    "--threshold",
    type=click.FloatRange(0),
    default=0.03,
    show_default=True,
    metavar="SHARE",
    help="Leave out steps that are not larger than this.",
)
@click.option(
    "--min-segment",
    type=click.IntRange(2),
    default=3,
    show_default=True,
    metavar="N",
    help="Fewest runs between two steps, and from the last one on.",
)
@click.option(
    "--last",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    metavar="N",
    help="Leave with 1 only for a step among the N newest points of its series.",
)
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Only steps on this day (YYYY-MM-DD) or later."
)
@options.markdown
@options.results
@options.json_lines
def trend(**given: Any) -> None:
    """Say where series of runs step: over releases, commits or time.

    WHERE is journals, folders of them or machines; without it, all results. A series needs 12 runs, or two releases of
    a library. Leaves with 1 when one is slower now: its newest step is to slower and among its --last points; older
    steps are shown and fail nothing. Leaves with 3 when no series is long enough.
    """
    from convbench.runner.trend import Request, show_trend

    sys.exit(show_trend(Request(**given)))
