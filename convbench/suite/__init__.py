"""Suites: named collections of problems as values, their files, and conditions that select cases.

A suite is loaded by the name of one that comes with convbench, or by the path of a file.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from convbench.errors import SuiteError, did_you_mean
from convbench.suite.cases import Case, Outline, Suite
from convbench.suite.toml_file import read_outline, read_suite

__all__ = ["Case", "Outline", "Suite", "builtin_outlines", "builtin_suites", "load_suite"]


def load_suite(name_or_path: str | os.PathLike[str]) -> Suite:
    """The suite of that name, or of that file if the text ends in `.toml` or has a path separator.

    Raises `SuiteError` for an unknown name or file, and for a file that is not well formed.
    """
    text = os.fspath(name_or_path)
    if text.endswith(".toml") or os.sep in text or "/" in text:
        return read_suite(Path(text))
    files = {path.stem: path for path in _builtin_files()}
    if text not in files:
        raise SuiteError(
            f"there is no suite {text!r}.{did_you_mean(text, files)} The suites are {', '.join(files)}; "
            "for a file of your own give its path, such as ./mine.toml."
        )
    return read_suite(files[text])


def builtin_suites() -> list[Suite]:
    """The suites that come with convbench, sorted by name. Raises `SuiteError` for a broken one."""
    return sorted((read_suite(path) for path in _builtin_files()), key=lambda suite: suite.name)


def builtin_outlines() -> list[Outline]:
    """The same suites in outline, which is quick even for thousands of cases."""
    return sorted((read_outline(path) for path in _builtin_files()), key=lambda outline: outline.name)


def _builtin_files() -> list[Path]:
    # By import, because the package is in one place in a checkout and in another when it is installed.
    package = importlib.import_module("convbench.suites")
    return sorted(path for folder in package.__path__ for path in Path(folder).glob("*.toml"))
