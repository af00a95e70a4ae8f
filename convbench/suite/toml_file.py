"""The TOML file of a suite, read into a `Suite`. Every mistake is a `SuiteError` that names the file and the place.

name = "mine"
summary = "A sentence a person reads."
tags = ["layers"]                    # optional
table = "layers.csv"                 # optional: see `convbench.suite.csv_table`
totals = { cases = 52, macs = 299494272 }   # optional: lists the suite without reading a large table

[defaults]                           # arguments of `ConvProblem` that every case below starts from
kernel_size = 3

[sweep]                              # the cartesian product of the lists
height = [7, 14]
width = "height"                     # equals another argument (also in [defaults] and [[case]])
padding = [0, 1, [0, 1], [[0, 1], [1, 0]]]   # in a sweep the elements of a list are the values

[[case]]                             # one problem; also `name`, `count`, `models` and `layer`
in_channels = 3
[case.data]                          # `input` or `input_image`, `weight`, `bias`, `expected`
"""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from convbench.errors import ProblemError, SuiteError, did_you_mean
from convbench.files.user_file import FileKind, check_regular, read_text, real_path
from convbench.problem import ConvProblem
from convbench.suite.cases import Case, CaseData, Nested, Outline, Suite
from convbench.suite.csv_table import check_names, read_table
from convbench.suite.file_kinds import IMAGE, SUITE, TABLE

MOST_CASES = 100_000
ARGUMENTS = tuple(field.name for field in fields(ConvProblem))

_TOP = ("name", "summary", "tags", "table", "totals", "defaults", "sweep", "case")
_CASE = (*ARGUMENTS, "name", "count", "models", "layer", "data")
_COLUMNS = (*ARGUMENTS, "problem", "count", "models", "model", "layer")
_TOTALS = ("cases", "macs")
_DATA = ("input", "input_image", "weight", "bias", "expected")
_NEEDED = ("in_channels", "height", "width", "out_channels", "kernel_size")
_WORDY = ("padding", "padding_mode", "dtype", "direction", "epilogue")  # arguments whose value may be a word


def read_suite(path: Path) -> Suite:
    """The suite in the file `path`. Raises `SuiteError`."""
    toml = _read_toml(path)
    name, summary, tags = _head(path, toml)
    cases = _distinct(path, _cases(path, toml))
    if not cases:
        raise SuiteError(f"{path}: there are no cases; it should have a [sweep], a [[case]] or a table.")
    suite = Suite(name, summary, tags, cases, path)
    declared, actual = _declared_totals(path, toml), _totals(suite)
    if declared is not None and declared != actual:
        right, wrong = (f"{{ cases = {cases}, macs = {macs} }}" for cases, macs in (actual, declared))
        raise SuiteError(f"{path}: totals should be {right}, and are {wrong}.")
    return suite


def read_outline(path: Path) -> Outline:
    """The outline of the suite in the file `path`, from its `totals` if it has them. Raises `SuiteError`."""
    toml = _read_toml(path)
    return Outline(*_head(path, toml), *(_declared_totals(path, toml) or _totals(read_suite(path))), path)


def _totals(suite: Suite) -> tuple[int, int]:
    return len(suite.cases), sum(case.problem.macs * case.count for case in suite.cases)


def _declared_totals(path: Path, toml: dict[str, Any]) -> tuple[int, int] | None:
    if "totals" not in toml:
        return None
    totals = _table(path, toml, "totals")
    check_names(f"{path}: [totals]", "key", totals, _TOTALS)
    for key in _TOTALS:
        if type(totals.get(key)) is not int or totals[key] < 1:
            raise SuiteError(f"{path}: [totals]: {key} is {totals.get(key)!r}; it should be an integer of at least 1.")
    return totals["cases"], totals["macs"]


