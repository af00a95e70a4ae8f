"""Records to and from other files, and to pages."""

from __future__ import annotations

from pathlib import Path

import click

from convbench.cli import options


@click.command(short_help="Write asv's pages, and a page of throughput.")
def publish() -> None:
    """Write asv's pages of this checkout, and beside them convbench.html: the latest throughput of everything."""
    from convbench.runner.publish import publish_pages

    publish_pages()


@click.command(short_help="Write records to CSV, Parquet, JSON lines or pyperf.")
@click.argument("where", nargs=-1)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Its end tells the format: .csv, .parquet, .jsonl or .pyperf.json.",
)
@click.option("--format", "format_name", metavar="F", help="csv, parquet, jsonl or pyperf, whatever FILE is called.")
@options.results
def export(where: tuple[str, ...], to: Path, format_name: str | None, results: Path | None) -> None:
    """Write records to FILE: all results, or those WHERE: journals, folders of them, machines or commits.

    CSV, Parquet and JSON lines have all of a record, raw samples included, and can be imported again.
    """
    from convbench.runner.exchange import export as export_records

    export_records(where, to, format_name, results)


@click.command(name="import", short_help="Make journals of records in such files.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_name", metavar="F", help="csv, parquet or jsonl, whatever the files are called.")
@options.results
def import_(files: tuple[Path, ...], format_name: str | None, results: Path | None) -> None:
    """Make journals of the records in FILES, in the folders of the machines that they are of."""
    from convbench.runner.exchange import import_files

    import_files(files, format_name, results)
