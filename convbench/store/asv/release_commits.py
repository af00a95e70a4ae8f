"""Releases as git history: a small bare repository with an empty commit per release, dated and tagged, as asv's axis.

It holds a branch per library, `onnxruntime`, with its releases by date, tagged `onnxruntime-1.20.0`.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from convbench.measurement.environments.releases import Release, version_of

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[0-9]+([.!+_-]?[A-Za-z0-9]+)*")


def is_sound(release: Release) -> bool:
    """Whether name and version are strings that can be a branch and a tag, and the date is one."""
    try:
        date.fromisoformat(release.date)
        named = _NAME.fullmatch(release.library) and _VERSION.fullmatch(release.version)
    except (TypeError, ValueError):
        return False
    return bool(named) and not release.version.endswith(".lock")  # which git keeps for itself


def tag(release: Release) -> str:
    """The name of a release in asv: `onnxruntime-1.20.0`."""
    return f"{release.library}-{release.version}"


def milliseconds(release: Release) -> int:
    """Midnight of the day it came out, UTC, as asv counts time."""
    return int(datetime.fromisoformat(release.date).replace(tzinfo=UTC).timestamp()) * 1000


def in_order(releases: Iterable[Release]) -> list[Release]:
    """By library, then by date, then by version (PEP 440), what is not a version first."""

    def sort_key(release: Release) -> tuple[Any, ...]:
        version = version_of(release.version)
        return release.library, release.date, version is not None, version or release.version, release.version

    return sorted(releases, key=sort_key)


def make_history(repository: Path, releases: Iterable[Release]) -> dict[Release, str]:
    """Make `repository`, bare, with a commit for each of the sound `releases`; gives their hashes. Raises `OSError`
    where there is no git, `CalledProcessError` where it fails."""
    ordered = in_order(set(releases))
    _git("init", "--quiet", "--bare", "--object-format=sha1", str(repository))
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        _git(f"--git-dir={repository}", "fast-import", "--quiet", f"--export-marks={marks}", stdin=_stream(ordered))
        hashes = dict(line.split() for line in marks.read_text(encoding="ascii").splitlines())
    return {release: hashes[f":{number}"] for number, release in enumerate(ordered, 1)}


def _stream(ordered: Iterable[Release]) -> str:
    """The commits and tags as `git fast-import` reads them; equal releases give equal hashes."""
    lines = []
    for number, release in enumerate(ordered, 1):
        message = f"{release.library} {release.version}"
        lines += [
            f"commit refs/heads/{release.library}",
            f"mark :{number}",
            f"committer convbench <> {milliseconds(release) // 1000} +0000",
            f"data {len(message.encode())}",
            message,
            f"reset refs/tags/{tag(release)}",
            f"from :{number}",
            "",
        ]
    return "\n".join([*lines, "done", ""])


def _git(*words: str, stdin: str = "") -> None:
    # Called from a hook of git's, there are variables that speak of another repository.
    variables = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    subprocess.run(["git", *words], input=stdin, capture_output=True, text=True, env=variables, check=True)
