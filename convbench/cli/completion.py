"""`convbench completion`: the script that completes commands in a shell, and the names that parameters take."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

_MOST_JOURNALS = 20
_VARIABLE = "_CONVBENCH_COMPLETE"  # as click derives it from the name of the program


@click.command(short_help="Print the script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Write it to where the shell looks for such scripts.")
def completion(shell: str, install: bool) -> None:
    """Print the script that completes commands, options, suites, backends and journals.

    For the current shell: eval "$(convbench completion bash)", or zsh; in fish, convbench completion fish | source.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    program = click.get_current_context().find_root().command
    script = kind(program, {}, "convbench", _VARIABLE).source().strip() + "\n"
    if not install:
        click.echo(script, nl=False)
        return
    target = _script_file(shell)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(script, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}.") from None
    also = f" Put this before compinit in ~/.zshrc: fpath+=({target.parent})" if shell == "zsh" else ""
    click.echo(f"{target} is written; a new {shell} reads it.{also}")


def _script_file(shell: str) -> Path:
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return {
        "bash": data / "bash-completion/completions/convbench",
        "zsh": data / "zsh/site-functions/_convbench",
        "fish": config / "fish/completions/convbench.fish",
    }[shell]


class NameType(click.types.StringParamType):
    """A text that is often one of these names, or a file."""

    def __init__(self, names: Callable[[], Iterable[str]], files: bool) -> None:
        self._names, self._files = names, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names: list[str] = []
        with contextlib.suppress(Exception):  # a message would stand in the middle of the user's line
            names = [name for name in self._names() if name.startswith(incomplete)]
        # Files first: in bash they take the place of what stands before them.
        return [*([CompletionItem(incomplete, type="file")] if self._files else []), *map(CompletionItem, names)]


def complete_names(commands: Iterable[click.Command]) -> None:
    """Let the parameters of `commands` that are names of something be completed to such names."""
    for command in commands:
        for parameter in command.params:
            known = _ARGUMENTS if isinstance(parameter, click.Argument) else _OPTIONS
            if parameter.name in known and isinstance(parameter.type, click.types.StringParamType):
                parameter.type = NameType(*known[parameter.name])


def _suites() -> list[str]:
    from convbench.suite import builtin_outlines

    return [outline.name for outline in builtin_outlines()]


def _backends() -> list[str]:
    from convbench.registry import discover

    return [entry.name for entry in discover()]


def _journals() -> list[str]:
    """The newest journals of every machine as paths, and the machines."""
    from convbench.store.journal import journals
    from convbench.store.locations import results_folder

    newest = sorted(journals(results_folder()), key=lambda path: path.name, reverse=True)
    return [*(os.path.relpath(path) for path in newest[:_MOST_JOURNALS]), *_machines()]


def _machines() -> list[str]:
    from convbench.store.locations import results_folder

    return [path.name for path in results_folder().iterdir() if path.is_dir() and not path.name.startswith(".")]


def _dtypes() -> Iterable[str]:
    from convbench.problem import DTYPES

    return DTYPES


_OPTIONS: dict[str | None, Any] = {
    **dict.fromkeys(("suite", "suites"), (_suites, True)),
    **dict.fromkeys(("backend", "backends", "against"), (_backends, False)),
    "dtype": (_dtypes, False),
    "machine": (_machines, False),
}
_ARGUMENTS: dict[str | None, Any] = dict.fromkeys(("base", "new", "where", "run", "runs"), (_journals, True))
"""By the name of a parameter: the names that it takes, and whether it takes a file."""
