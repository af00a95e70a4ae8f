"""What pip has to install for a backend: its `requires` or `install`, with convbench's own extras resolved.

Lower bounds are left out. They say what convbench is tested with, and an environment may be of an older release.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from convbench.backend import Backend
from convbench.installation import CHECKOUT

_EXTRA = re.compile(r'(?: and )?extra == "([^"]*)"')


def requirements(backend: Backend) -> tuple[Requirement, ...]:
    """What to install so that `backend` has the libraries that it requires."""
    words = shlex.split(backend.install) if backend.install else [name.partition(".")[0] for name in backend.requires]
    unique: dict[Requirement, None] = {}
    for requirement in _parsed(words):
        if requirement.name == "convbench":
            for extra in sorted(requirement.extras):
                unique |= dict.fromkeys(_parsed(_of_extra(extra)))
        else:
            unique[requirement] = None
    return tuple(unique)


def _parsed(words: list[str]) -> Iterator[Requirement]:
    """The requirements among `words`, without versions and extras of the package that lists them."""
    for word in words:
        try:
            requirement = Requirement(word)
        except InvalidRequirement:
            continue  # an option of pip's
        requirement.name = canonicalize_name(requirement.name)
        requirement.specifier = SpecifierSet()
        if requirement.marker is not None:
            marker = _EXTRA.sub("", str(requirement.marker))
            requirement.marker = Marker(marker) if marker else None
        yield requirement


def _of_extra(extra: str) -> list[str]:
    """The requirements of an extra of convbench. In a checkout they come from pyproject.toml, because the metadata of
    an editable installation may be older."""
    if CHECKOUT is not None:
        project = tomllib.loads((Path(CHECKOUT) / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return list(project["optional-dependencies"].get(extra, []))
    lines = importlib.metadata.requires("convbench") or []
    return [line for line in lines if extra in _EXTRA.findall(str(Requirement(line).marker))]
