"""What a bisection is asked: the options of `convbench bisect`, and what of them stands in its log."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convbench.runner import run
from convbench.verification.question import Question

_NOT_PART_OF_THE_SEARCH = ("environments", "discard", "resume", "results")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given. Either `question` or `case` is set."""

    library: str
    question: str | None = None
    case: str | None = None
    slower: float = 0.05
    faster: float | None = None
    """Search for a speed-up by this share, instead of a slow-down."""
    good: str | None = None
    bad: str | None = None
    versions: tuple[str, ...] = ()
    pre: bool = False
    commits: str | None = None
    others: tuple[str, ...] = ()
    backend: str | None = None
    threads: int = 1
    time_limit: float = 40.0
    quick: bool = False
    python: str | None = None
    environments: Path | None = None
    discard: bool = False
    resume: bool = False
    plugins: tuple[Path, ...] = ()
    results: Path | None = None

    def identity(self) -> dict[str, Any]:
        """What has to be equal for one request to continue another."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        if self.faster is None:
            del fields["faster"]  # logs from before there were searches for a speed-up are continued
        return {name: value for name, value in fields.items() if name not in _NOT_PART_OF_THE_SEARCH}

    def timing(self) -> run.Request:
        """The run that compares some members."""
        options = {name: getattr(self, name) for name in ("threads", "time_limit", "quick", "plugins", "results")}
        return run.Request(problems=(self.case or "",), no_asv=True, **options)

    def parsed_question(self) -> Question:
        """The question. Raises `ProblemError` for any other text."""
        return Question.parse(self.question or "")
