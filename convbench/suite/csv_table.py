"""The CSV table of a suite: one real layer in each row, in the words of a case id.

The columns are the arguments of `ConvProblem`, or `problem` (a case id) in place of all of them, and `model`, `layer`,
`count` and `models` (the number of models that have it). A cell is an integer, a pair `3x5` (height x width), a word,
or, for the padding, also `t0b1l0r1`. An empty cell means the default. Model and layer together name the layer.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from convbench.errors import SuiteError, did_you_mean
from convbench.files.user_file import read_text
from convbench.problem.case_id import parse_sizes
from convbench.suite.file_kinds import TABLE

_INT = "-?[0-9]{1,18}"
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def read_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place and the values by column of each row. Raises `SuiteError` for a table of another form."""
    rows = csv.DictReader(io.StringIO(read_text(path, TABLE), newline=""))
    try:
        names = list(rows.fieldnames or ())
        if len(set(names)) < len(names):
            raise SuiteError(f"{path}: two columns have one name in {', '.join(names)}; take one out.")
        check_names(path, "column", names, columns)
        for row in rows:
            where = f"{path.name} line {rows.line_num}"
            if None in row or None in row.values():
                raise SuiteError(f"{path}: line {rows.line_num} should have {len(row)} cells, as the first line.")
            yield where, _values(row)
    except csv.Error as error:
        raise SuiteError(f"{path}: this cannot be read as a CSV table: {error}.") from None


def check_names(place: str | Path, kind: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    """Raise `SuiteError` for a name, of a column or a key, that is not known."""
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise SuiteError(f"{place}: there is no {kind} {name!r}.{hint} The {kind}s are {', '.join(known)}.")


def _values(row: dict[str, str]) -> dict[str, Any]:
    values = {name: _cell(name, text.strip()) for name, text in row.items() if text.strip()}
    model = values.pop("model", "")
    layer = f"{model} {values.get('layer', '')}".strip()
    return values | ({"layer": layer} if layer else {})


def _cell(column: str, text: str) -> Any:
    if column in ("model", "layer", "problem"):
        return text
    if column == "bias":
        return _TRUTHS.get(text.lower(), text)
    if re.fullmatch(_INT, text):
        return int(text)
    return parse_sizes(text) if re.fullmatch(f"{_INT}x{_INT}|t{_INT}b{_INT}l{_INT}r{_INT}", text) else text
