"""`convbench export` and `import`: records to other programs' files and back."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from rich.text import Text

from convbench.errors import NothingMeasuredError, ResultsError
from convbench.reporting.console import show_journal_warnings, stdout
from convbench.reporting.numbers import count
from convbench.runner.locate import place_named, records_named
from convbench.store.formats.files import export_records, format_of, import_records
from convbench.store.journal import JournalWarning, Record
from convbench.store.locations import results_folder
from convbench.store.records import records


def export(where: Sequence[str], to: Path, format_name: str | None, results: Path | None) -> None:
    """Write the records at `where`, by default all in the results folder, to one file."""
    show_journal_warnings()
    folder = results_folder(results)
    format_ = format_of(to, format_name)
    sources = [_Source(text, folder) for text in where] or [_Source(str(folder), folder)]
    passes = 0

    def found() -> Iterable[Record]:
        nonlocal passes
        passes += 1
        with warnings.catch_warnings():
            if passes > 1:  # what is no record has been told of once
                warnings.simplefilter("ignore", JournalWarning)
            yield from chain.from_iterable(source.records() for source in sources)

    count = export_records(to, format_, found)
    stdout().print(Text(f"{count:,} records in {to} ({format_.name})."), soft_wrap=True)


class _Source:
    """What a word names; places are read anew each time, so that any number of records fits into memory."""

    def __init__(self, text: str, folder: Path) -> None:
        self._place = place_named(text, folder)
        self._records = records_named(text, folder) if self._place is None else []

    def records(self) -> Iterable[Record]:
        return self._records if self._place is None else records(self._place)


def import_files(files: Sequence[Path], format_name: str | None, results: Path | None) -> None:
    """Make journals of the records in files. Raises `NothingMeasuredError` when there is none in any."""
    show_journal_warnings()
    folder = results_folder(results)
    for path in files:
        if not path.is_file():
            raise ResultsError(f"there is no file {path} to import.")
    told = []
    for path in files:
        imported = import_records(path, format_of(path, format_name), folder)
        for one in imported:
            kept = f"{count(one.records, 'record', 'records')} of {path.name} in {one.path}"
            more = f"; {one.known:,} more were in that folder already" if one.known else ""
            told.append(f"{kept}{more}." if one.records else f"{path.name} is in {one.path} already.")
    if not told:
        raise NothingMeasuredError(f"there is no record in {', '.join(map(str, files))}.")
    for sentence in told:
        stdout().print(Text(sentence), soft_wrap=True)
