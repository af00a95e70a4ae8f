"""The command line: the group of all commands, and what the program does with their errors.

Commands import what they need when they are called, so `--help` imports neither NumPy nor any library under test.
"""

from __future__ import annotations

import contextlib
import io
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import click

from convbench.cli import bisect, bug, choose, cluster, completion, exchange, history, listings, report, run, verify
from convbench.cli.completion import complete_names
from convbench.cli.examples import EXAMPLES
from convbench.errors import BUG_EXIT_CODE, ConvbenchError, ReaderGoneError
from convbench.installation import VERSION
from convbench.reporting.streams import Messages, Output, as_file, open_standard_streams, set_color, width_of
from convbench.reporting.terminal_text import printable, wrapped
from convbench.runner.interrupts import interrupt_arrived

INTERRUPTED = 130


class Interrupted(BaseException):
    """Ctrl-C, under a name that click does not know: it prints an empty line for `KeyboardInterrupt`."""


class Commands(click.Group):
    """The group of all commands, which says nothing of an interrupt."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _unknown_to_click():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _unknown_to_click():
            return super().invoke(ctx)


@contextlib.contextmanager
def _unknown_to_click() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """The version at once, because programs ask for it; then what takes longer to find out."""
    if not wanted or context.resilient_parsing:
        return
    click.echo(f"convbench, version {VERSION}")
    sys.stdout.flush()
    from convbench.reporting.machine.version import version_facts

    click.echo(version_facts())
    context.exit()


def _set_color(context: click.Context, parameter: click.Parameter, when: str | None) -> None:
    if when is not None:
        set_color(when)


def _color(*, hidden: bool = False) -> Callable[[Any], Any]:
    """`--color`: of the program, and of each command, where it is not listed once more."""
    return click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default=None if hidden else "auto",
        expose_value=False,
        callback=_set_color,
        hidden=hidden,
        help="Colour what is printed: on a terminal unless NO_COLOR is set, always, or never.",
    )


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and what the report of a bug needs to say.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@_color()
def cli(debug: bool) -> None:
    """Is this conv2d right, how fast is it here, and which one should I use?

    Exit codes: 0 fine, 1 something is wrong or crashed, 2 the command could not be understood, 3 nothing could be
    measured, 70 a bug in convbench, 74 standard output could not be written, 130 interrupted.
    """


for module in (listings, run, verify, bug, choose, history, bisect, report, exchange, cluster, completion):
    for command in vars(module).values():
        if isinstance(command, click.Command):
            lines = EXAMPLES[str(command.name)]
            heading = "Examples:" if len(lines) > 1 else "Example:"
            command.epilog = "\n".join(["\b", heading, *(f"  {line}" for line in lines)])
            cli.add_command(_color(hidden=True)(command))
complete_names(cli.commands.values())


def main(arguments: list[str] | None = None) -> None:
    """The program for a caller with its own answer to Ctrl-C. Raises `SystemExit`."""
    sys.exit(exit_code(arguments))


def exit_code(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code. An error that the user can mend is one sentence on standard error."""
    words = sys.argv[1:] if arguments is None else arguments
    open_standard_streams()
    try:
        with contextlib.redirect_stdout(as_file(Output(sys.stdout))):
            try:
                code = cli.main(words, prog_name="convbench", standalone_mode=False)
            finally:
                sys.stdout.flush()
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except SystemExit as leave:
        code = leave.code
    except click.ClickException as error:
        usage = io.StringIO()
        error.show(usage)
        code = _complain(f"{usage.getvalue().rstrip()}{_example_for(error)}", 2)
    except (click.Abort, KeyboardInterrupt, Interrupted):
        code = INTERRUPTED
    except ReaderGoneError as gone:
        code = gone.exit_code
    except Exception as error:
        if interrupt_arrived():
            return INTERRUPTED
        if "--debug" in words:
            _complain(traceback.format_exc().rstrip(), 0)
        if isinstance(error, ConvbenchError):
            code = _complain(f"convbench: {error}", error.exit_code)
        elif isinstance(error, OSError) and error.filename is not None:
            # Of a path that the user names: too long, without permission, on a disk that is full or gone.
            code = _complain(f"convbench: {error.filename}: {error.strerror}; give another path.", 2)
        else:
            bug = "This is a bug in convbench; with --debug before the command it shows where."
            code = _complain(f"convbench: {type(error).__name__}: {error}\n{bug}", BUG_EXIT_CODE)
    return code if isinstance(code, int) else 0


def _example_for(error: click.ClickException) -> str:
    """A line with what to type, where an argument is missing."""
    if not isinstance(error, click.MissingParameter) or error.ctx is None or error.ctx.info_name not in EXAMPLES:
        return ""
    return f"\nFor example: {EXAMPLES[error.ctx.info_name][0]}"


def _complain(text: str, code: int) -> int:
    """Write `text` on standard error, whatever is in it; gives `code`."""
    output = Messages(sys.stderr)
    output.write(wrapped(printable(text, keep="\n"), width_of(output)) + "\n")
    output.flush()
    return code
