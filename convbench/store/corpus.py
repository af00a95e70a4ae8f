"""The corpus: questions that some backend once failed, a file per backend, asked first ever after.

A line is a question; what follows a `#` is for people; they may edit the files. Other lines are passed over with a
warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from convbench.errors import ProblemError, ResultsError
from convbench.files.user_file import FileKind, read_bytes
from convbench.store.line_file import JournalWarning, LineFile
from convbench.verification.question import Question

FOLDER = "corpus"
_KIND = FileKind("a corpus", 64 * 2**20, "move it away, or put a file of questions there", ResultsError)


def corpus_file(results: Path, backend: str) -> Path:
    """Where the questions that `backend` failed are kept. Names of backends are letters, digits and . _ @ + - only."""
    return results / FOLDER / f"{backend}.txt"


def read_corpus(path: Path) -> list[Question]:
    """The questions, oldest first; none where there is no such file. Raises `ResultsError` if it cannot be read."""
    if not path.exists():
        return []
    lines = read_bytes(path, _KIND).decode(errors="replace").splitlines()
    questions = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            questions.append(Question.parse(text))
        except ProblemError:
            warnings.warn(f"{path}, line {number}: not a question, passed over.", JournalWarning, stacklevel=2)
    return list(dict.fromkeys(questions))


def add_to_corpus(path: Path, failed: Iterable[tuple[Question, str]]) -> int:
    """Append new questions, each with a remark; gives how many. Raises `ResultsError` if it cannot be written."""
    known = set(read_corpus(path))
    new = {question: remark for question, remark in failed if question not in known}
    if not new:
        return 0
    lines = [f"{question}  # {' '.join(remark.split())[:200]}\n" for question, remark in new.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with LineFile(path) as file:
            file.write("".join(lines))
    except OSError as error:
        raise ResultsError(f"the corpus {path} cannot be written: {error.strerror or error}.") from None
    return len(new)
