"""`Suite`: problems under one name, each with how often a model uses it and, for some, its own data.

A suite is a TOML file (`convbench.suite_file` says what may stand in it): one that comes with convbench, found by its
name, or any other, found by its path.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from convbench.case_data import CaseData
from convbench.errors import SuiteError, did_you_mean
from convbench.problem import ConvProblem, Dtype


@dataclass(frozen=True)
class Case:
    """One problem of a suite. The model has it `count` times, first at `layer`; `name` is by default the case id.

    In a suite of many models it is in `models` of them, `count` times in all.
    """

    problem: ConvProblem
    name: str = ""
    count: int = 1
    layer: str | None = None
    data: CaseData | None = None
    models: int = 1

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.problem.case_id)

    def _of_batch(self, batch: int) -> Case:
        """The same with another batch, under its case id; itself where that is its batch already."""
        if batch == self.problem.batch:
            return self
        problem = self.problem.replace(batch=batch)
        return replace(self, problem=problem, name=problem.case_id)


@dataclass(frozen=True)
class Suite:
    """Cases under one name. No two share a name; two share a problem only if they bring their own data."""

    name: str
    summary: str
    tags: tuple[str, ...]
    cases: tuple[Case, ...]
    path: Path

    def with_dtype(self, dtype: Dtype) -> Suite:
        """The same cases computed in `dtype`; those that so become the same problem are there once.

        Names given in the file stay, names that are case ids follow. Raises `ProblemError` for an unknown dtype.
        """
        cases: dict[str, Case] = {}
        for case in self.cases:
            problem = case.problem.replace(dtype=dtype)
            named = case.name != case.problem.case_id
            changed = replace(case, problem=problem, name=case.name if named else problem.case_id)
            cases.setdefault(changed.name if case.data else problem.case_id, changed)
        return replace(self, cases=tuple(cases.values()))

    def over(self, dtypes: Sequence[Dtype] = (), batches: Sequence[int] = ()) -> Suite:
        """The same cases in each of `dtypes` and each of `batches`, in their own where none is given.

        A case of another batch than in the file goes by its case id, and with several dtypes so does one of another
        dtype, so that each has a name of its own. Those that bring data of their own keep their batch, and add the
        dtype to their name. Raises `ProblemError` for what cannot be.
        """
        in_file = {case.name: case.problem.dtype for case in self.cases}
        cases: dict[str, Case] = {}
        for dtype in dtypes or (None,):
            for batch in batches or (None,):
                for own in self.cases if dtype is None else self.with_dtype(dtype).cases:
                    case = own if batch is None or own.data else own._of_batch(batch)
                    if len(dtypes) > 1 and in_file.get(case.name, case.problem.dtype) != case.problem.dtype:
                        case = replace(case, name=f"{case.name}_{dtype}" if case.data else case.problem.case_id)
                    cases.setdefault(case.name, case)
        return replace(self, cases=tuple(cases.values()))

    def select(self, glob: str) -> Suite:
        """The cases whose name or case id matches `glob` (`*`, `?`, `[...]`); there may be none."""
        chosen = (c for c in self.cases if fnmatchcase(c.name, glob) or fnmatchcase(c.problem.case_id, glob))
        return replace(self, cases=tuple(chosen))

    def where(self, condition: str) -> Suite:
        """The cases for which `condition` holds, such as 'groups > 1 and height >= 56'; there may be none.

        Raises `SuiteError` when it is no condition (`convbench.suite_filter` says what is one).
        """
        from convbench.suite_filter import parse

        return replace(self, cases=tuple(filter(parse(condition), self.cases)))


@dataclass(frozen=True)
class Outline:
    """What can be told of a suite without reading a large table: how many cases, and their multiply-accumulates."""

    name: str
    summary: str
    tags: tuple[str, ...]
    cases: int
    macs: int
    path: Path


def load_suite(name_or_path: str | os.PathLike[str]) -> Suite:
    """The suite of that name, or the one in that file where it ends in `.toml` or has a path separator.

    Raises `SuiteError` when there is none, or it is not well formed.
    """
    from convbench.suite_file import read_suite

    text = os.fspath(name_or_path)
    if text.endswith(".toml") or os.sep in text or "/" in text:
        return read_suite(Path(text))
    files = {path.stem: path for path in _builtin_files()}
    if text not in files:
        raise SuiteError(
            f"there is no suite {text!r}.{did_you_mean(text, files)} The suites are {', '.join(files)}; "
            "for a file of your own give its path, such as ./mine.toml."
        )
    return read_suite(files[text])


def builtin_suites() -> list[Suite]:
    """The suites that come with convbench, by name. A broken one raises `SuiteError`."""
    from convbench.suite_file import read_suite

    return sorted((read_suite(path) for path in _builtin_files()), key=lambda suite: suite.name)


def builtin_outlines() -> list[Outline]:
    """The same in outline, at once also where a suite has thousands of cases."""
    from convbench.suite_file import read_outline

    return sorted((read_outline(path) for path in _builtin_files()), key=lambda outline: outline.name)


def _builtin_files() -> list[Path]:
    # By import, since the package stands in one place in a checkout and in another when installed.
    package = importlib.import_module("convbench.suites")
    return sorted(path for folder in package.__path__ for path in Path(folder).glob("*.toml"))
