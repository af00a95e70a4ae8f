"""`convbench verify`: its options."""

from __future__ import annotations

import sys
from typing import Any

import click

from convbench.cli import options

_QUESTIONS = options.section(
    "What to verify",
    options.backends,
    options.plugins,
    options.pythons,
    options.direction("Verify these directions", default="forward"),
    options.epilogue("Verify with these epilogues", default="none"),
    click.option(
        "--dtype",
        metavar="T,T,...",
        help="Verify in these dtypes: float64, float32, float16, bfloat16 or int8.  [default: all but int8]",
    ),
    click.option(
        "--isa",
        metavar="ISA",
        help="Let libraries use no wider instructions than avx2, avx512, vnni, bf16 or amx, by their own switches. "
        "Backends without a switch are left out.",
    ),
    options.where,
    options.many(
        "--suite", "suites", "NAME|FILE.toml", "Verify the cases of this suite instead of the sweep and the search"
    ),
    click.option(
        "--case",
        "case_glob",
        metavar="GLOB",
        help="Verify only those cases of the suite whose name or case id matches.",
    ),
    click.option("--exact", is_flag=True, help="Check the suite's cases on integers only, to the last bit."),
    options.many(
        "--question", "questions", "TEXT", "Ask only this question: a problem and words, as a failure prints it"
    ),
)
_EFFORT = options.section(
    "How much to ask",
    click.option(
        "--strength",
        type=click.IntRange(2, 4),
        default=3,
        metavar="2|3|4",
        help="Number of parameter classes that the sweep combines in every possible way.",
    ),
    click.option(
        "--search-time",
        type=click.FloatRange(0),
        default=60.0,
        metavar="S",
        help="Seconds of random search per backend after the sweep, for all directions together.",
    ),
    click.option(
        "--time-limit",
        type=click.FloatRange(0),
        metavar="S",
        help="Stop a backend that takes longer for one step, such as the calls of one question.  [default: 40]",
    ),
    options.seconds("--question-limit", "An older name of --time-limit."),
    options.threads,
    options.whole("--jobs", 1, "Backends verified at once.  [default: one per core]"),
    options.whole("--seed", 0, "Seed of the data and the search.", default=0),
)
_KNOWN = options.section(
    "Known wrong answers",
    options.many(
        "--known",
        "known",
        "FILE.toml",
        "Read known wrong answers from this file, besides convbench's own",
        type=options.PATH,
    ),
    click.option("--accept-known", is_flag=True, help="Leave with 0 when every wrong answer is a known one."),
    click.option(
        "--write-known",
        type=options.PATH,
        metavar="FILE.toml",
        help="Write the new wrong answers to this file, for --known.",
    ),
)
_FLEET = options.section("On other machines", options.cluster, options.machines, options.ship, options.insecure)
_RESULTS = options.section(
    "What to show and to keep",
    options.json_lines,
    click.option("--resume", is_flag=True, help="Continue the last verification that had these options."),
    options.results,
)


@click.command(cls=options.Sectioned, short_help="Find wrong answers: a sweep, then random search.")
@_QUESTIONS
@_EFFORT
@_KNOWN
@_FLEET
@_RESULTS
def verify(
    as_json: bool, cluster: str | None, machines: tuple[str, ...], ship: bool, insecure: bool, **words: Any
) -> None:
    """Find wrong answers: a sweep over all combinations of parameter classes, then random search.

    Failures are grouped by cause and shrunk to the smallest case. Each is reported with code that reproduces it, and is
    asked first the next time. The exit code is 1 when a backend is wrong, crashes or raises. With --plugin and
    without --backend, only the plugin is verified.
    """
    from convbench.reporting.console import show_journal_warnings, stderr, stdout
    from convbench.reporting.verification.progress import verification_progress
    from convbench.reporting.verification.tables import verification_report
    from convbench.runner.verify.request import Request, with_older_words
    from convbench.runner.verify.verify import verify_backends

    options.of_cluster(cluster, {"machines": machines, "ship": ship, "insecure": insecure})
    show_journal_warnings()
    request = Request(**with_older_words(words))
    observer = verification_progress(stderr(), as_json=as_json)
    if cluster is None:
        verification = verify_backends(request, observer)
    else:
        from convbench.fleet.cluster.cluster_file import cluster_description
        from convbench.fleet.gathering import FleetOptions
        from convbench.fleet.verification.verify import verify_on_fleet

        fleet = FleetOptions(cluster=cluster_description(cluster), machines=machines, ship=ship, insecure=insecure)
        verification = verify_on_fleet(request, fleet, observer)
    if not as_json:
        debug = click.get_current_context().find_root().params["debug"]
        stdout().print(verification_report(verification, debug=debug))
    if verification.interrupted:
        stderr().print("Interrupted. What was found is kept; the same command with --resume continues.", soft_wrap=True)
    sys.exit(verification.exit_code)
