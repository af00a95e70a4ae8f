"""A record as one row of plain cells, and back; and as CSV (RFC 4180, UTF-8).

Tables are spread over columns with dotted names, `problem.in_channels`, `samples.wall_s`. A table that is empty, or
whose keys are not plain words, stays whole. Only the difference between a null member and a missing one is lost. In CSV
lists are JSON, and a text that a spreadsheet might run as a formula is JSON in quotes.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from convbench.errors import ResultsError
from convbench.store.schema import FIELDS, TABLES, Record

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_DEEPEST = 3


def row_of(record: Record) -> dict[str, Any]:
    """The record's values by column, without those that are null; the values are scalars, lists and odd tables."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        if not value and name in TABLES:
            continue
        column = name if _PLAIN.fullmatch(name) else json.dumps(name)
        _spread(column, value, row, _DEEPEST if column == name else 0)
    return row


def ordered(columns: Iterable[str]) -> list[str]:
    """The columns, each once, in the order of a record's fields."""
    place = {field: number for number, field in enumerate(FIELDS)}
    return sorted(dict.fromkeys(columns), key=lambda column: place.get(column.partition(".")[0], len(place)))


def _spread(column: str, value: Any, row: dict[str, Any], depth: int) -> None:
    if isinstance(value, dict) and value and depth and all(map(_PLAIN.fullmatch, value)):
        for name, member in value.items():
            _spread(f"{column}.{name}", member, row, depth - 1)
    elif value is not None:
        row[column] = value


def record_of_row(row: dict[str, Any]) -> dict[str, Any]:
    """The record that `row_of` made the row from; any other row may give something else. Raises `ValueError` for a
    column name that begins like JSON and cannot be read as JSON."""
    record: dict[str, Any] = {}
    for column, value in row.items():
        if value is None:
            continue
        if column.startswith('"'):
            record[str(json.loads(column))] = value
            continue
        *tables, name = column.split(".")
        at = record
        for table in tables:
            inner = at.get(table)
            if not isinstance(inner, dict):
                inner = at[table] = {}
            at = inner
        at[name] = value
    return record


def text_of(value: Any) -> str:
    """A cell's text: JSON, but a string as it is, unless it would be read as JSON, or as a formula by a spreadsheet, or
    would break the line. None is an empty text."""
    if value is None:
        return ""
    if (
        isinstance(value, str)
        and value.isprintable()
        and value[:1] not in _NOT_AT_THE_BEGINNING
        and isinstance(value_of(value), str)
    ):
        return value
    return json.dumps(value)


_NOT_AT_THE_BEGINNING = ("", "=", "+", "-", "@", '"', "[", "{", " ")


def value_of(text: str) -> Any:
    """The value of a cell's text: the text as JSON, else the text itself; None if it is empty."""
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


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
