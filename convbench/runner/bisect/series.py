"""The series that is searched: releases of a library or commits of a repository, oldest first, and how each becomes an
environment."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from convbench.errors import BackendError, LockedError, did_you_mean
from convbench.measurement.environments.available import available_versions
from convbench.measurement.environments.commits import Commit, commits_between, files_of
from convbench.measurement.environments.interpreters import OtherEnvironment, environment, with_availability
from convbench.measurement.environments.release_dates import upload_dates, wheel_date
from convbench.measurement.environments.release_facts import ReleaseFacts, release_facts
from convbench.measurement.environments.releases import Recipe, make, same_version, version_of
from convbench.registry import Entry
from convbench.runner.bisect.changed_answer import Skipped
from convbench.runner.releases import other_requirements, versions_named

_LONGEST_REASON = 200


@dataclass(frozen=True)
class Series:
    """The labels of the members, oldest first, and the repository and commits if they are commits."""

    library: str
    labels: tuple[str, ...]
    commits: tuple[Commit, ...] = ()
    repository: Path = Path()

    @property
    def word(self) -> str:
        return "commit" if self.commits else "release"


def releases_between(
    library: str, versions: Sequence[str], good: str | None, bad: str | None, python: str, *, pre: bool
) -> Series:
    """The releases that were given, or those with a wheel for `python`; from the older to the newer of `good` and `bad`
    where they are given. Raises `BackendError` for versions that are not among them, and for fewer than two."""
    named = sorted(versions_named(versions), key=lambda text: version_of(text) or 0)
    known = named or available_versions(library, python, pre=pre)
    ends = [
        _index_of(library, known, name, text) for name, text in (("--good", good), ("--bad", bad)) if text is not None
    ]
    low = min(ends) if len(ends) == 2 or good is not None else 0
    high = max(ends) if len(ends) == 2 or bad is not None else len(known) - 1
    if high <= low:
        raise BackendError(
            f"there are not two releases of {library} to search between; there are {', '.join(known[-8:])}. "
            "Give --good and --bad, or --versions."
        )
    return Series(library, tuple(known[low : high + 1]))


def commits_of(library: str, repository: Path, text: str) -> Series:
    """The commits of `A..B`. Raises `BackendError`."""
    commits = tuple(commits_between(repository, text))
    return Series(library, tuple(commit.label for commit in commits), commits, repository)


def _index_of(library: str, known: Sequence[str], name: str, text: str) -> int:
    for place, version in enumerate(known):
        if same_version(text, version):
            return place
    raise BackendError(
        f"{name} is {text!r}, and pip finds no such release of {library} with a wheel for this Python."
        f"{did_you_mean(text, known)} The newest are {', '.join(known[-8:])}. For others give --pre or --versions."
    )


@dataclass
class Environments:
    """Makes the environment of a member when it is asked for, and remembers what came of it."""

    series: Series
    backend: Entry
    folder: Path
    base: OtherEnvironment
    extra: Sequence[str]
    say: Callable[[str], object]
    discard: bool = False
    made: set[int] = field(default_factory=set)
    """Those that were made, or found made."""
    _entries: dict[int, Entry | Skipped] = field(default_factory=dict)
    _new: dict[int, Path] = field(default_factory=dict)
    _facts: dict[int, ReleaseFacts] = field(default_factory=dict)

    def entry(self, member: int) -> Entry | Skipped:
        """The backend in the environment of this member; or why there is none."""
        if member not in self._entries:
            try:
                self._entries[member] = self._available(member)
            except (BackendError, LockedError) as error:
                self._entries[member] = Skipped(_one_line(error))
            if isinstance(skipped := self._entries[member], Skipped):
                self.say(f"{self.series.library} {self.series.labels[member]} is skipped: {skipped.reason}")
        return self._entries[member]

    def date(self, member: int) -> str | None:
        """The day of a member (YYYY-MM-DD), where it is known; else it says why not."""
        library, label = self.series.library, self.series.labels[member]
        if self.series.commits:
            return self.series.commits[member].date
        try:
            return upload_dates(library, [label]).get(label) or wheel_date(library, label, self.base.python)
        except BackendError as error:
            self.say(_one_line(error))
            return None

    def facts(self, member: int) -> ReleaseFacts:
        """What the member says of itself; nothing where it has no environment."""
        if member not in self._facts:
            entry = self.entry(member)
            known = ReleaseFacts() if isinstance(entry, Skipped) else release_facts(self.series.library, entry)
            self._facts[member] = known
        return self._facts[member]

    def discard_used(self) -> None:
        """With `discard`, ask the environments that were made here for their facts, and remove them. The answer may
        need the facts, and then none is made twice."""
        for member in [*self._new] if self.discard else ():
            self.facts(member)
        self.remove()

    def remove(self) -> None:
        """With `discard`, remove the environments that were made here."""
        for member in [*self._new] if self.discard else ():
            shutil.rmtree(self._new.pop(member), ignore_errors=True)
            if not isinstance(self._entries.get(member), Skipped):
                self._entries.pop(member, None)

    def _available(self, member: int) -> Entry | Skipped:
        label = self.series.labels[member]
        self.say(f"{self.series.library} {label}: preparing its environment ...")
        others = other_requirements(self.series.library, [label], [self.backend], self.extra)[label]
        with self._source(member) as source:
            recipe = Recipe(self.series.library, label, others, source, wheels_only=source is None)
            other, is_new = make(recipe, self.folder, self.base, self.say)
        if is_new:
            self._new[member] = self.folder / recipe.folder_name(self.base.version)
        self.made.add(member)
        (entry,) = with_availability([other.offer(self.backend)], [other])
        return Skipped(_one_line(entry.reason)) if entry.reason else entry

    @contextmanager
    def _source(self, member: int) -> Iterator[Path | None]:
        commits = self.series.commits
        with files_of(self.series.repository, commits[member]) if commits else nullcontext() as source:
            yield source


def base_environment(python: str | None) -> OtherEnvironment:
    """The interpreter that environments are made with. Raises `BackendError`."""
    return environment(python or sys.executable, "base")


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())[:_LONGEST_REASON]
