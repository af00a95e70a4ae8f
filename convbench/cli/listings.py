"""What is here: backends, suites, and a problem in every dialect."""

from __future__ import annotations

from pathlib import Path

import click

from convbench.cli import options


@click.command(short_help="List the backends: which can run here, and why others cannot.")
@options.plugins
@options.json_lines
def backends(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the backends with their versions: which can run here, and why others cannot."""
    from convbench.registry import discover
    from convbench.reporting.listings import backend_row, backends_report
    from convbench.reporting.output import show

    rows = [backend_row(entry) for entry in discover(plugins).rows]
    show(backends_report(rows), rows, as_json=as_json)


@click.command(short_help="List the suites that come with convbench.")
@options.json_lines
def suites(as_json: bool) -> None:
    """List the suites that come with convbench."""
    from convbench.reporting.listings import suite_row, suites_report
    from convbench.reporting.output import show
    from convbench.suite import builtin_suites

    if as_json:
        show("", map(suite_row, builtin_suites()), as_json=True)
    else:
        show(suites_report(), (), as_json=False)


@click.command(short_help="Explain a problem: case id, benchdnn, MIOpenDriver, torch.")
@click.argument("problem", nargs=-1, required=True)
@options.json_lines
def show(problem: tuple[str, ...], as_json: bool) -> None:
    """Explain PROBLEM: a case id, a benchdnn descriptor, MIOpenDriver flags or a torch snippet."""
    from convbench.problem import ConvProblem
    from convbench.reporting import output
    from convbench.reporting.listings import problem_report, problem_row

    parsed = ConvProblem.parse(" ".join(problem))
    output.show(problem_report(parsed), [problem_row(parsed)], as_json=as_json)


# Flags of other tools' dialects, such as MIOpenDriver's -n, are part of the problem here and not options of ours.
show.context_settings["ignore_unknown_options"] = True
