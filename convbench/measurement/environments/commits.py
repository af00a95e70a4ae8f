"""Commits of a repository in order, and the files of one as a folder that pip can install from."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from convbench.errors import BackendError

_SHORT = 12
_EXAMPLE = "--commits v1.0..HEAD"


@dataclass(frozen=True)
class Commit:
    """`hash` is whole, `date` its day (YYYY-MM-DD), `subject` its first line."""

    hash: str
    date: str
    subject: str

    @property
    def label(self) -> str:
        return self.hash[:_SHORT]


def commits_between(repository: Path, text: str) -> list[Commit]:
    """A, and what came after it up to B on its first-parent line, for `A..B`; oldest first. Raises `BackendError`."""
    start, dots, end = text.partition("..")
    if not dots or not start or not end or end.startswith(".") or text.startswith("-"):
        raise BackendError(f"--commits is {text!r}; it should be two commits, tags or branches, as in {_EXAMPLE}")
    first, last = (_resolved(repository, name) for name in (start, end))
    names = _git(repository, "rev-list", "--first-parent", "--reverse", f"{first}..{last}").split()
    if not names:
        raise BackendError(f"no commit of {repository} lies between {start} and {end}; give the older one first.")
    if _git(repository, "merge-base", first, last).strip() != first:
        raise BackendError(f"{start} is no ancestor of {end} in {repository}; give two commits of one line.")
    return [_described(repository, name) for name in (first, *names)]


@contextmanager
def files_of(repository: Path, commit: Commit) -> Iterator[Path]:
    """A folder with the files of `commit`: a worktree outside the repository, whose own files and branches stay as they
    are. It is gone afterwards. Raises `BackendError`."""
    with tempfile.TemporaryDirectory(prefix="convbench-commit-") as folder:
        place = Path(folder) / "source"
        _git(repository, "worktree", "add", "--quiet", "--detach", str(place), commit.hash)
        try:
            yield place
        finally:
            _git(repository, "worktree", "remove", "--force", str(place))


def _resolved(repository: Path, name: str) -> str:
    try:
        return _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
    except BackendError:
        raise BackendError(
            f"{name!r} is no commit, tag or branch of {repository}; give two, as in {_EXAMPLE}"
        ) from None


def _described(repository: Path, name: str) -> Commit:
    date, _, subject = _git(repository, "show", "--no-patch", "--format=%cs %s", name).strip().partition(" ")
    return Commit(name, date, subject)


def _git(repository: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *words], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise BackendError(f"git cannot be run: {error.strerror or error}.") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise BackendError(f"git {words[0]} in {repository}: {lines[-1] if lines else 'it failed and said nothing'}")
    return done.stdout
