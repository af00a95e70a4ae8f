"""What this machine can do, and how well it can measure."""

from __future__ import annotations

from pathlib import Path

import click

from convbench.cli import options


@click.command(short_help="Show what is known of this machine, and its limits.")
@click.option("--measure", is_flag=True, help="Measure the ceilings, in about half a minute, and keep them.")
@click.option(
    "--threads",
    type=options.numbers,
    metavar="N,N,...",
    help="Numbers of threads for --measure.  [default: 1 and as many as CPUs]",
)
@options.results
@options.json_lines
def machine(measure: bool, threads: tuple[int, ...] | None, results: Path | None, as_json: bool) -> None:
    """Show what is known of this machine, and what it can do at most.

    The ceilings are multiply-adds in registers, matrix products, and bytes from each cache and from memory. Once they
    are measured, tables give each time as a share of them.
    """
    from convbench.reporting.console import show, show_journal_warnings
    from convbench.reporting.machine import ceilings
    from convbench.runner.machine import ceiling_threads, measure_machine, this_machine

    show_journal_warnings()
    numbers = ceiling_threads(threads, measure=measure)
    if measure:
        with ceilings.measuring() as doing:
            measure_machine(numbers, results, doing)
    known = this_machine(results)
    show(ceilings.report(known), [ceilings.row(known)], as_json=as_json)


@click.command(short_help="Find out how well this machine can measure.")
@click.option(
    "--backend", default="numpy-gemm", show_default=True, metavar="NAME", help="Measure this backend against itself."
)
@click.option(
    "--problem",
    default="n1c64h28w28_o64k3_p1",
    show_default=True,
    metavar="ID",
    help="Compute this problem; short calls say more in the same time.",
)
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Threads of the backend."
)
@click.option("--quick", is_flag=True, help="Take some 8 seconds instead of half a minute.")
@options.plugins
@options.json_lines
def doctor(backend: str, problem: str, threads: int, quick: bool, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Find out how well this machine can measure, what limits it, and what to do about that.

    Reads the clocks and the state of the machine, measures the same work against itself, and derives which difference
    could be detected in 1, 10 and 60 seconds.
    """
    from convbench.reporting.console import show
    from convbench.reporting.machine import doctor as shown
    from convbench.runner.doctor import QUICK, WHOLE, examine, subject

    entry, case = subject(backend, problem, plugins)
    effort = QUICK if quick else WHOLE
    with shown.progress(entry, effort.pairs) as advance:
        diagnosis = examine(entry, case, threads, effort, advance)
    show(shown.report(diagnosis), [shown.row(diagnosis)], as_json=as_json)
