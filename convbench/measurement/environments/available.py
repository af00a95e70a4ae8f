"""Which releases of a library pip could install here: those with a wheel for this interpreter and system."""

from __future__ import annotations

import re

from convbench.errors import BackendError
from convbench.measurement.environments.interpreters import run
from convbench.measurement.environments.releases import has_pip, last_lines, pip, version_of

_LISTED = re.compile(r"\(from versions: ([^)]*)\)")
_LIMIT_S = 300.0


def available_versions(library: str, python: str, *, pre: bool = False) -> list[str]:
    """The versions of which pip finds a wheel for the interpreter `python`, oldest first; with `pre`, those before a
    release, too. Indexes and folders are those that pip is configured with. Raises `BackendError` without any."""
    if not has_pip():
        raise BackendError(f"pip is needed to list the releases of {library}; give them, as in --versions 1.0,1.1")
    # `pip index versions` also lists releases without a wheel; what cannot be met lists what `install` takes.
    impossible = f"{library}<0.dev0,>0"
    done = run([*pip(python), "install", "--dry-run", "--no-deps", "--only-binary=:all:", impossible], _LIMIT_S)
    listed = _LISTED.search(done.stderr)
    texts = [text.strip() for text in listed[1].split(",")] if listed else []
    known = {text: version for text in texts if (version := version_of(text)) is not None}
    if not known:
        raise BackendError(
            f"pip finds no release of {library} with a wheel for {python}: {last_lines(done)}\n"
            "Give releases, as in --versions 1.0,1.1"
        )
    return sorted((t for t, v in known.items() if pre or not v.is_prerelease), key=known.__getitem__)
