"""What changed: from one set of records to another, along series of runs, and from release to release."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="Say what changed from BASE to NEW.")
@click.argument("base")
@click.argument("new")
@click.option("--backend", metavar="NAME", help="Compare only this backend.")
@click.option("--against", metavar="NAME", help="Compare --backend in BASE with this backend in NEW.")
@click.option(
    "--by",
    type=click.Choice(["isa", "data", "machine"]),
    help="Compare wider instruction sets with the narrowest, other data with normal ones, or other machines with the "
    "first one of BASE. BASE and NEW may be the same.",
)
@options.percent("--threshold", "Call a slow-down a regression only above this share.", "5%", options.threshold_text)
@click.option(
    "--across-machines", is_flag=True, help="Compare also what was measured on another CPU, number of CPUs or ISA."
)
@click.option(
    "--confirm",
    is_flag=True,
    help="Measure again in fresh processes what seems slower, and call it slower only if it is again.",
)
@options.plugins
@options.pythons
@options.markdown
@options.results
@options.json_lines
def compare(base: str, new: str, as_json: bool, markdown: bool, **selection: Any) -> None:
    """Say what changed from BASE to NEW.

    BASE and NEW are journals, folders of journals, machines, commits, tags or branches. The exit code is 1 when
    something is slower beyond doubt by more than --threshold or is broken now, and 3 when nothing can be compared.

    With --confirm both sides are measured side by side if both can be had here, as two backends or two environments
    (--python). Else the new one is measured again and compared with the base's record.
    """
    from convbench.api.compare import compare as compare_records
    from convbench.reporting.console import show, show_journal_warnings, stderr
    from convbench.reporting.progress import progress

    show_journal_warnings()
    if selection["confirm"]:
        with progress(stderr()) as observer:
            result = compare_records(base, new, observer=observer, **selection)
    else:
        result = compare_records(base, new, **selection)
    show(result, result.records, as_json=as_json, markdown=result.markdown() if markdown else None)
    sys.exit(result.exit_code)


@click.command(short_help="Find where series of runs step.")
@click.argument("where", nargs=-1)
@options.many("--suite", "suites", "NAME", "Look only at this suite")
@options.backends
@options.case
@click.option(
    "--by",
    type=click.Choice(["machine", "kind"]),
    default="machine",
    show_default=True,
    help="Make a series of each machine, or of all machines of one kind: the same CPU, number of CPUs and ISA.",
)
@options.percent(
    "--threshold", "Leave out steps that are not larger than this share.", "3%", options.threshold_from_zero
)
@options.whole("--min-segment", 2, "The fewest runs between two steps, and after the last step.", default=3)
@options.whole("--last", 0, "Exit with 1 only for a step among the N newest points of its series.", default=10)
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Show only steps since this day (YYYY-MM-DD)."
)
@options.markdown
@options.results
@options.json_lines
def trend(
    threshold: float, min_segment: int, last: int, since: datetime | None, markdown: bool, as_json: bool, **places: Any
) -> None:
    """Find where series of runs step: over releases, commits or time.

    WHERE is journals, folders of journals or machines; without it, all results. A series needs 12 runs, or two releases
    of a library. The exit code is 1 when a series is slower now: its newest step is to slower and among its --last
    points. Older steps are shown and do not count. It is 3 when no series is long enough.
    """
    from convbench.reporting.console import show, show_journal_warnings
    from convbench.reporting.history.trend import TrendReport, markdown_of, rows
    from convbench.runner.trend import find_steps

    show_journal_warnings()
    steps = find_steps(threshold, min_segment, **places)
    report = TrendReport(steps, threshold, last, f"{since:%Y-%m-%d}" if since else "")
    show(report, rows(report), as_json=as_json, markdown=markdown_of(report) if markdown else None)
    sys.exit(1 if report.alarms else 0)


@click.command(short_help="Measure past releases of a library side by side.")
@click.argument("library")
@click.option(
    "--versions", multiple=True, required=True, metavar="V,V,...", help="Measure these releases, such as 1.20.1,1.21.1."
)
@options.many("--suite", "suites", "NAME|FILE.toml", "Measure this suite", required=True)
@options.many("--backend", "backends", "GLOB", "Measure these backends instead of all that require LIBRARY")
@options.case
@options.threads
@options.quick
@click.option("--resume", is_flag=True, help="Continue the last such run of this suite with these settings.")
@options.many(
    "--with", "others", "REQUIREMENT", "Also install this, such as 'numpy<2' or 'iree-base-runtime=={version}'"
)
@click.option(
    "--dates", multiple=True, metavar="V=YYYY-MM-DD,...", help="Dates of releases that the package index does not know."
)
@options.environments
@options.no_asv
@options.plugins
@options.results
@options.json_lines
def releases(**values: Any) -> None:
    """Measure past releases of LIBRARY side by side, each in an environment of its own, as dated points.

    pip installs them with its usual configuration, such as PIP_INDEX_URL and PIP_FIND_LINKS.
    """
    from convbench.reporting.console import show_journal_warnings, stderr
    from convbench.reporting.history.releases import show_steps
    from convbench.reporting.progress import progress
    from convbench.reporting.run.report import end_run, show_run
    from convbench.runner.releases import Request, measure_releases, store_releases

    request = Request(**values)
    show_journal_warnings()
    with progress(stderr(), as_json=request.as_json) as observer:
        measurements = measure_releases(request, observer)
    show_run(measurements, request)
    if measurements.error is None:
        show_steps(measurements, store_releases(request, measurements, observer.message), request)
    end_run(measurements)
    sys.exit(measurements.exit_code)
