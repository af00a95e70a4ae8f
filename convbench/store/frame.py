"""`convbench.load()`: journals as a pandas frame."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from convbench.errors import ResultsError, did_you_mean
from convbench.files.user_file import opened
from convbench.problem import ConvProblem
from convbench.store.columns import Block, read_blocks
from convbench.store.journal import JOURNAL, parse_line
from convbench.store.parallel_read import read_parts
from convbench.store.records import Place, journals_at
from convbench.store.schema import FIELDS, MACHINE_KEPT, ON_REQUEST, SAMPLES, SETTINGS_KEPT, TABLES, Kind

if TYPE_CHECKING:
    import pandas as pd

Source = tuple[str, str | None]
"""Where a column is in a record: a field, and its member where the field is a table."""


def load(path: Place | Iterable[Place] | None = None, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Records as a frame, one row each, the newest last; `path` as for `records`.

    Scalars are columns under their own names, and so are what one groups by of the problem, settings and machine
    (`in_channels`, `kernel_size`, ..., `allocator`, `machine`, `cpu`). Raw samples are in `wall_s`, `cpu_s`,
    `system_s`, `minor_faults`, `calls`, `round`, `load`, a list each, one element per sample; seconds are per call.

    With `columns`, these alone and in this order, which is faster; `verdicts`, `self_ratio`, `twin` and any member of
    the settings and the machine may be among them. Raises `ResultsError` when there is no such place or column.
    """
    journals = journals_at(path)
    known = _Known(journals)
    sources = {column: known.source(column) for column in (known.columns() if columns is None else columns)}
    fields = {field: known.kinds[field] for field, _ in sources.values()}
    parts = read_parts(journals, functools.partial(read_blocks, fields))
    return _frame(list(itertools.chain.from_iterable(parts)), sources, fields)


class _Known:
    """The columns that there are: those of every record, and what the first of each journal has besides."""

    def __init__(self, journals: Sequence[Path]) -> None:
        self.kinds: dict[str, Kind] = dict(FIELDS)
        self._members: dict[str, list[str]] = {
            "problem": list(ConvProblem.__dataclass_fields__),
            "settings": list(SETTINGS_KEPT),
            "machine": list(MACHINE_KEPT),
            "samples": list(SAMPLES),
        }
        self._kept = {field: len(members) for field, members in self._members.items()}
        for record in map(_first, journals):
            self.kinds |= {name: Kind.ANY for name in record if name not in self.kinds}
            for table, members in self._members.items():
                members += [name for name in record.get(table) or () if name not in members]

    def columns(self) -> list[str]:
        columns = {name: None for name in self.kinds if name not in (*TABLES, *ON_REQUEST)}
        for table, members in self._members.items():
            whole = table in ("problem", "samples")
            columns |= dict.fromkeys(members if whole else members[: self._kept[table]])
        return list(columns)

    def source(self, column: str) -> Source:
        """Where `column` is. Raises `ResultsError` where it is nowhere."""
        if column in self.kinds and column not in TABLES:
            return column, None
        for table, members in self._members.items():
            if column in members:
                return table, column
        if column in TABLES:
            return column, None
        names = [*self.kinds, *(name for members in self._members.values() for name in members)]
        raise ResultsError(f"no record has a column {column!r}.{did_you_mean(column, names)}")


def _first(journal: Path) -> dict[str, Any]:
    with opened(journal, JOURNAL) as file:
        return cast("dict[str, Any]", parse_line(file.readline()) or {})


def _frame(blocks: Sequence[Block], sources: Mapping[str, Source], fields: Mapping[str, Kind]) -> pd.DataFrame:
    import pandas as pd

    joined = {field: np.concatenate([block[field] for block in blocks]) for field in fields if blocks}
    if not any(map(len, joined.values())):
        return pd.DataFrame(columns=list(sources))
    return pd.DataFrame(
        {column: _column(fields[field], joined[field], member) for column, (field, member) in sources.items()},
        copy=False,
    )


def _column(kind: Kind, array: NDArray[Any], member: str | None) -> Any:
    from convbench.store.lazy_json import LazyJson

    if kind is Kind.DEFERRED:
        return LazyJson(array, member)
    if kind not in (Kind.TEXT, Kind.TABLE):
        return _in_a_frame(_series(array.tolist())) if array.dtype == object else array
    # Types are found by looking at the distinct values alone.
    cells = array.tolist()
    distinct = list(dict.fromkeys(cells))
    numbers = {value: number for number, value in enumerate(distinct)}
    if kind is Kind.TABLE:
        tables = [json.loads(value) if value else None for value in distinct]
        distinct = tables if member is None else [_hashable((table or {}).get(member)) for table in tables]
    return _in_a_frame(_series(distinct).take([numbers[cell] for cell in cells]))


def _in_a_frame(series: pd.Series[Any]) -> Any:
    """The values of a column; objects as a series, whose type a frame does not find out anew."""
    import pandas as pd

    return pd.Series(series.array, dtype=object) if series.dtype == object else series.array


def _series(values: list[Any]) -> pd.Series[Any]:
    """The values, of a type that pandas finds. Texts are objects even where Arrow is installed, which would copy each
    as often as it is there, and cannot hold half a surrogate."""
    import pandas as pd

    are_texts = pd.api.types.infer_dtype(values, skipna=True) == "string"
    series: pd.Series[Any] = pd.Series(values, dtype=_texts()) if are_texts else pd.Series(values)
    return series


@functools.cache
def _texts() -> Any:
    """pandas' type of texts; before pandas 3 that of objects."""
    import pandas as pd

    return pd.StringDtype("python", na_value=np.nan) if pd.Series(["text"]).dtype != object else object


def _hashable(value: Any) -> Any:
    """Lists as tuples, to group by."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
