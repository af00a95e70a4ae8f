"""The command line: the group of all commands, and what the program does with their errors.

Commands import what they need when they are called, so `--help` imports neither NumPy nor any library under test.
"""

from __future__ import annotations

import sys

import click

from convbench.cli import choose, exchange, history, listings, run, verify
from convbench.cli.examples import EXAMPLES
from convbench.errors import ConvbenchError
from convbench.installation import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True})
@click.version_option(VERSION, prog_name="convbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Is this conv2d right, how fast is it here, and which one should I use?

    Exit codes: 0 fine, 1 something is wrong or crashed, 2 the command could not be understood, 3 nothing could be
    measured, 130 interrupted.
    """


for module in (listings, run, verify, choose, history, exchange):
    for command in vars(module).values():
        if isinstance(command, click.Command):
            lines = EXAMPLES[str(command.name)]
            heading = "Examples:" if len(lines) > 1 else "Example:"
            command.epilog = "\n".join(["\b", heading, *(f"  {line}" for line in lines)])
            cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """The program. An error that the user can mend is one sentence on standard error and an exit code."""
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
        # The reader of our output has closed it, as `| head` does.
        sys.stderr.close()
        code = 0
    except Exception as error:
        if "--debug" in words:
            raise
        if isinstance(error, ConvbenchError):
            text, code = str(error), error.exit_code
        else:
            bug = "This is a bug in convbench; with --debug before the command it shows where."
            text, code = f"{type(error).__name__}: {error}\n{bug}", 1
        click.echo(f"convbench: {text}", err=True)
    sys.exit(code if isinstance(code, int) else 0)
