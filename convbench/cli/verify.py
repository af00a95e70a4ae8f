"""Look for wrong answers."""

from __future__ import annotations

import sys
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="Find wrong answers: a sweep, then random search.")
@options.backends
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE.toml",
    help="Only the cases of this suite, instead of the sweep and the search; repeatable.",
)
@click.option("--case", "case_glob", metavar="GLOB", help="Of a suite, only the cases whose name or case id matches.")
@options.where
@click.option("--exact", is_flag=True, help="Of a suite, only the check on integers: right to the last bit, or wrong.")
@click.option(
    "--question",
    "questions",
    multiple=True,
    metavar="TEXT",
    help="Only this question: a problem and words, as failures are reported; repeatable.",
)
@click.option(
    "--strength",
    type=click.IntRange(2, 4),
    default=3,
    show_default=True,
    metavar="2|3|4",
    help="How many parameter classes at a time the sweep combines in every possible way.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds of random search per backend after the sweep.",
)
@click.option(
    "--question-limit",
    type=click.FloatRange(0, min_open=True),
    default=40.0,
    show_default=True,
    metavar="S",
    help="The longest that one question may take; where answers are quick, less.",
)
@options.threads
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Backends verified at once.  [default: as cores allow]"
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of data and search.")
@click.option("--resume", is_flag=True, help="Go on with the last verification that had these options.")
@options.plugins
@options.results
@options.json_lines
def verify(**given: Any) -> None:
    """Find wrong answers: a sweep over all combinations of parameter classes, then random search.

    Failures are shrunk, gathered by cause, reported with code that shows them again, and asked first next time. Leaves
    with 1 when a backend is wrong, crashed or raised. With --plugin and no --backend only the plugin is verified.
    """
    from convbench.runner.verify.verify import Request, verify_backends

    sys.exit(verify_backends(Request(**given)))
