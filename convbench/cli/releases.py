"""Measure past releases of a library side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="Measure past releases of a library side by side.")
@click.argument("library")
@click.option(
    "--versions", multiple=True, required=True, metavar="V,V,...", help="Measure these releases, such as 1.20.1,1.21.1."
)
@options.suites
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="GLOB",
    help="Measure these backends instead of all that require LIBRARY; repeatable.",
)
@options.case
@options.threads
@options.quick
@click.option("--resume", is_flag=True, help="Continue the last such run of this suite with these settings.")
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="REQUIREMENT",
    help="Also install this, such as 'numpy<2' or 'iree-base-runtime=={version}'; repeatable.",
)
@click.option(
    "--dates", multiple=True, metavar="V=YYYY-MM-DD,...", help="Dates of releases that the package index does not know."
)
@click.option("--python", metavar="PATH", help="Make the environments with this interpreter.")
@click.option(
    "--environments",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the environments here instead of in the user's cache folder.",
)
@options.no_asv
@options.plugins
@options.results
@options.json_lines
def releases(
    library: str,
    versions: tuple[str, ...],
    dates: tuple[str, ...],
    others: tuple[str, ...],
    python: str | None,
    environments: Path | None,
    **run_options: Any,
) -> None:
    """Measure past releases of LIBRARY side by side, each in an environment of its own, as dated points.

    pip installs them with its usual configuration, such as PIP_INDEX_URL and PIP_FIND_LINKS.
    """
    from convbench.reporting.console import show_journal_warnings, stderr
    from convbench.reporting.history.releases import show_steps
    from convbench.reporting.progress import progress
    from convbench.reporting.run.output import end_run, show_run
    from convbench.runner import run
    from convbench.runner.releases import Request, measure_releases, store_releases

    show_journal_warnings()
    run_request = run.Request(**run_options)
    request = Request(
        library=library,
        versions=versions,
        dates=dates,
        others=others,
        python=python,
        environments=environments,
        run=run_request,
    )
    with progress(stderr(), as_json=run_request.as_json) as observer:
        measurements = measure_releases(request, observer)
    show_run(measurements, run_request)
    if measurements.error is None:
        show_steps(measurements, store_releases(run_request, measurements), run_request)
    end_run(measurements)
    sys.exit(measurements.exit_code)
