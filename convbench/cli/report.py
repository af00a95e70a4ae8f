"""The page of runs: one file of HTML to look at and to send around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convbench.cli import options
from convbench.installation import pip_line


@click.command(short_help="Write a page with the answer, tables and figures.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "-o", "--output", "to", type=options.PATH, default=Path("report.html"), metavar="FILE", help="Write this file."
)
@click.option("--compare", is_flag=True, help="Say what changed from the first RUN to the second.")
@options.percent("--threshold", "With --compare, call a slow-down a regression only above this share", "5%")
@click.option("--title", metavar="TEXT", help="The heading of the page.")
@options.results
def report(runs: tuple[str, ...], **values: Any) -> None:
    """Write one page of HTML that opens offline: the answer, sortable tables, figures and the samples of each pair.

    RUN is a journal, a folder of journals, a machine, a commit, or a file with the output of `convbench verify --json`;
    several are shown together, and without one it is the newest run. Figures need `pip install 'convbench[report]'`.
    """
    from convbench.reporting.console import show_journal_warnings

    show_journal_warnings()
    show_report(*runs, **values)


def show_report(*runs: str | Path, beside: bool = False, **values: Any) -> None:
    """Write the page, and say what it shows; on standard error if that is `beside` the answer of the command."""
    from convbench.api.report import report as write_report
    from convbench.reporting.console import say
    from convbench.reporting.numbers import count

    written = write_report(*runs, **values)
    shown = [count(written.records, "record")] if written.records else []
    shown += [count(written.verified, "verified backend")] if written.verified else []
    say(f"{written.path} shows {' and '.join(shown)}.", error=beside)
    if not written.has_figures:
        say(f"It has no figures, because Altair is not installed: {pip_line('convbench[report]')}.", error=True)
