"""An environment for each release of a library: a virtual environment that is made once and used again.

It holds exactly the requested version of the library, and what its backends and a worker need besides. The installed
version is checked again before every use. Indexes and certificates are those that pip is configured with.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from convbench.errors import BackendError
from convbench.files.file_lock import file_lock
from convbench.measurement.environments.interpreters import OtherEnvironment, environment, run

_WAIT_S = 1800.0  # another process may install large libraries meanwhile
_MARK = "convbench-environment.json"
_ASK_INSTALLED = "import sys, importlib.metadata as m; sys.stdout.write('\\n' + m.version(sys.argv[1]))"
_LINES_SHOWN = 4


@dataclass(frozen=True)
class Release:
    """A release of a library, and its day, as YYYY-MM-DD."""

    library: str
    version: str
    date: str


@dataclass(frozen=True)
class Recipe:
    """What to install for one release: `version` as requested, `others` as requirements that pip accepts. With `source`
    it is built from that folder, and `version` is the name of what is in it, such as a commit."""

    library: str
    version: str
    others: tuple[str, ...]
    source: Path | None = None
    wheels_only: bool = False
    """Nothing is built, neither the release nor what it needs: an old one would take hours, and then often fail."""

    @property
    def requirements(self) -> tuple[str, ...]:
        return (f"{self.library}=={self.version}", *self.others)

    @property
    def installed(self) -> tuple[str, ...]:
        """The requirements and options as pip gets them."""
        wheels = ("--only-binary=:all:",) if self.wheels_only else ()
        return (*wheels, *(self.requirements if self.source is None else (str(self.source), *self.others)))

    def is_met_by(self, version: str) -> bool:
        """Whether this installed version is the one requested; a source may call itself anything."""
        return self.source is not None or same_version(self.version, version)

    def folder_name(self, python: str) -> str:
        """The name of the environment's folder, which depends on the requirements and on the Python version."""
        digest = zlib.crc32("\n".join(self.requirements).encode())
        return f"{canonicalize_name(self.library)}-{self.version}-py{'.'.join(python.split('.')[:2])}-{digest:08x}"


def version_of(text: str) -> Version | None:
    """The version that `text` is (PEP 440); None when it is not a version."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def same_version(request: str, installed: str) -> bool:
    """Whether `installed` is the version that `request` means. 1.20 means 1.20.0, and 2.9.0 also means 2.9.0+cpu, but
    2.9.0+cpu does not mean 2.9.0."""
    wanted, actual = version_of(request), version_of(installed)
    if wanted is None or actual is None:
        return request == installed
    return Version(wanted.public) == Version(actual.public) and wanted.local in (None, actual.local)


def make(
    recipe: Recipe, folder: Path, base: OtherEnvironment, waiting: Callable[[str], object] = lambda sentence: None
) -> tuple[OtherEnvironment, bool]:
    """The environment of a release in `folder`, made with the interpreter `base` if it does not exist, and whether it
    was made now. Its label is the installed version. `waiting` is called with a sentence when another process
    makes it. Raises `BackendError` if it cannot be made, or has another version than requested, and `LockedError`."""
    place = folder / recipe.folder_name(base.version)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackendError(f"{folder} cannot be made: {error.strerror or error}. Give --environments DIR.") from None
    with file_lock(folder / f"{place.name}.held", _WAIT_S, waiting):
        kept = _kept_version(recipe, place)
        version = kept or _made(recipe, place, base)
    # A local part such as +cpu is in the label only if it was requested.
    label = version if "+" in recipe.version else version.partition("+")[0]
    label = label if recipe.source is None else recipe.version
    return environment(str(place), label), kept is None


def _kept_version(recipe: Recipe, place: Path) -> str | None:
    """The version in an environment made earlier; None if there is no such environment or it has changed."""
    try:
        mark = json.loads((place / _MARK).read_text(encoding="utf-8"))
        version = _installed_version(recipe.library, environment(str(place), "kept").python)
    except (OSError, ValueError, BackendError):
        return None
    fits = mark == {"requirements": list(recipe.requirements)} and recipe.is_met_by(version)
    return version if fits else None


def _made(recipe: Recipe, place: Path, base: OtherEnvironment) -> str:
    shutil.rmtree(place, ignore_errors=True)
    made = run([base.python, "-m", "venv", "--without-pip", str(place)])
    if made.returncode != 0:
        raise BackendError(f"{base.python} could not make the environment {place}: {last_lines(made)}")
    python = environment(str(place), "new").python
    done = run([*_installer(python), *recipe.installed])
    if done.returncode != 0:
        shutil.rmtree(place, ignore_errors=True)
        raise BackendError(f"{recipe.library} {recipe.version} could not be installed: {last_lines(done)}")
    version = _installed_version(recipe.library, python)
    if not recipe.is_met_by(version):
        raise BackendError(f"{recipe.library} {recipe.version} was asked for, and {version} was installed in {place}.")
    (place / _MARK).write_text(json.dumps({"requirements": list(recipe.requirements)}), encoding="utf-8")
    return version


def _installer(python: str) -> list[str]:
    """The command that installs into the environment of `python`. Without pip it is uv, which does not read pip's
    configuration: uv most likely made this environment."""
    if has_pip():
        return [*pip(python), "install", "--quiet", "--no-warn-script-location"]
    if (uv := shutil.which("uv")) is not None:
        return [uv, "pip", "install", "--quiet", "--python", python]
    raise BackendError(f"there is neither pip nor uv to install with: {sys.executable} -m ensurepip")


def has_pip() -> bool:
    """Whether this interpreter has pip. To look for the module would not do: setuptools takes that for pip at work, and
    cannot be imported any more, which a compiler of extensions needs."""
    try:
        return bool(importlib.metadata.version("pip"))
    except importlib.metadata.PackageNotFoundError:
        return False


def pip(python: str) -> list[str]:
    """This interpreter's pip for the environment of `python`, which then needs no pip."""
    return [sys.executable, "-P", "-m", "pip", "--python", python, "--disable-pip-version-check", "--no-input"]


def _installed_version(library: str, python: str) -> str:
    done = run([python, "-c", _ASK_INSTALLED, library])
    if done.returncode != 0:
        raise BackendError(f"{python} does not know the version of {library}: {last_lines(done)}")
    return done.stdout.splitlines()[-1].strip()


def last_lines(done: subprocess.CompletedProcess[str]) -> str:
    """The end of what a program printed, its errors first, for a message."""
    lines = [line.rstrip()[:400] for line in (done.stderr.strip() or done.stdout.strip()).splitlines() if line.strip()]
    lines = [line for line in lines if line.startswith("ERROR")] or lines
    if not lines:
        return f"it ended with exit code {done.returncode} and printed nothing."
    return "\n    " + "\n    ".join(lines[-_LINES_SHOWN:])
