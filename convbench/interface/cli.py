"""The command line. Commands are declared here and do their work in modules that are imported when they are called:
`--help` imports neither NumPy nor any library under test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from convbench import __version__
from convbench.errors import ConvbenchError

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
@_json
def machine(as_json: bool) -> None:
    """Say what is known of this machine."""
    from convbench.interface.listings import show_machine

    show_machine(as_json)


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
@click.option("--case", "case_glob", metavar="GLOB", help="Only the cases whose name or case id matches.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="For each backend.")
@click.option("--dtype", metavar="T", help="Compute every case in float64, float32, float16 or bfloat16.")
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
