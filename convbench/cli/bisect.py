"""`convbench bisect`: its options."""

from __future__ import annotations

import sys
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="Find the release that made an answer wrong, or a case slower or faster.")
@click.argument("library")
@click.option(
    "--question", metavar="TEXT", help="Search for what made this answer wrong: a question as `verify` prints it."
)
@click.option("--case", metavar="PROBLEM", help=f"Search for what made this slower or faster: {options.A_PROBLEM}.")
@options.percent(
    "--slower", "Search for a slow-down by at least about this share.  [default: 5%]", kind=options.threshold
)
@options.percent("--faster", "Search for a speed-up by at least about this share instead.", kind=options.threshold)
@click.option(
    "--good", metavar="V", help="The release to begin at.  [default: the oldest with a wheel for this Python]"
)
@click.option("--bad", metavar="V", help="The release to end at.  [default: the newest]")
@click.option("--versions", multiple=True, metavar="V,V,...", help="Search among these releases only.")
@click.option("--pre", is_flag=True, help="Search among pre-releases and nightly builds, too.")
@click.option(
    "--commits",
    metavar="A..B",
    help="Search among the commits of the repository in the current folder instead, each built by pip.",
)
@click.option("--backend", metavar="NAME", help="The backend, if several require LIBRARY.")
@options.threads
@options.quick
@options.time_limit("the calls of one question", 40.0)
@options.many("--with", "others", "REQUIREMENT", "Also install this, such as 'numpy<2' or 'jaxlib=={version}'")
@options.environments
@click.option(
    "--discard", is_flag=True, help="Remove each environment that this search made when it is needed no more."
)
@click.option("--resume", is_flag=True, help="Continue the last search that had these options.")
@options.plugins
@options.results
@options.json_lines
def bisect(as_json: bool, **words: Any) -> None:
    """Find the release of LIBRARY that made an answer wrong (--question), or a case slower or faster (--case).

    Releases are installed one at a time, each into an environment of its own; of N releases about log2(N) are. One that
    cannot be installed or imported is skipped and never blamed. Times are taken side by side with both ends. The exit
    code is 0 when the step was found, and 3 when there is none or it stays undecided.
    """
    from convbench.reporting.console import show_journal_warnings, stderr, stdout
    from convbench.reporting.history.bisection import bisection_report, print_rows
    from convbench.reporting.progress import progress
    from convbench.runner.bisect.bisect import bisect as search
    from convbench.runner.bisect.request import Request

    if (words["question"] is None) == (words["case"] is None):
        raise click.UsageError("Give either --question, for a wrong answer, or --case, for a slow-down or a speed-up.")
    if words["slower"] is None:
        del words["slower"]
    elif words["faster"] is not None:
        raise click.UsageError("Give either --slower or --faster; each is a search of its own.")
    if words["question"] is not None and words["faster"] is not None:
        raise click.UsageError("--faster goes with --case; a mended answer is found by --question, as a wrong one is.")
    show_journal_warnings()
    with progress(stderr()) as observer:
        result = search(Request(**words), observer)
    if as_json:
        print_rows(result)
    else:
        stdout().print(bisection_report(result))
    sys.exit(result.exit_code)
