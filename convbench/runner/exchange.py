"""Records to other programs' files and back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path

from convbench.errors import NothingMeasuredError, ResultsError
from convbench.files.user_file import FileKind, check_regular
from convbench.runner.locate import place_named, records_named
from convbench.store.formats.files import Format, Imported, export_records, format_of, import_records
from convbench.store.line_file import JournalWarning
from convbench.store.locations import results_folder
from convbench.store.records import records
from convbench.store.schema import Record

_IMPORTED = FileKind("a file of records", 16 * 2**30, "give a file that `convbench export` wrote", ResultsError)


def export(where: Sequence[str], to: Path, format_name: str | None, results: Path | None) -> tuple[int, Format]:
    """Write the records at `where`, by default all results, to one file; gives their number and the file's format.

    Raises `ResultsError` for a name that names no records, an unknown format and a file that cannot be written.
    """
    folder = results_folder(results)
    format_ = format_of(to, format_name)
    sources = [_source(text, folder) for text in where] or [lambda: records(folder)]
    passes = count()

    def all_records() -> Iterator[Record]:
        with warnings.catch_warnings():
            if next(passes):  # The first pass has warned of what is not a record.
                warnings.simplefilter("ignore", JournalWarning)
            yield from chain.from_iterable(source() for source in sources)

    return export_records(to, format_, all_records), format_


def _source(text: str, folder: Path) -> Callable[[], Iterable[Record]]:
    """The records that `text` names. Places are read anew each time, so that any number of records fits into memory."""
    if (place := place_named(text, folder)) is not None:
        return lambda: records(place)
    at_commit = records_named(text, folder)
    return lambda: at_commit


def import_files(files: Sequence[Path], format_name: str | None, results: Path | None) -> list[tuple[Path, Imported]]:
    """Make journals of the records in files; gives each file with each journal made of it.

    Raises `ResultsError` for a file that cannot be read and `NothingMeasuredError` when no file has a record.
    """
    folder = results_folder(results)
    for path in files:
        check_regular(path, _IMPORTED)
    journals = [
        (path, imported) for path in files for imported in import_records(path, format_of(path, format_name), folder)
    ]
    if not journals:
        raise NothingMeasuredError(f"there is no record in {', '.join(map(str, files))}.")
    return journals
