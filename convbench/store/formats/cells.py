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
from typing import Any, TypeVar

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


_Value = TypeVar("_Value")
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


def read_csv(path: Path) -> Iterator[dict[str, Any] | ValueError]:
    """A row each, as what `write_csv` may have made it from, or what is wrong with it. Columns may be separated by `;`
    or tabs. Raises `ResultsError` where the file is no such table."""
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = _separator(file.readline())
            file.seek(0)
            rows = csv.reader(file, strict=True, delimiter=separator)
            columns = next(rows, [])
            record_of_row(dict.fromkeys(columns, 0))  # their names can be read
            for row, is_last in _with_last(_rows(rows)):
                yield row if isinstance(row, ValueError) else _row(row, columns, is_torn=is_last and not _ends(path))
    except (csv.Error, ValueError) as error:
        raise ResultsError(f"{path} cannot be read as CSV: {error}.") from None


def _separator(heading: str) -> str:
    """What separates the columns: spreadsheets write `;` where the comma is the decimal point."""
    return max(",;\t", key=heading.count)


def _rows(rows: Iterator[list[str]]) -> Iterator[list[str] | ValueError]:
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:  # such as a last row that was torn within quotes
            yield ValueError(f"it cannot be read ({error})")
            continue
        if row is None:
            return
        if row:
            yield row


def _with_last(values: Iterable[_Value]) -> Iterator[tuple[_Value, bool]]:
    """The values, each with whether it is the last."""
    ahead: list[_Value] = []
    for value in values:
        if ahead:
            yield ahead.pop(), False
        ahead.append(value)
    yield from ((value, True) for value in ahead)


def _row(row: list[str], columns: list[str], *, is_torn: bool) -> dict[str, Any] | ValueError:
    """The record of a row. Empty cells at its end may be missing, unless the file ends in it."""
    if len(row) > len(columns) or (is_torn and len(row) < len(columns)):
        return ValueError(f"it has {len(row)} cells, and there are {len(columns)} columns")
    return record_of_row(dict(zip(columns, map(value_of, row), strict=False)))


def _ends(path: Path) -> bool:
    """Whether the file ends with the end of a line."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() in (b"\n", b"\r")
