"""What to verify, as it was typed, and under the names that logs have it by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from convbench.problem import Direction, Dtype, Epilogue
from convbench.runner.selection import directions_named, dtypes_named, epilogues_named

_NOT_PART_OF_THE_QUESTIONS = ("resume", "results", "jobs", "accept_known", "write_known")
_STORED_AS = {"search_time": "time_limit", "time_limit": "question_limit"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to verify: the options of the command, as given."""

    backends: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    case_glob: str | None = None
    where: str | None = None
    direction: str | None = None
    """Those of the sweep, the search and the suites' cases; None for forward, and for those of the suites."""
    epilogue: str | None = None
    """The same of epilogues; None for none, and for those of the suites."""
    dtype: str | None = None
    """Those of the sweep, the search and the suites' cases; None for all but int8, and for the suites' own."""
    exact: bool = False
    questions: tuple[str, ...] = ()
    strength: int = 3
    search_time: float = 60.0
    time_limit: float = 40.0
    threads: int = 1
    isa: str | None = None
    """The widest instruction set that libraries may use; None for all that the CPU has."""
    jobs: int | None = None
    seed: int = 0
    resume: bool = False
    known: tuple[Path, ...] = ()
    accept_known: bool = False
    write_known: Path | None = None
    plugins: tuple[Path, ...] = ()
    pythons: tuple[str, ...] = ()
    results: Path | None = None

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Those that were given, perhaps none. Raises `SuiteError` for an unknown word."""
        return directions_named(self.direction)

    @property
    def epilogues(self) -> tuple[Epilogue | None, ...]:
        """Those that were given, perhaps none. Raises `ProblemError` for what is no epilogue."""
        return epilogues_named(self.epilogue)

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """Those that were given, perhaps none. Raises `SuiteError` for an unknown word."""
        return tuple(dtypes_named(self.dtype))

    @property
    def is_whole(self) -> bool:
        """Whether everything is asked, rather than certain suites or questions."""
        return not self.suites and not self.questions

    def identity(self) -> dict[str, Any]:
        """What has to be equal for one request to continue another, under the names that logs have it by. What came
        later than the first logs is left out where it was not given."""
        later = ("known", "pythons", "direction", "epilogue", "dtype", "isa")
        since = {name for name in later if not getattr(self, name)}
        named = {_STORED_AS.get(name, name): value for name, value in self.as_json().items() if name not in since}
        return {name: value for name, value in named.items() if name not in _NOT_PART_OF_THE_QUESTIONS}

    def as_was_meant_before(self) -> Request:
        """The request that these words were, before `--time-limit` was the limit of one question."""
        return replace(self, search_time=self.time_limit, time_limit=Request.time_limit)

    def as_json(self) -> dict[str, Any]:
        """All fields, paths as texts."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return fields


def with_older_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Request` from options that may be given as they were before `--time-limit` meant the same in all
    commands: `--question-limit` was its name, and `--time-limit 0` left out the search."""
    fields = dict(values)
    older = fields.pop("question_limit", None)
    if fields["time_limit"] == 0:
        fields |= {"search_time": 0.0, "time_limit": None}
    limit = older if fields["time_limit"] is None else fields["time_limit"]
    return fields | {"time_limit": Request.time_limit if limit is None else limit}
