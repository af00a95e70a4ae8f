"""Verify and time."""

from __future__ import annotations

import sys
from typing import Any

import click

from convbench.cli import options
from convbench.cli.parameters import cpus, numbers, share


@click.command(short_help="Verify and time backends on a suite, and record it.")
@options.suites
@options.backends
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="PATH=LABEL",
    help="Also the backends of another environment, its interpreter or folder PATH, as 'torch@LABEL'; repeatable.",
)
@options.case
@options.where
@click.option(
    "--threads",
    type=numbers,
    default="1",
    show_default=True,
    metavar="N,N,...",
    help="For each backend; several are measured one after the other, and what more gave is told.",
)
@click.option("--dtype", metavar="T,T,...", help="Compute every case in float64, float32, float16 or bfloat16.")
@click.option("--batch", type=numbers, default=(), metavar="N,N,...", help="Compute every case with these batches.")
@click.option(
    "--cache",
    type=click.Choice(["warm", "cold"]),
    default="warm",
    show_default=True,
    help="'cold' empties the caches before each call, and times calls one by one.",
)
@options.processes
@click.option(
    "--self-check/--no-self-check",
    default=None,
    help="Time a backend against itself in another process: the run's own error.  [default: unless --quick]",
)
@click.option(
    "--pin",
    type=cpus,
    default="auto",
    show_default=True,
    metavar="auto|none|CPUS",
    help="The CPUs that workers run on, such as 2,3; 'auto' takes one core a thread, the same for all workers.",
)
@click.option(
    "--precision",
    type=share,
    metavar="P%",
    help="Sample until the interval is this narrow to either side, for 10 s at most or --budget.  [default: 1%]",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds of sampling for a backend and case at most.  [default: 1]",
)
@options.quick
@click.option("--resume", is_flag=True, help="Go on with the last run of this suite with these settings.")
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds that one answer of a backend may take, such as to make ready and call once.  [default: 60]",
)
@click.option(
    "--allocator",
    type=click.Choice(["steady", "system"]),
    default="steady",
    show_default=True,
    help="'system' shows what a program sees that does not tune its memory allocator.",
)
@click.option("--time-wrong", is_flag=True, help="Time wrong answers, too; they stay marked and are never ranked.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of the data and of the rounds."
)
@click.option(
    "--details",
    is_flag=True,
    help="Below the times also throughput, first calls, memory, and how the samples came about.",
)
@options.no_asv
@click.option("--allow-dirty", is_flag=True, help="Store in asv's files although the checkout has uncommitted changes.")
@options.plugins
@options.results
@options.json_lines
def run(**given: Any) -> None:
    """Verify and time the backends on the cases of a suite, and record it."""
    from convbench.runner.run import Request, run_suites

    sys.exit(run_suites(Request(**given)))
