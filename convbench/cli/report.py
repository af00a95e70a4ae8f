"""What people look at and send around: the page of runs, and filtered photographs."""

from __future__ import annotations

import sys
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
@click.option(
    "--figures", type=options.PATH, metavar="DIR", help="Also write every figure as SVG, PNG and CSV into this folder."
)
@click.option("--title", metavar="TEXT", help="The heading of the page.")
@options.prices
@options.currency
@options.results
def report(runs: tuple[str, ...], prices: tuple[str, ...], currency: str | None, **values: Any) -> None:
    """Write one page of HTML that opens offline: the answer, sortable tables, figures and the samples of each pair.

    RUN is a journal, a folder of journals, a machine, a commit, or a file with the output of `convbench verify --json`;
    several are shown together, and without one it is the newest run. Figures need `pip install 'convbench[report]'`.
    """
    from convbench.analysis.hardware.prices import CURRENCY, prices_of
    from convbench.reporting.console import show_journal_warnings

    show_journal_warnings()
    show_report(*runs, price=prices_of(prices), currency=currency or CURRENCY, **values)


def show_report(*runs: str | Path, beside: bool = False, **values: Any) -> None:
    """Write the page, and say what it shows; on standard error if that is `beside` the answer of the command."""
    from convbench.api.report import report as write_report
    from convbench.reporting.console import say
    from convbench.reporting.numbers import count

    written = write_report(*runs, **values)
    shown = [count(written.records, "record")] if written.records else []
    shown += [count(written.verified, "verified backend")] if written.verified else []
    say(f"{written.path} shows {' and '.join(shown)}.", error=beside)
    if written.figures:
        say(f"{written.figures[0].parent} has {count(len(written.figures), 'file')} of figures.", error=beside)
    if not written.has_figures:
        say(f"It has no figures, because Altair is not installed: {pip_line('convbench[report]')}.", error=True)


@click.command(short_help="Filter a photograph with each backend, and see the difference.")
@click.argument("photo", required=False, type=options.PATH)
@click.option(
    "--kernel",
    multiple=True,
    default=("sharpen",),
    metavar="NAME|ROWS|FILE",
    help="sharpen, blur, edges, emboss or random, rows such as '0 -1 0; -1 5 -1; 0 -1 0', or a file of rows; "
    "repeatable.",
)
@options.whole("--seed", 0, "Seed of the kernel `random`.", default=0)
@options.whole("--stride", 1, "Stride.", default=1)
@options.whole("--dilation", 1, "Dilation.", default=1)
@click.option("--padding", type=int, metavar="N", help="Padding.  [default: keeps the size at stride 1]")
@click.option(
    "--padding-mode",
    "padding_mode",
    multiple=True,
    default=("zeros",),
    metavar="MODE",
    help="zeros, reflect, replicate or circular; repeatable, to see them side by side.",
)
@click.option("--dtype", default="float32", metavar="T", help="Compute in float64, float32, float16 or bfloat16.")
@options.backends
@click.option(
    "-o", "--output", "to", type=options.PATH, default=Path("picture"), metavar="DIR", help="Write the images here."
)
@options.plugins
@options.json_lines
def picture(photo: Path | None, to: Path, as_json: bool, **values: Any) -> None:
    """Filter PHOTO with each backend, judge the answers, and write them as PNG with one contact sheet.

    Each row of the sheet has a backend's output, its amplified difference to the exact answer, and a corner, where the
    padding shows. Without PHOTO it is the photograph of the tutorial suite. The exit code is 1 when an answer is wrong.
    """
    from convbench.api.picture import picture as apply_picture
    from convbench.reporting.console import say, show

    values |= {"backend": values.pop("backends"), "plugin": values.pop("plugins")}
    result = apply_picture(photo, **values)
    written = result.write(to)
    show(result, result.records, as_json=as_json)
    say(f"{written[0]} has it all on one sheet; {len(written) - 1} images are beside it.", error=True)
    sys.exit(result.exit_code)
