"""`convbench run`: its options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from convbench.cli import options
from convbench.cli.options import cpus, numbers

_CASES = options.section(
    "What to measure",
    options.many("--suite", "suites", "NAME|FILE.toml", "Measure this suite"),
    options.many("--problem", "problems", "ID", f"Measure {options.A_PROBLEM}"),
    options.case,
    options.where,
    options.backends,
    options.plugins,
    options.pythons,
)
_VARIANTS = options.section(
    "Each case in several ways",
    click.option(
        "--threads",
        type=numbers,
        default="1",
        metavar="N,N,...",
        help="Threads per backend. Several values are measured in turn, and the speed-up is reported.",
    ),
    click.option(
        "--dtype", metavar="T,T,...", help="Compute every case in float64, float32, float16, bfloat16 or int8."
    ),
    click.option(
        "--batch", type=numbers, default=(), metavar="N,N,...", help="Compute every case with these batch sizes."
    ),
    options.direction("Compute every case in these directions"),
    options.epilogue("Compute every case with these epilogues"),
    options.isa,
    options.many(
        "--data",
        "data",
        "normal|denormal|zeros|FILE",
        "Time these values, or the input and weight of a .npy or .npz file, while verification keeps its own",
    ),
)
_TIMING = options.section(
    "How to time",
    options.quick,
    options.percent(
        "--precision",
        "Sample until the interval reaches this far to either side, for at most 10 s or --budget.  [default: 1%]",
    ),
    options.seconds("--budget", "Sample each backend on each case for at most this many seconds.  [default: 1]"),
    options.processes,
    options.cache,
    options.pass_bytes,
    click.option(
        "--self-check/--no-self-check",
        default=None,
        help="Time one backend against itself in another process, which shows the run's own error.  "
        "[default: unless --quick]",
    ),
    click.option(
        "--pin",
        type=cpus,
        default="auto",
        metavar="auto|none|CPUS",
        help="Run workers on these CPUs, such as 2,3; 'auto' takes one core per thread, the same for all workers.",
    ),
    options.priority,
    click.option(
        "--allocator",
        type=click.Choice(["steady", "system"]),
        default="steady",
        help="Tune the memory allocator for steady times, or leave it as programs have it.",
    ),
    options.time_limit(note="  [default: 60]"),
    click.option("--time-wrong", is_flag=True, help="Time wrong answers, too. They stay marked and are never ranked."),
    options.lower_precision,
    options.whole("--seed", 0, "Seed of the data and of the order within rounds.", default=0),
)
_FLEET = options.section(
    "On other machines", options.cluster, options.machines, options.shard, options.ship, options.insecure
)
_RESULTS = options.section(
    "What to show and to keep",
    click.option(
        "--details",
        is_flag=True,
        help="Show throughput, first calls, memory, sampling and kernels below the times.",
    ),
    options.json_lines,
    click.option(
        "--report",
        "page",
        type=options.PATH,
        metavar="FILE",
        help="Also write the page of this run, as `convbench report`.",
    ),
    click.option("--resume", is_flag=True, help="Continue the last run of this suite with these settings."),
    options.results,
    options.no_asv,
    click.option(
        "--allow-dirty", is_flag=True, help="Store in asv's files although the checkout has uncommitted changes."
    ),
)


@click.command(
    cls=options.Sectioned, short_help="Verify and time backends on suites and problems, and record the results."
)
@_CASES
@_VARIANTS
@_TIMING
@_FLEET
@_RESULTS
def run(page: Path | None, **values: Any) -> None:
    """Verify and time backends on the cases of suites, or on single problems, and record the results."""
    if not values["suites"] and not values["problems"]:
        raise click.UsageError("give --suite or --problem, such as --suite sizes; `convbench suites` lists the suites.")
    from convbench.api.run import run_request
    from convbench.cli.report import show_report
    from convbench.reporting.console import show_journal_warnings, stderr
    from convbench.reporting.progress import progress
    from convbench.reporting.run.report import end_run, show_run
    from convbench.runner.run import Request

    fleet = {name: values.pop(name) for name in ("machines", "shard", "ship", "insecure")}
    options.of_cluster(values["cluster"], fleet)
    fleet["cluster"] = values.pop("cluster")
    request = Request(**values)
    show_journal_warnings()
    if fleet["cluster"] is not None:
        from convbench.cli.cluster import run_on_cluster

        sys.exit(run_on_cluster(request, **fleet))
    with progress(stderr(), as_json=request.as_json, lower=request.lower_precision) as observer:
        result = run_request(request, observer)
    show_run(result.measurements, request)
    if page is not None and result.measurements.journal is not None:
        show_report(result.measurements.journal, beside=True, to=page, results=values["results"])
    end_run(result.measurements, *result.remarks)
    sys.exit(result.exit_code)
