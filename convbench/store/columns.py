"""Journals read as columns of selected fields: a million records in seconds.

msgspec decodes a line into just these fields. A value that many records share is kept once; a long value as the bytes
of its JSON. A line that msgspec refuses is read as `read_records` reads it, with the same warnings. A table that is not
selected is not checked.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from convbench.files.user_file import opened
from convbench.store.journal import BUFFER_BYTES, JOURNAL, Span, parse_line, seek_line, warn_of_line
from convbench.store.schema import REQUIRED, TABLES, Kind, Record

_ABSENT = (b"", b"null")


Block = dict[str, NDArray[Any]]
"""Some records as columns, in their order: numbers as float64 or int64, all else as objects. Tables and deferred fields
are bytes of JSON, empty if absent. A text or table that several records share is one object."""


def read_blocks(fields: Mapping[str, Kind], part: Sequence[Span]) -> Iterator[Block]:
    """The blocks of a part."""
    reader = BlockReader(fields)
    for span in part:
        yield from reader.read(span)


class BlockReader:
    """Reads journals into blocks of `fields`."""

    def __init__(self, fields: Mapping[str, Kind]) -> None:
        self._fields = {**fields, **dict.fromkeys(REQUIRED, Kind.TEXT)}
        self._row = _row_type(self._fields)
        is_refused = any(map(_REFUSED_NAME.search, self._fields))
        self._decode: Callable[[bytes], Any] = _refuse if is_refused else msgspec.json.Decoder(self._row).decode
        self._shared: dict[Any, Any] = {}

    def read(self, span: Span) -> Iterator[Block]:
        """The records of `span`, a block at a time. Raises `ResultsError` when the journal cannot be read."""
        path, start, stop = span
        with opened(path, JOURNAL, BUFFER_BYTES) as file:
            at = begin = seek_line(file, start)
            number = 1
            while at < stop and (lines := file.readlines(min(BUFFER_BYTES, stop - at))):
                yield self._block(lines) or self._columns(list(self._parsed(path, begin, number, lines)), plain=False)
                at += sum(map(len, lines))
                number += len(lines)

    def _block(self, lines: list[bytes]) -> Block | None:
        """The block of `lines`; None if msgspec refuses one of them."""
        try:
            if not all(map(bytes.isascii, lines)):
                b"".join(lines).decode()  # msgspec does not look into the texts that it skips
            return self._columns([self._decode(line) for line in lines], plain=True)
        except (ValueError, RecursionError):
            return None

    def _parsed(self, path: Path, begin: int, first: int, lines: list[bytes]) -> Iterator[Any]:
        """The rows of `lines`, of which the first is number `first` of those from byte `begin` on."""
        for number, line in enumerate(lines, first):
            if (record := parse_line(line)) is not None:
                yield self._as_row(record)
            elif line.strip():
                warn_of_line(path, begin, number, line)

    def _as_row(self, record: Record) -> Any:
        tables = {name: record.get(name) or None for name in TABLES}
        values = (_as_decoded((record | tables).get(name), kind) for name, kind in self._fields.items())
        return self._row(**{f"field_{number}": value for number, value in enumerate(values)})

    def _columns(self, rows: Sequence[Any], *, plain: bool) -> Block:
        """The columns of `rows`; if `plain`, of the types of their kinds. Raises `ValueError` for a table that is no
        object."""
        columns = zip(*map(msgspec.structs.astuple, rows), strict=True) if rows else ((),) * len(self._fields)
        return {
            name: self._column(name, kind, values, plain)
            for (name, kind), values in zip(self._fields.items(), columns, strict=True)
        }

    def _column(self, name: str, kind: Kind, values: Sequence[Any], plain: bool) -> NDArray[Any]:
        if kind is Kind.TEXT:
            return _objects([self._shared.setdefault(value, value) for value in values])
        if kind not in (Kind.TABLE, Kind.DEFERRED):
            return _numbers(values, kind) if plain else _objects(values)
        texts = list(map(bytes, values))
        is_table = kind is Kind.TABLE
        if (is_table or name in TABLES) and not all(text.startswith(b"{") or text in _ABSENT for text in texts):
            raise ValueError(name)
        # A short value, such as [] or null, is one object for all records that have it, too.
        longest = sys.maxsize if is_table else _SHORT_BYTES
        return _objects([self._shared.setdefault(text, text) if len(text) <= longest else text for text in texts])


_SHORT_BYTES = 4
_TYPES: Mapping[Kind, tuple[Any, Any]] = {
    Kind.TEXT: (str | None, None),
    Kind.NUMBER: (float | None, None),
    Kind.COUNT: (int | None, None),
    Kind.TABLE: (msgspec.Raw, msgspec.Raw()),
    Kind.DEFERRED: (msgspec.Raw, msgspec.Raw()),
    Kind.ANY: (Any, None),
}


_REFUSED_NAME = re.compile(r'["\\\x00-\x1f]')
"""Field names that msgspec does not decode. Journals with one are read line by line."""


def _row_type(fields: Mapping[str, Kind]) -> type[msgspec.Struct]:
    """The type of a decoded line. Members are `field_0` and so on, because a field may have any name."""
    members = {f"field_{number}": name for number, name in enumerate(fields)}
    types = [(member, str) if name in REQUIRED else (member, *_TYPES[fields[name]]) for member, name in members.items()]
    names = {member: name for member, name in members.items() if not _REFUSED_NAME.search(name)}
    return msgspec.defstruct("Row", types, rename=names, kw_only=True, gc=False)


def _refuse(line: bytes) -> Any:
    raise ValueError("a field name that msgspec does not decode")


def _numbers(values: Sequence[Any], kind: Kind) -> NDArray[Any]:
    """Numbers and None as the narrowest array that holds them; integers with a None among them become float64."""
    if kind is Kind.NUMBER:
        return np.array(values, dtype=np.float64)
    if kind is Kind.COUNT:
        try:
            return np.array(values, dtype=np.float64 if None in values else np.int64)
        except OverflowError:
            pass
    return _objects(values)


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _as_decoded(value: Any, kind: Kind) -> Any:
    """A value decoded by `json`, as msgspec would have decoded it for a field of `kind`, as far as possible."""
    if kind is Kind.TEXT:
        return value if value is None or isinstance(value, str) else json.dumps(value)
    if kind is Kind.TABLE:
        return json.dumps(value).encode() if isinstance(value, dict) else b""
    if kind is Kind.DEFERRED:
        return b"" if value is None else json.dumps(value).encode()
    return value
