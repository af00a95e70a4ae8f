"""Look for wrong answers."""

from __future__ import annotations

import sys
from pathlib import Path
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
    help="Verify the cases of this suite instead of the sweep and the search; repeatable.",
)
@click.option(
    "--case", "case_glob", metavar="GLOB", help="Verify only those cases of the suite whose name or case id matches."
)
@options.where
@click.option("--exact", is_flag=True, help="Check the suite's cases on integers only, to the last bit.")
@click.option(
    "--question",
    "questions",
    multiple=True,
    metavar="TEXT",
    help="Ask only this question: a problem and words, as a failure prints it; repeatable.",
)
@click.option(
    "--strength",
    type=click.IntRange(2, 4),
    default=3,
    show_default=True,
    metavar="2|3|4",
    help="Number of parameter classes that the sweep combines in every possible way.",
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
    help="Longest time for one question; less for a backend that answers quickly.",
)
@options.threads
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Backends verified at once.  [default: one per core]")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed of the data and the search."
)
@click.option(
    "--known",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Read known wrong answers from this file, besides convbench's own; repeatable.",
)
@click.option("--accept-known", is_flag=True, help="Leave with 0 when every wrong answer is a known one.")
@click.option(
    "--write-known",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Write the new wrong answers to this file, for --known.",
)
@click.option("--resume", is_flag=True, help="Continue the last verification that had these options.")
@options.plugins
@options.results
@options.json_lines
def verify(as_json: bool, **words: Any) -> None:
    """Find wrong answers: a sweep over all combinations of parameter classes, then random search.

    Failures are grouped by cause and shrunk to the smallest case. Each is reported with code that reproduces it, and is
    asked first the next time. The exit code is 1 when a backend is wrong, crashes or raises. With --plugin and
    without --backend, only the plugin is verified.

    \b
    Examples:
      convbench verify --backend numpy-gemm --strength 2 --time-limit 5
      convbench verify --backend numpy-gemm --question 'n1c2h5w5_o2k3_g2 normal'
      convbench verify --backend numpy-gemm --suite smoke --exact
    """
    from convbench.reporting.console import show_journal_warnings, stderr, stdout
    from convbench.reporting.verification_progress import verification_progress
    from convbench.reporting.verification_tables import verification_report
    from convbench.runner.verify.verify import Request, verify_backends

    show_journal_warnings()
    verification = verify_backends(Request(**words), verification_progress(stderr(), as_json=as_json))
    if not as_json:
        stdout().print(verification_report(verification))
    if verification.interrupted:
        stderr().print("Interrupted. What was found is kept; the same command with --resume continues.", soft_wrap=True)
    sys.exit(verification.exit_code)
