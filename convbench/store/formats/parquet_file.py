"""Records as Parquet: a row each, raw samples as lists of numbers. Needs pyarrow.

A column whose values have no one type, or a nested one, is the text of their JSON, and marked as such.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from convbench.errors import ResultsError
from convbench.installation import pip_line
from convbench.store.formats.cells import ordered, record_of_row, row_of
from convbench.store.schema import Record

_AT_A_TIME = 5000
_MARK = {b"convbench": b"json"}
_EXACT_AS_FLOAT = 2**53
_LARGEST = 2**63 - 1


def write_parquet(path: Path, records: Callable[[], Iterable[Record]]) -> int:
    """Write them; gives how many. They are asked for twice: first for the columns and their types."""
    pyarrow, parquet = _libraries()
    kinds: dict[str, set[str]] = {}
    for record in records():
        for column, value in row_of(record).items():
            kinds.setdefault(column, set()).add(_kind(value))
    arrow_types = _arrow_types(pyarrow)
    types = {column: arrow_types.get(_common(kinds[column])) for column in ordered(kinds)}
    schema = pyarrow.schema(
        pyarrow.field(column, pyarrow.string(), metadata=_MARK) if type_ is None else pyarrow.field(column, type_)
        for column, type_ in types.items()
    )
    rows = (row_of(record) for record in records())
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, _AT_A_TIME)):
            columns = {c: [row.get(c) for row in some] for c in types}
            for c in (c for c, type_ in types.items() if type_ is None):
                columns[c] = [None if value is None else json.dumps(value) for value in columns[c]]
            arrays = [pyarrow.array(cells, schema.field(c).type) for c, cells in columns.items()]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(some)
    return count


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """A row each, as what `write_parquet` may have made it from. Raises `ResultsError` where the file is no Parquet."""
    pyarrow, parquet = _libraries()
    try:
        with parquet.ParquetFile(path) as file:
            marked = {field.name for field in file.schema_arrow if (field.metadata or {}).items() >= _MARK.items()}
            for batch in file.iter_batches(_AT_A_TIME):
                for row in batch.to_pylist():
                    texts = {c: json.loads(row[c]) for c in marked if isinstance(row[c], str)}
                    yield record_of_row(row | texts)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:200]}.") from None


def _libraries() -> tuple[ModuleType, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ResultsError(
            f"Parquet needs pyarrow, which is not installed here: {pip_line('convbench[parquet]')}. CSV and JSON lines "
            "need nothing."
        ) from None
    return pyarrow, pyarrow.parquet


def _arrow_types(pyarrow: ModuleType) -> dict[str, Any]:
    plain = {
        "str": pyarrow.string(),
        "bool": pyarrow.bool_(),
        "int": pyarrow.int64(),
        "long": pyarrow.int64(),
        "float": pyarrow.float64(),
    }
    return plain | {f"list of {name}": pyarrow.list_(plain[name]) for name in ("int", "long", "float")}


def _kind(value: Any) -> str:
    if isinstance(value, list) and value:
        return f"list of {_common({_kind(item) for item in value})}"
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if abs(value) <= _EXACT_AS_FLOAT else "long" if abs(value) <= _LARGEST else "json"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):  # half a surrogate
        return "json"
    return type(value).__name__


def _common(kinds: set[str]) -> str:
    """The kind that holds them all without losing a digit: whole numbers are among others if these have as many."""
    if len(kinds) == 1:
        return next(iter(kinds))
    if all(kind.startswith("list") for kind in kinds):
        inner = {kind.removeprefix("list of ") for kind in kinds - {"list"}}  # an empty one is of any kind
        return f"list of {_common(inner)}"
    for numbers, kind in (({"int", "long"}, "long"), ({"int", "float"}, "float")):
        if kinds == numbers:
            return kind
    return "json"
