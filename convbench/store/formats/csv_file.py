"""Records as CSV (RFC 4180, UTF-8): a row each, raw samples as JSON lists in their cells.

A text that a spreadsheet might run as a formula is written as a JSON text, in quotes.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from convbench.errors import ResultsError
from convbench.store.formats.cells import ordered, record_of_row, row_of, text_of, value_of
from convbench.store.schema import Record

_LONGEST_CELL = 2**31 - 1


def write_csv(path: Path, records: Callable[[], Iterable[Record]]) -> int:
    """Write them; gives how many. They are asked for twice: first for the columns."""
    columns = ordered(column for record in records() for column in row_of(record))
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for record in records():
            row = row_of(record)
            writer.writerow([text_of(row.get(column)) for column in columns])
            count += 1
    return count


def read_csv(path: Path) -> Iterator[dict[str, Any]]:
    """A row each, as what `write_csv` may have made it from. Raises `ResultsError` where the file is no such table."""
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            columns = next(rows, [])
            for row in rows:
                if row:
                    yield record_of_row(dict(zip(columns, map(value_of, row), strict=False)))
    except (csv.Error, ValueError) as error:
        raise ResultsError(f"{path} cannot be read as CSV: {error}.") from None
