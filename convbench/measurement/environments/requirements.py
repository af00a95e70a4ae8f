"""What pip has to install for a backend: its `requires` or `install`, with convbench's own extras resolved.

Without lower bounds: those say what convbench is tested with, and an environment of an older release is to be older.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import tomllib
from dataclasses import dataclass

from convbench.backend import Backend
from convbench.installation import CHECKOUT

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?")
_OF_AN_EXTRA = re.compile(r"""\s*(?:\band\b)?\s*extra\s*==\s*["']([^"']*)["']""")


@dataclass(frozen=True)
class Requirement:
    """What pip is asked for: a distribution's normalised name, the extras in brackets, and on which systems."""

    name: str
    extras: str = ""
    marker: str = ""

    def __str__(self) -> str:
        return f"{self.name}{f'[{self.extras}]' if self.extras else ''}{f'; {self.marker}' if self.marker else ''}"


def requirements(backend: Backend) -> tuple[Requirement, ...]:
    """What to install so that `backend` has the libraries that it requires."""
    words = shlex.split(backend.install) if backend.install else [name.partition(".")[0] for name in backend.requires]
    found: dict[Requirement, None] = {}
    for word in words:
        parsed = _parsed(word)
        if parsed is None:
            continue  # an option of pip's
        if parsed.name != "convbench":
            found[parsed] = None
            continue
        for extra in parsed.extras.split(","):
            found |= dict.fromkeys(_of_extra(extra.strip()))
    return tuple(found)


def normalized(name: str) -> str:
    """A distribution's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _parsed(text: str) -> Requirement | None:
    match = _REQUIREMENT.fullmatch(text)
    if match is None:
        return None
    marker = _OF_AN_EXTRA.sub("", match[3] or "").strip()
    return Requirement(normalized(match[1]), (match[2] or "").strip(), marker)


def _of_extra(extra: str) -> list[Requirement]:
    """What one of convbench's extras stands for: in a checkout by its pyproject.toml, which an editable installation's
    metadata may be older than, else by the metadata."""
    if CHECKOUT is not None:
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        texts = project["optional-dependencies"].get(extra, [])
    else:
        lines = importlib.metadata.requires("convbench") or []
        texts = [line for line in lines if (of := _OF_AN_EXTRA.search(line)) and of[1] == extra]
    return [parsed for text in texts if (parsed := _parsed(text)) is not None]
