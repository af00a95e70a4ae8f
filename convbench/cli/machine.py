"""What this machine can do, and how well it can measure."""

from __future__ import annotations

import sys
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="What is known of this machine, and its limits.")
@click.option("--measure", is_flag=True, help="Measure what it can do at most, in about half a minute, and keep that.")
@click.option(
    "--threads", metavar="N,N,...", help="Of --measure: with how many threads.  [default: 1 and as many as CPUs]"
)
@options.results
@options.json_lines
def machine(**given: Any) -> None:
    """Say what is known of this machine, and what it can do at most.

    The ceilings are multiply-adds in registers, matrix products, and bytes from each cache and from memory. Once they
    are measured, tables say what share of them a time is.
    """
    from convbench.runner.machine import Request, show_machine

    show_machine(Request(**given))


@click.command(short_help="How well can this machine measure?")
@click.option(
    "--backend", default="numpy-gemm", show_default=True, metavar="NAME", help="The backend that is run against itself."
)
@click.option(
    "--problem",
    default="n1c64h28w28_o64k3_p1",
    show_default=True,
    metavar="ID",
    help="What it computes: short calls tell more in the same time.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="As for run.")
@click.option("--quick", is_flag=True, help="Some 8 seconds instead of half a minute.")
@options.plugins
@options.json_lines
def doctor(**given: Any) -> None:
    """Tell how well this machine can measure, what limits it, and what to do about that.

    Reads the clocks and the state of the machine, measures the same work against itself, and says from how much that
    differs what difference could be told apart in 1, 10 and 60 seconds.
    """
    from convbench.runner.doctor import Request, examine_machine

    sys.exit(examine_machine(Request(**given)))