def _head(path: Path, toml: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """Name, summary and tags."""
    check_names(path, "key", toml, _TOP)
    for key in ("name", "summary"):
        if not isinstance(toml.get(key), str) or not toml[key].strip():
            raise SuiteError(f'{path}: {key} is {toml.get(key)!r}; it should be a text, as in {key} = "...".')
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", toml["name"]):
        raise SuiteError(f"{path}: name is {toml['name']!r}; it should be letters, digits, '.', '_' and '-'.")
    tags = toml.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise SuiteError(f'{path}: tags is {tags!r}; it should be a list of texts, as in tags = ["layers"].')
    return toml["name"], toml["summary"], tuple(tags)


def _read_toml(path: Path) -> dict[str, Any]:
    text = read_text(path, SUITE)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers too long for int()
        fault = str(error).replace("end of document", f"the end, line {text.count(chr(10)) + 1}")
        raise SuiteError(f"{path}: this is not TOML: {fault}.") from None


def _cases(path: Path, toml: dict[str, Any]) -> Iterator[tuple[str, Case]]:
    """The place and the case of everything in the file, in this order: the sweep, the table, the cases."""
    defaults = _table(path, toml, "defaults")
    check_names(f"{path}: [defaults]", "key", defaults, ARGUMENTS)
    if "sweep" in toml:
        yield from _sweep(path, defaults, _table(path, toml, "sweep"))
    if "table" in toml:
        for where, row in read_table(_inside(path, "table", toml["table"], TABLE), _COLUMNS):
            yield where, _case(path, where, defaults, row)
    cases = toml.get("case", [])
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise SuiteError(f"{path}: case should be written [[case]], once for each.")
    for number, case in enumerate(cases, 1):
        where = f"case {number}"
        check_names(f"{path}: {where}", "key", case, _CASE)
        yield where, _case(path, where, defaults, case)


def _sweep(path: Path, defaults: dict[str, Any], sweep: dict[str, Any]) -> Iterator[tuple[str, Case]]:
    check_names(f"{path}: [sweep]", "key", sweep, ARGUMENTS)
    values = {key: value if isinstance(value, list) else [value] for key, value in sweep.items()}
    if not all(values.values()):
        empty = next(key for key, value in values.items() if not value)
        raise SuiteError(f"{path}: [sweep]: {empty} is an empty list; it should have a value at least.")
    total = math.prod(map(len, values.values()))
    if total > MOST_CASES:
        raise SuiteError(f"{path}: [sweep] has {total} cases; {MOST_CASES} is the most. Take values out.")
    for combination in itertools.product(*values.values()):
        arguments = dict(zip(values, combination, strict=True))
        where = "sweep " + ", ".join(f"{key}={value}" for key, value in arguments.items())
        yield where, _case(path, where, defaults, arguments)


def _case(path: Path, where: str, defaults: dict[str, Any], entries: dict[str, Any]) -> Case:
    place = f"{path}: {where}"
    own = {key: value for key, value in entries.items() if key not in ARGUMENTS}
    arguments = {key: value for key, value in entries.items() if key in ARGUMENTS}
    problem = _problem(place, own.get("problem"), defaults | arguments)
    count, models, layer, name = own.get("count", 1), own.get("models", 1), own.get("layer"), own.get("name", "")
    for key, number in (("count", count), ("models", models)):
        if type(number) is not int or number < 1:
            raise SuiteError(f"{place}: {key} is {number!r}; it should be an integer of at least 1.")
    if not isinstance(layer, str | None):
        raise SuiteError(f"{place}: layer is {layer!r}; it should be a text.")
    if not isinstance(name, str) or ("name" in own and not name.strip()):
        raise SuiteError(f"{place}: name is {name!r}; it should be a text that is not empty.")
    data = _data(path, where, problem, own["data"]) if "data" in own else None
    return Case(problem, name, count, layer, data, models)


def _problem(place: str, case_id: str | None, arguments: dict[str, Any]) -> ConvProblem:
    """The problem of these arguments, or the one that a cell of a table names by its case id."""
    if case_id is not None and arguments:
        raise SuiteError(f"{place}: problem and {', '.join(arguments)} are given; it should be one or the other.")
    if case_id is None and (lacking := [name for name in _NEEDED if name not in arguments]):
        raise SuiteError(f"{place}: {', '.join(lacking)} should be given, here or in [defaults].")
    try:
        return ConvProblem(**_followed(place, arguments)) if case_id is None else ConvProblem.from_case_id(case_id)
    except ProblemError as error:
        raise SuiteError(f"{place}: {error}") from None


def _followed(place: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with every value that names another argument replaced by the value of that argument."""
    values = dict(arguments)
    for key, value in arguments.items():
        if not isinstance(value, str) or (key in _WORDY and value not in ARGUMENTS):
            continue
        if value not in ARGUMENTS:
            raise SuiteError(
                f"{place}: {key} follows {value!r}, which is no argument.{did_you_mean(value, ARGUMENTS)} "
                "It should be a number, or the name of the argument it is equal to."
            )
        if value not in arguments or isinstance(arguments[value], str):
            raise SuiteError(f"{place}: {key} follows {value!r}, which has no value of its own; give it one.")
        values[key] = arguments[value]
    return values


def _data(path: Path, where: str, problem: ConvProblem, data: Any) -> CaseData:
    place = f"{path}: {where}: data"
    if not isinstance(data, dict):
        raise SuiteError(f"{place} is {data!r}; it should be a table, written [case.data].")
    check_names(place, "key", data, _DATA)
    if "input" in data and "input_image" in data:
        raise SuiteError(f"{place} has input and input_image; it should have one of them.")
    if "bias" in data and not problem.bias:
        raise SuiteError(f"{place} has a bias and the problem none; write bias = true in the case.")
    values: dict[str, Any] = {
        key: _numbers(f"{place}: {key}", value) for key, value in data.items() if key != "input_image"
    }
    if "input_image" in data:
        values["input_image"] = _inside(path, f"{where}: input_image", data["input_image"], IMAGE)
    return CaseData(where=place, **values)


def _numbers(place: str, value: Any) -> Nested:
    """Nested lists as nested tuples, which can be compared and hashed."""
    if isinstance(value, list):
        return tuple(_numbers(place, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SuiteError(f"{place} holds {value!r}; it should be numbers, in nested lists.")
    return value


def _inside(path: Path, key: str, relative: Any, kind: FileKind) -> Path:
    """The file of that kind beside the suite's that `relative` names. Nothing else can be read,
    because a suite may be anyone's."""
    if not isinstance(relative, str) or not relative.strip() or "\0" in relative:
        raise SuiteError(f"{path}: {key} is {relative!r}; it should be the name of a file beside the suite's.")
    folder = real_path(path).parent
    file = real_path(folder / relative)
    if Path(relative).is_absolute() or not file.is_relative_to(folder):
        raise SuiteError(f"{path}: {key} is {relative!r}; it should be inside the suite's own folder, {folder}.")
    try:
        return check_regular(file, kind)
    except SuiteError as error:
        raise SuiteError(f"{path}: {key} is {relative!r}; {error}") from None


def _table(path: Path, toml: dict[str, Any], key: str) -> dict[str, Any]:
    table = toml.get(key, {})
    if not isinstance(table, dict):
        raise SuiteError(f"{path}: {key} is {table!r}; it should be a table, written [{key}].")
    return table


def _distinct(path: Path, cases: Iterable[tuple[str, Case]]) -> tuple[Case, ...]:
    kept: list[Case] = []
    names: dict[str, str] = {}
    problems: dict[str, str] = {}
    for where, case in cases:
        if case.name in names:
            raise SuiteError(
                f"{path}: {names[case.name]} and {where} are both {case.name!r}; "
                "take one out, or where one brings its own data give it a name."
            )
        names[case.name] = where
        if case.data is None:
            if (key := case.problem.case_id) in problems:
                raise SuiteError(f"{path}: {problems[key]} and {where} are both the problem {key}; take one out.")
            problems[key] = where
        kept.append(case)
        if len(kept) > MOST_CASES:
            raise SuiteError(f"{path}: there are more than {MOST_CASES} cases, which is the most.")
    return tuple(kept)
