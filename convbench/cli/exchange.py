"""Records to and from other programs' files, and to pages."""

from __future__ import annotations

from pathlib import Path

import click

from convbench.cli import options


@click.command(short_help="Write asv's pages, and a page of throughput.")
@click.option(
    "--results", type=options.PATH, metavar="DIR", help="Write the page of throughput alone, of the journals in DIR."
)
@click.option("--machines", is_flag=True, help="Also write a page of each machine, which the page of all leads to.")
def publish(results: Path | None, machines: bool) -> None:
    """Write asv's pages of this checkout, and beside them convbench.html: the latest throughput of everything.

    With --results no checkout is needed: journals that were copied from elsewhere get the page of throughput. Where
    there are several machines, it says which of them to use, and how comparable they are.
    """
    from convbench.reporting.console import say, show_journal_warnings
    from convbench.reporting.page.page import published_page
    from convbench.reporting.page.rows import FIELDS
    from convbench.runner.publish import publish, publish_page

    show_journal_warnings()
    if results is not None:
        count, page = publish_page(FIELDS, published_page, results, machines=machines)
        say(f"{page} shows the throughput of {count:,} records.")
        return
    count, page, index = publish(FIELDS, published_page, lambda: say("asv publish ...", error=True), machines=machines)
    say(f"{page} shows the throughput of {count:,} records, {index} their history; `asv preview` serves both.")


@click.command(short_help="Write records to CSV, Parquet, JSON lines or pyperf.")
@click.argument("where", nargs=-1)
@click.option(
    "--to",
    type=options.PATH,
    required=True,
    metavar="FILE",
    help="Write this file; its ending chooses the format: .csv, .parquet, .jsonl or .pyperf.json.",
)
@click.option("--format", "format_name", metavar="F", help="csv, parquet, jsonl or pyperf, whatever FILE is called.")
@options.results
def export(where: tuple[str, ...], to: Path, format_name: str | None, results: Path | None) -> None:
    """Write records to FILE: all results, or those at WHERE.

    WHERE is journals, folders of journals, machines or commits. CSV, Parquet and JSON lines hold the whole record, raw
    samples included, and can be imported again.
    """
    from convbench.reporting.console import say, show_journal_warnings
    from convbench.runner.exchange import export as export_records

    show_journal_warnings()
    count, format_ = export_records(where, to, format_name, results)
    say(f"{count:,} records in {to} ({format_.name}).")


@click.command(name="import", short_help="Make journals of the records in such files.")
@click.argument("files", nargs=-1, required=True, type=options.PATH)
@click.option("--format", "format_name", metavar="F", help="csv, parquet or jsonl, whatever the files are called.")
@options.results
def import_(files: tuple[Path, ...], format_name: str | None, results: Path | None) -> None:
    """Make journals of the records in FILES, in the folders of the machines that measured them."""
    from convbench.reporting.console import say, show_journal_warnings
    from convbench.reporting.numbers import count
    from convbench.runner.exchange import import_files

    show_journal_warnings()
    for path, journal in import_files(files, format_name, results):
        known = f"; {journal.known:,} more were in that folder already" if journal.known else ""
        new = f"{count(journal.records, 'record')} of {path.name} in {journal.path}{known}."
        say(new if journal.records else f"{path.name} is in {journal.path} already.")
