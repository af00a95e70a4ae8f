"""A column of a data frame that is kept as the bytes of its JSON and decoded where it is looked at.

Raw samples are most of a journal: decoding a million records' takes longer and more memory than all else of them.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray, ExtensionDtype, take

_NOTHING = (b"", b"null")


class LazyJsonDtype(ExtensionDtype):
    name = "deferred"
    type: ClassVar[builtins.type[Any]] = object
    kind = "O"
    na_value = np.nan

    @classmethod
    def construct_array_type(cls) -> builtins.type[LazyJson]:
        return LazyJson


class LazyJson(ExtensionArray):
    """Cells of decoded JSON, of each `[key]` where there is a key; NaN where there is nothing.

    `kept` is an array of objects, the bytes of a cell's JSON or empty ones; columns of several keys share it. A cell is
    a new value each time it is looked at, so that changing one changes nothing here.
    """

    def __init__(self, kept: NDArray[Any], key: str | None = None) -> None:
        self._kept = kept
        self._key = key

    @property
    def dtype(self) -> LazyJsonDtype:
        return LazyJsonDtype()

    @property
    def nbytes(self) -> int:
        return int(self._kept.nbytes) + sum(map(len, self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, (int, np.integer)):
            return self._cell(self._kept[item])
        return type(self)(self._kept[item], self._key)

    def __setitem__(self, item: Any, value: Any) -> None:
        """Cells can be emptied or taken over from another such column, which is what pandas does in `where`."""
        if isinstance(value, LazyJson) and value._key == self._key:
            cells: Any = value._kept
        elif value is None or value is self.dtype.na_value or value != value:
            cells = b""
        else:
            raise TypeError("deferred cells are not written; assign a new column of objects instead")
        self._kept = self._kept.copy()  # other columns share it
        self._kept[item] = cells

    def __iter__(self) -> Iterator[Any]:
        return map(self._cell, self._kept)

    def isna(self) -> NDArray[np.bool_]:
        """Cells with nothing in the journal; one that lacks the key alone is NaN, too, when it is looked at."""
        empty = (*_NOTHING, b"{}") if self._key is not None else _NOTHING
        return np.fromiter((kept in empty for kept in self._kept), dtype=bool, count=len(self))

    def _cell(self, kept: bytes) -> Any:
        if kept in _NOTHING:
            return np.nan
        try:
            value = msgspec.json.decode(kept)
        except (ValueError, RecursionError):
            value = json.loads(kept)
        return value if self._key is None else value.get(self._key, np.nan)

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> Self:
        kept: Any = take(self._kept, np.asarray(indices), allow_fill=allow_fill, fill_value=b"")
        return type(self)(kept, self._key)

    def copy(self) -> Self:
        return type(self)(self._kept.copy(), self._key)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[Self]) -> Self:
        keys = {array._key for array in to_concat}
        if len(keys) == 1:
            return cls(np.concatenate([array._kept for array in to_concat]), keys.pop())
        return cls._from_sequence([cell for array in to_concat for cell in array])

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> Self:
        """From decoded cells. Raises `TypeError` for others, such as what pandas computed of cells and tries here."""
        kept = np.empty(len(scalars), dtype=object)
        for number, scalar in enumerate(scalars):
            if not isinstance(scalar, (list, dict)) and scalar is not None and scalar == scalar:
                raise TypeError(f"a deferred cell is a list, a dict or nothing, and not {scalar!r}")
            kept[number] = json.dumps(scalar).encode() if isinstance(scalar, (list, dict)) else b""
        return cls(kept)

    def __eq__(self, other: object) -> Any:
        cells = list(other) if isinstance(other, LazyJson) else [other] * len(self)
        return np.array([cell == theirs for cell, theirs in zip(self, cells, strict=True)], dtype=bool)

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = np.nan) -> NDArray[Any]:
        cells = np.empty(len(self), dtype=object)
        cells[:] = list(self)
        return cells

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.to_numpy()

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        if isinstance(dtype, LazyJsonDtype):
            return self.copy() if copy else self
        return self.to_numpy() if dtype in (object, "object") else super().astype(dtype, copy)

    def _explode(self) -> tuple[Any, NDArray[np.uint64]]:
        import pandas as pd

        exploded = pd.Series(self.to_numpy(), dtype=object).explode()
        counts = np.bincount(exploded.index.to_numpy(), minlength=len(self))
        return exploded.to_numpy(), counts.astype(np.uint64)

    def __arrow_array__(self, type: Any = None) -> Any:  # noqa: A002, since Arrow calls it so
        import pyarrow

        return pyarrow.array([None if isinstance(cell, float) else cell for cell in self], type=type)

    def _formatter(self, boxed: bool = False) -> Any:
        return str
