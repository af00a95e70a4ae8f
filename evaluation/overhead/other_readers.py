"""Readers of journals with DuckDB, polars and `read_records`, as short as `convbench.load()`'s semantics allow.

Each declares the type of every column and leaves tables and samples undecoded, as JSON. It checks for values that the
library would change silently, as far as the library shows them. A journal that the library or a check refuses is read
by `read_records`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from convbench.store.columns import Block, _as_decoded, _objects
from convbench.store.frame import _frame, _Known
from convbench.store.journal import read_records
from convbench.store.records import journals_at
from convbench.store.schema import REQUIRED, TABLES, Kind

Fields = Mapping[str, Kind]
Read = Callable[[Sequence[Path], Fields], Iterator[Block]]


def block(fields: Fields, values: Callable[[str], Any]) -> Block:
    """A block as `load()` makes a frame of, out of columns of plain values, None where there is none."""
    made: Block = {}
    for name, kind in fields.items():
        column = values(name)
        if kind in (Kind.TEXT, Kind.TABLE):
            made[name] = _objects(column)
        elif kind is Kind.DEFERRED:
            made[name] = _objects([v.encode() if isinstance(v, str) else v or b"" for v in column])
        else:
            made[name] = column if isinstance(column, np.ndarray) else _objects(column)
    return made


def by_read_records(journals: Sequence[Path], fields: Fields) -> Iterator[Block]:
    for journal in journals:
        rows = [row | {name: row.get(name) or None for name in TABLES} for row in read_records(journal)]
        columns = {name: [_as_decoded(row.get(name), kind) for row in rows] for name, kind in fields.items()}
        yield block(fields, columns.__getitem__)


def by_duckdb(journals: Sequence[Path], fields: Fields) -> Iterator[Block]:
    import duckdb

    every = {**dict.fromkeys(REQUIRED, Kind.TEXT), **fields}
    name_of = {name: '"' + name.replace('"', '""') + '"' for name in every}
    types = {name: "VARCHAR" if kind is Kind.TEXT and name not in REQUIRED else "JSON" for name, kind in every.items()}
    declared = ", ".join(f"{name_of[name]}: '{type_}'" for name, type_ in types.items())
    good = {  # what it would take for one silently
        Kind.TABLE: "left({}, 1) = '{{'", Kind.COUNT: "regexp_full_match({}, '-?[0-9]{{1,18}}')",
        Kind.NUMBER: "left({}, 1) IN ('-','0','1','2','3','4','5','6','7','8','9')",
    }  # fmt: skip
    kinds = {name: Kind.TABLE if name in TABLES else kind for name, kind in every.items()}
    checks = [f"coalesce({good[kind]}, true)".format(name_of[name]) for name, kind in kinds.items() if kind in good]
    checks += [f"coalesce(left({name_of[name]}, 1) = '\"', false)" for name in REQUIRED]
    cast = {Kind.COUNT: "TRY_CAST({} AS BIGINT)", Kind.NUMBER: "TRY_CAST({} AS DOUBLE)"}
    shown = [
        ("json_extract_string({}, '$')" if name in REQUIRED else cast.get(kind, "CAST({} AS VARCHAR)")).format(at)
        for (name, kind), at in zip(fields.items(), map(name_of.__getitem__, fields), strict=True)
    ]
    query = f"SELECT {', '.join([*shown, ' AND '.join(checks)])} FROM read_ndjson($1, columns={{{declared}}})"
    with duckdb.connect() as connection, pd.option_context("mode.string_storage", "python"):
        connection.execute("SET enable_progress_bar = false")  # which goes to standard output
        answer = connection.execute(query, [[str(journal) for journal in journals]])
        while len(chunk := answer.fetch_df_chunk(20)):
            *columns, is_good = (chunk.iloc[:, number] for number in range(chunk.shape[1]))
            if not is_good.all():
                raise ValueError("a line that is none of a record, or an odd one")
            found = {n: _of_duckdb(c, k) for c, (n, k) in zip(columns, fields.items(), strict=True)}
            yield block(fields, found.__getitem__)


def _of_duckdb(column: Any, kind: Kind) -> Any:
    if kind in (Kind.COUNT, Kind.NUMBER):
        return column.to_numpy(np.int64 if kind is Kind.COUNT and not column.isna().any() else np.float64)
    values = column.astype(object).where(column.notna(), None).tolist()
    return [json.loads(value or "null") for value in values] if kind is Kind.ANY else values


def by_polars(journals: Sequence[Path], fields: Fields) -> Iterator[Block]:
    import polars

    types = {Kind.COUNT: polars.Int64, Kind.NUMBER: polars.Float64}
    every = {**dict.fromkeys(REQUIRED, Kind.TEXT), **fields}
    schema = {name: types.get(kind, polars.String) for name, kind in every.items()}
    for journal in journals:  # one at a time, since a table is whole in memory
        table = polars.read_ndjson(journal, schema=schema)
        tables = [name for name, kind in fields.items() if name in TABLES or kind is Kind.TABLE]
        if any(table[n].has_nulls() for n in REQUIRED) or not all(table[n].str.starts_with("{").all() for n in tables):
            raise ValueError("a line that is none of a record")
        yield block(fields, lambda name, table=table: _of_polars(table[name], fields[name]))


def _of_polars(column: Any, kind: Kind) -> Any:
    if kind is Kind.ANY:  # it takes the quotes of texts away
        return [json.loads(v) if v and (v in ("true", "false") or v[0] in "[{-0123456789") else v for v in column]
    return column.to_numpy() if kind in (Kind.COUNT, Kind.NUMBER) else column.to_list()


def load_by(read: Read, path: Any, columns: Any = None) -> pd.DataFrame:
    """`convbench.load()` with another reader of journals."""
    known = _Known(journals_at(path))
    sources = {column: known.source(column) for column in (known.columns() if columns is None else columns)}
    fields = {field: known.kinds[field] for field, _ in sources.values()}
    blocks: list[Block] = []
    for torn, group in itertools.groupby(journals_at(path), _is_torn):
        together = list(group)
        for journals in [[journal] for journal in together] if torn else [together]:
            blocks += _read(read, journals, fields)
    return _frame(blocks, sources, fields)


def _is_torn(journal: Path) -> bool:
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - 1))
        return file.read() not in (b"", b"\n")


def _read(read: Read, journals: list[Path], fields: Fields) -> list[Block]:
    try:
        return list(read(journals, fields))
    except Exception:  # of either library; which journal it was they do not say
        if len(journals) == 1:
            return list(by_read_records(journals, fields))
        return [one for journal in journals for one in _read(read, [journal], fields)]


BY = {"duckdb": by_duckdb, "polars": by_polars, "read_records": by_read_records}
