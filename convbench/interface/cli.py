"""The command line. Commands are declared here and do their work in modules that are imported when they are called:
`--help` imports neither NumPy nor any library under test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from convbench import __version__
from convbench.errors import ConvbenchError
from convbench.interface.parameters import cpus, numbers, share

_plugin = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.py",
    help="Also take the backends that this file defines; repeatable.",
)
_results = click.option(
    "--results",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results are kept, instead of results/ of the checkout or the user's data folder.",
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON lines on standard output, and nothing else there.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="convbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Is this conv2d right, how fast is it here, and which one should I use?

    Exit codes: 0 fine, 1 something is wrong or crashed, 2 the command could not be understood, 3 nothing could be
    measured, 130 interrupted.
    """


@cli.command()
@_plugin
@_json
def backends(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the backends: which can run here, which cannot and why, with versions."""
    from convbench.interface.listings import list_backends

    list_backends(plugins, as_json)


@cli.command()
@_json
def suites(as_json: bool) -> None:
    """List the suites that come with convbench."""
    from convbench.interface.listings import list_suites

    list_suites(as_json)


@cli.command()
@click.option("--measure", is_flag=True, help="Measure what it can do at most, in about half a minute, and keep that.")
@click.option(
    "--threads", metavar="N,N,...", help="Of --measure: with how many threads.  [default: 1 and as many as CPUs]"
)
@_results
@_json
def machine(**options: Any) -> None:
    """Say what is known of this machine, and what it can do at most.

    The ceilings are multiply-adds in registers, matrix products, and bytes from each cache and from memory. Once they
    are measured, tables say what share of them a time is.
    """
    from convbench.interface.machine import Request, show_machine

    show_machine(Request(**options))


@cli.command()
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
@_plugin
@_json
def doctor(**options: Any) -> None:
    """Tell how well this machine can measure, what limits it, and what to do about that.

    Reads the clocks and the state of the machine, measures the same work against itself, and says from how much that
    differs what difference could be told apart in 1, 10 and 60 seconds.
    """
    from convbench.interface.doctor import Request, examine_machine

    sys.exit(examine_machine(Request(**options)))


@cli.command()
@click.argument("problem", nargs=-1, required=True)
@_json
def show(problem: tuple[str, ...], as_json: bool) -> None:
    """Explain a PROBLEM: a case id, a benchdnn descriptor, MIOpenDriver flags or a torch snippet."""
    from convbench.interface.listings import show_problem

    show_problem(" ".join(problem), as_json)


# Flags of other tools' dialects, such as MIOpenDriver's -n, are part of the problem here and not options of ours.
show.context_settings["ignore_unknown_options"] = True


@cli.command()
@click.option(
    "--suite", "suites", multiple=True, required=True, metavar="NAME|FILE.toml", help="What to compute; repeatable."
)
@click.option(
    "--backend", "backends", multiple=True, metavar="GLOB", help="Only these backends, such as 'torch*'; repeatable."
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="PATH=LABEL",
    help="Also the backends of another environment, its interpreter or folder PATH, as 'torch@LABEL'; repeatable.",
)
@click.option("--case", "case_glob", metavar="GLOB", help="Only the cases whose name or case id matches.")
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
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Fresh worker processes for each backend; from 3 on intervals include what processes differ by.",
)
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
@click.option("--quick", is_flag=True, help="A first look: fewer and shorter samples.")
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
@click.option("--no-asv", is_flag=True, help="Leave asv's files alone; the journal is written all the same.")
@click.option("--allow-dirty", is_flag=True, help="Store in asv's files although the checkout has uncommitted changes.")
@_plugin
@_results
@_json
def run(**options: Any) -> None:
    """Verify and time the backends on the cases of a suite, and record it."""
    from convbench.interface.run import Request, run_suites

    sys.exit(run_suites(Request(**options)))


@cli.command()
@click.option(
    "--backend", "backends", multiple=True, metavar="GLOB", help="Only these backends, such as 'torch*'; repeatable."
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE.toml",
    help="Only the cases of this suite, instead of the sweep and the search; repeatable.",
)
@click.option("--case", "case_glob", metavar="GLOB", help="Of a suite, only the cases whose name or case id matches.")
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
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="For each backend.")
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Backends verified at once.  [default: as cores allow]"
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of data and search.")
@click.option("--resume", is_flag=True, help="Go on with the last verification that had these options.")
@_plugin
@_results
@_json
def verify(**options: Any) -> None:
    """Find wrong answers: a sweep over all combinations of parameter classes, then random search.

    Failures are shrunk, gathered by cause, reported with code that shows them again, and asked first next time. Leaves
    with 1 when a backend is wrong, crashed or raised. With --plugin and no --backend only the plugin is verified.
    """
    from convbench.interface.verify import Request, verify_backends

    sys.exit(verify_backends(Request(**options)))


@cli.command()
@click.argument("library")
@click.option("--versions", multiple=True, required=True, metavar="V,V,...", help="The releases: 1.20.1,1.21.1.")
@click.option(
    "--suite", "suites", multiple=True, required=True, metavar="NAME|FILE.toml", help="What to compute; repeatable."
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="GLOB",
    help="Only these backends, instead of all that require LIBRARY; repeatable.",
)
@click.option("--case", "case_glob", metavar="GLOB", help="Only the cases whose name or case id matches.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="For each backend.")
@click.option("--quick", is_flag=True, help="A first look: fewer and shorter samples.")
@click.option("--resume", is_flag=True, help="Go on with the last such run of this suite with these settings.")
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="REQUIREMENT",
    help="Also install this, such as 'numpy<2' or 'iree-base-runtime=={version}'; repeatable.",
)
@click.option(
    "--dates", multiple=True, metavar="V=YYYY-MM-DD,...", help="When they came out, where the package index is silent."
)
@click.option("--python", metavar="PATH", help="The interpreter to make the environments with, instead of this one.")
@click.option(
    "--environments",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the environments are kept, instead of the user's cache folder.",
)
@click.option("--no-asv", is_flag=True, help="Leave asv's files alone; the journal is written all the same.")
@_plugin
@_results
@_json
def releases(
    library: str,
    versions: tuple[str, ...],
    dates: tuple[str, ...],
    others: tuple[str, ...],
    python: str | None,
    environments: Path | None,
    **options: Any,
) -> None:
    """Measure past releases of LIBRARY side by side, each in an environment of its own, as dated points.

    pip installs them, as it is configured: PIP_INDEX_URL, PIP_FIND_LINKS and the like hold here, too.
    """
    from convbench.interface import run
    from convbench.interface.releases import Request, measure_releases

    request = Request(
        library=library,
        versions=versions,
        dates=dates,
        others=others,
        python=python,
        environments=environments,
        run=run.Request(**options),
    )
    sys.exit(measure_releases(request))


@cli.command()
@click.argument("base")
@click.argument("new")
@click.option("--backend", metavar="NAME", help="Only this backend.")
@click.option("--against", metavar="NAME", help="Compare --backend in BASE with this one in NEW.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="A regression is slower beyond doubt and by more than this.",
)
@click.option("--markdown", is_flag=True, help="A GitHub-flavoured table, for a comment.")
@_results
@_json
def compare(**options: Any) -> None:
    """Say what changed from BASE to NEW: journals, folders of them, machines, commits, tags or branches.

    Leaves with 1 when something got slower than --threshold allows or is broken now, with 3 when nothing is comparable.
    """
    from convbench.interface.compare import Request, compare_records

    sys.exit(compare_records(Request(**options)))


@cli.command()
@click.argument("where", nargs=-1)
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="Only this suite; repeatable.")
@click.option(
    "--backend", "backends", multiple=True, metavar="GLOB", help="Only these backends, such as 'torch*'; repeatable."
)
@click.option("--case", "case_glob", metavar="GLOB", help="Only the cases whose name or case id matches.")
@click.option(
    "--threshold",
    type=click.FloatRange(0),
    default=0.03,
    show_default=True,
    metavar="SHARE",
    help="Leave out steps that are not larger than this.",
)
@click.option(
    "--min-segment",
    type=click.IntRange(2),
    default=3,
    show_default=True,
    metavar="N",
    help="Fewest runs between two steps, and from the last one on.",
)
@click.option(
    "--last",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    metavar="N",
    help="Leave with 1 only for a step among the N newest points of its series.",
)
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Only steps on this day (YYYY-MM-DD) or later."
)
@click.option("--markdown", is_flag=True, help="A GitHub-flavoured table, for a comment.")
@_results
@_json
def trend(**options: Any) -> None:
    """Say where series of runs step: over releases, commits or time.

    WHERE is journals, folders of them or machines; without it, all results. A series needs 12 runs, or two releases of
    a library. Leaves with 1 when one is slower now: its newest step is to slower and among its --last points; older
    steps are shown and fail nothing. Leaves with 3 when no series is long enough.
    """
    from convbench.interface.trend import Request, show_trend

    sys.exit(show_trend(Request(**options)))


@cli.command()
def publish() -> None:
    """Write asv's pages of this checkout, and beside them convbench.html: the latest throughput of everything."""
    from convbench.interface.publish import publish_pages

    publish_pages()


@cli.command()
@click.argument("where", nargs=-1)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Its end tells the format: .csv, .parquet, .jsonl or .pyperf.json.",
)
@click.option("--format", "format_name", metavar="F", help="csv, parquet, jsonl or pyperf, whatever FILE is called.")
@_results
def export(where: tuple[str, ...], to: Path, format_name: str | None, results: Path | None) -> None:
    """Write records to FILE: all results, or those WHERE: journals, folders of them, machines or commits.

    CSV, Parquet and JSON lines have all of a record, raw samples included, and can be imported again.
    """
    from convbench.interface.exchange import export as export_records

    export_records(where, to, format_name, results)


@cli.command(name="import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_name", metavar="F", help="csv, parquet or jsonl, whatever the files are called.")
@_results
def import_(files: tuple[Path, ...], format_name: str | None, results: Path | None) -> None:
    """Make journals of the records in FILES, in the folders of the machines that they are of."""
    from convbench.interface.exchange import import_files

    import_files(files, format_name, results)


def main(arguments: list[str] | None = None) -> None:
    """The program: every error of the user's is one sentence on standard error and an exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = cli.main(words, prog_name="convbench", standalone_mode=False)
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        code = 130
    except BrokenPipeError:
        # Whoever read our output has had enough, as `| head` does.
        sys.stderr.close()
        code = 0
    except ConvbenchError as error:
        if "--debug" in words:
            raise
        click.echo(f"convbench: {error}", err=True)
        code = error.exit_code
    except Exception as error:
        if "--debug" in words:
            raise
        click.echo(
            f"convbench: {type(error).__name__}: {error}\nThis is a bug in convbench; with --debug before the command "
            "it shows where.",
            err=True,
        )
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
