"""Measure past releases of a library side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="Measure past releases of a library side by side.")
@click.argument("library")
@click.option("--versions", multiple=True, required=True, metavar="V,V,...", help="The releases: 1.20.1,1.21.1.")
@options.suites
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="GLOB",
    help="Only these backends, instead of all that require LIBRARY; repeatable.",
)
@options.case
@options.threads
@options.quick
@click.option("--resume", is_flag=True, help="Go on with the last such run of this suite with these settings.")
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="REQUIREMENT",
    help="Also install this, such as 'numpy<2' or 'iree-base-runtime=={version}'; repeatable.",
)
@click.option(
    "--dates", multiple=True, metavar="V=YYYY-MM-DD,...", help="When they came out, where the package index is silent."
)
@click.option("--python", metavar="PATH", help="The interpreter to make the environments with, instead of this one.")
@click.option(
    "--environments",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the environments are kept, instead of the user's cache folder.",
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
    **given: Any,
) -> None:
    """Measure past releases of LIBRARY side by side, each in an environment of its own, as dated points.

    pip installs them, as it is configured: PIP_INDEX_URL, PIP_FIND_LINKS and the like hold here, too.
    """
    from convbench.runner import run
    from convbench.runner.releases import Request, measure_releases

    request = Request(
        library=library,
        versions=versions,
        dates=dates,
        others=others,
        python=python,
        environments=environments,
        run=run.Request(**given),
    )
    sys.exit(measure_releases(request))
