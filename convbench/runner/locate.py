"""What a word on the command line names of what was measured: a journal, a folder of them, a machine, a commit."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Iterable
from pathlib import Path

from convbench.errors import ResultsError
from convbench.store.journal import JournalWarning, Record
from convbench.store.records import records


def place_named(text: str, folder: Path) -> Path | None:
    """The journal, folder of journals or machine in the results `folder` that `text` names; None when it names none."""
    if Path(text).exists():
        return Path(text)
    inside = folder / text
    return inside if text not in ("", ".", "..") and inside.is_dir() else None


def records_named(text: str, folder: Path, only: Iterable[str] | None = None) -> list[Record]:
    """The records that `text` names, with at least the fields `only`: those at a place, or those in `folder` that were
    measured at a commit, which may be named by a tag or branch. Raises `ResultsError` when it names none."""
    if (place := place_named(text, folder)) is not None:
        return list(records(place, only))
    commit = _commit(text)
    if commit is None:
        raise ResultsError(
            f"{text!r} is no journal, no machine in {folder} and no commit here; give the path of a .jsonl file or of "
            "a folder of them, the name of a machine, or a commit, tag or branch."
        )
    with warnings.catch_warnings():
        # Nobody asked for just these journals, and a commit is told by every other line.
        warnings.simplefilter("ignore", JournalWarning)
        found = [r for r in records(folder, only) if r.get("commit") == commit] if folder.is_dir() else []
    if not found:
        raise ResultsError(f"{text!r} is commit {commit[:8]}, and no record in {folder} was measured at it.")
    return found


def _commit(text: str) -> str | None:
    if text.startswith("-"):
        return None
    words = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except (OSError, ValueError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
