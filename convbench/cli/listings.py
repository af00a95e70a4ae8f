"""What there is: backends, suites, and a problem in every dialect."""

from __future__ import annotations

from pathlib import Path

import click

from convbench.cli import options


@click.command(short_help="Which backends can run here, which not and why.")
@options.plugins
@options.json_lines
def backends(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the backends: which can run here, which cannot and why, with versions."""
    from convbench.runner.listings import list_backends

    list_backends(plugins, as_json)


@click.command(short_help="The suites that come with convbench.")
@options.json_lines
def suites(as_json: bool) -> None:
    """List the suites that come with convbench."""
    from convbench.runner.listings import list_suites

    list_suites(as_json)


@click.command(short_help="Explain a problem: case id, benchdnn, MIOpenDriver, torch.")
@click.argument("problem", nargs=-1, required=True)
@options.json_lines
def show(problem: tuple[str, ...], as_json: bool) -> None:
    """Explain a PROBLEM: a case id, a benchdnn descriptor, MIOpenDriver flags or a torch snippet."""
    from convbench.runner.listings import show_problem

    show_problem(" ".join(problem), as_json)


# Flags of other tools' dialects, such as MIOpenDriver's -n, are part of the problem here and not options of ours.
show.context_settings["ignore_unknown_options"] = True
