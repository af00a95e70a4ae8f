"""What a bug report is about: a question and a backend, typed, or read from a report that `verify` or `bug` wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from convbench.errors import BackendError, ProblemError
from convbench.files.user_file import FileKind, opened
from convbench.verification.question import Question

_A_REPORT = FileKind("a report", 2**20, "give a question, or a report that convbench verify wrote", ProblemError)
_ROWS = {
    "question": re.compile(r"^\| case \| `([^`]*)` \|$", re.M),
    "backend": re.compile(r"^\| backend \| `([^`]*)` ", re.M),
}
_OF_A_COMMAND = {
    "question": re.compile(r"""^convbench verify .*--question ["']?([^"'`\n]*)""", re.M),
    "backend": re.compile(r"^convbench verify .*--backend (\S+)", re.M),
}
_SHARED = re.compile(r"^What the failing convolutions have in common: [ -~]{1,400}$", re.M)


@dataclass(frozen=True)
class Subject:
    question: Question
    backend: str
    shared: str = ""
    """What failing convolutions have in common, in the words of the report."""


def subject(text: str, backend: str | None) -> Subject:
    """The subject that `text` names: a file under that name, or else a question. `backend` counts before
    what a file says. Raises `ProblemError` for neither, and `BackendError` without a backend."""
    path = Path(text)
    named = _of_report(path) if path.suffix == ".md" or path.is_file() else {"question": text, "backend": ""}
    name = backend or named["backend"]
    if not name:
        raise BackendError(f"Whose answer to {text!r} is it? Name the backend with --backend NAME.")
    return Subject(Question.parse(named["question"]), name, named.get("shared", ""))


def _of_report(path: Path) -> dict[str, str]:
    with opened(path, _A_REPORT) as file:
        content = file.read().decode("utf-8", "replace")
    rows = {name: row.search(content) or _OF_A_COMMAND[name].search(content) for name, row in _ROWS.items()}
    shared = _SHARED.search(content)
    if missing := [name for name, row in rows.items() if row is None]:
        raise _A_REPORT.refused(path, f"no {' and no '.join(missing)} is named in it")
    read = {name: row[1] for name, row in rows.items() if row is not None}
    return read | ({"shared": shared[0]} if shared else {})
