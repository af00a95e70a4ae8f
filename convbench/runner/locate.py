"""What a name stands for: a journal, a folder of journals, a machine, or a commit, tag or branch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from convbench.errors import ResultsError
from convbench.store.line_file import JournalWarning
from convbench.store.locations import git
from convbench.store.records import records
from convbench.store.schema import Record


def place_named(text: str, folder: Path) -> Path | None:
    """The journal, folder of journals or machine that `text` names, else None; machines are folders in `folder`."""
    if Path(text).exists():
        return Path(text)
    inside = folder / text
    return inside if text not in ("", ".", "..") and inside.is_dir() else None


def records_named(text: str, folder: Path, only: Iterable[str] | None = None) -> list[Record]:
    """The records that `text` names, with at least the fields `only`.

    They are those at a place, or those in `folder` that were measured at a commit, tag or branch. Raises `ResultsError`
    when `text` names neither.
    """
    if (place := place_named(text, folder)) is not None:
        return list(records(place, only))
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    if text.startswith("-") or not (commit := git(Path(), *words)):
        raise ResultsError(
            f"{text!r} is no journal, no machine in {folder} and no commit here; give the path of a .jsonl file or of "
            "a folder of them, the name of a machine, or a commit, tag or branch."
        )
    with warnings.catch_warnings():
        # The user did not name these journals, and a broken line in them hides at most its own record.
        warnings.simplefilter("ignore", JournalWarning)
        everything = records(folder, only) if folder.is_dir() else ()
        at_commit = [record for record in everything if record.get("commit") == commit]
    if not at_commit:
        raise ResultsError(f"{text!r} is commit {commit[:8]}, and no record in {folder} was measured at it.")
    return at_commit
