"""The command list as Markdown, made from the commands themselves.

`python -m convbench.cli.reference` writes docs/commands.md of the checkout that it stands in.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click

from convbench.cli.examples import EXAMPLES
from convbench.cli.main import cli
from convbench.cli.options import in_sections

_HEADING = """# Commands

Made from the command line itself by `python -m convbench.cli.reference`; do not edit. `convbench COMMAND --help` prints
the same."""


def reference() -> str:
    """All commands, each with its usage, what it does, its options and examples."""
    group = click.Context(cli, info_name="convbench", show_default=True)
    summaries = [f"* [`{name}`](#{name}): {command.short_help}" for name, command in cli.commands.items()]
    sections = [_section(name, command, group) for name, command in cli.commands.items()]
    return "\n\n".join([_HEADING, _prose(cli), *_options(cli, group), "\n".join(summaries), *sections]) + "\n"


def _section(name: str, command: click.Command, group: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=group)
    usage = " ".join(["convbench", name, *command.collect_usage_pieces(context)])
    examples = "\n".join(["```sh", *EXAMPLES[name], "```"])
    return "\n\n".join([f"## {name}", f"`{usage}`", _prose(command), *_options(command, context), examples])


def _options(command: click.Command, context: click.Context) -> list[str]:
    """The tables of the options, one for each heading that help has; none without any."""
    sections = in_sections(command, context)
    return [text for heading, records in sections.items() for text in _table(heading, _without_help(records))]


def _without_help(records: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [record for record in records if record[0] not in ("-h, --help", "--help")]  # click keeps what it made first


def _table(heading: str, records: list[tuple[str, str]]) -> list[str]:
    rows = [f"| `{names.replace('|', chr(92) + '|')}` | {_escaped(text)} |" for names, text in records]
    title = "option" if heading == "Options" else heading
    return ["\n".join([f"| {title} | |", "|---|---|", *rows])] if rows else []


def _prose(command: click.Command) -> str:
    """The help text; paragraphs that click leaves as they are (after a \\b) become blocks of code."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        f"```text\n{text.removeprefix(chr(8)).strip(chr(10))}\n```" if text.startswith("\b") else _escaped(text)
        for text in paragraphs
    )


def _escaped(text: str) -> str:
    return re.sub(r"([|*<>\[\]])", r"\\\1", text)


if __name__ == "__main__":
    path = Path("docs", "commands.md")
    path.write_text(reference(), encoding="utf-8")
    click.echo(path)
