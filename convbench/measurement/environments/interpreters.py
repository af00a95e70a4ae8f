"""Backends from other environments: `--python PATH=LABEL` offers each as `NAME@LABEL`, run by that interpreter.

Two versions of a library can then be timed side by side in one run. The other environment needs what a worker needs
(NumPy and ml_dtypes) and the backend's own libraries; convbench itself it is lent.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from convbench.errors import BackendError
from convbench.measurement.environments.probe import WORKER_NEEDS
from convbench.measurement.workers.process_environment import START, apart
from convbench.registry import Entry, Registry, Row

_OLDEST = (3, 11)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_ASK_VERSION = "import sys; sys.stdout.write('\\n%d.%d.%d' % sys.version_info[:3])"
_LIMIT_S = 60.0
_EXAMPLE = "--python ~/old/bin/python=1.20"


@dataclass(frozen=True)
class OtherEnvironment:
    """An interpreter that has been asked who it is: `python` is its path, `version` Python's, such as 3.12.1."""

    label: str
    python: str
    version: str

    def offer(self, entry: Entry) -> Entry:
        """`entry` as it is called in this environment, not yet asked whether it is available there."""
        return replace(entry, name=f"{entry.name}@{self.label}", reason=None, python=self.python)


def environments(given: Iterable[str]) -> list[OtherEnvironment]:
    """The environments that the texts `PATH=LABEL` name. Raises `BackendError` for what is none, or a label twice."""
    found: dict[str, OtherEnvironment] = {}
    for text in given:
        path, separator, label = text.rpartition("=")
        if not separator or not path or not _LABEL.fullmatch(label):
            raise BackendError(
                f"--python is {text!r}; it should be an interpreter or the folder of a virtual environment, then = and "
                f"a label of letters, digits and . _ + -, as in {_EXAMPLE}"
            )
        if label in found:
            raise BackendError(
                f"two environments are labelled {label!r}: {found[label].python} and {path}. Give each its own label."
            )
        found[label] = environment(path, label)
    return list(found.values())


def environment(path: str, label: str) -> OtherEnvironment:
    """The environment of the interpreter at `path`, which may be a virtual environment's folder.

    Raises `BackendError` when that is no Python, or one that is too old.
    """
    python = _interpreter(Path(path).expanduser())
    try:
        done = _call([python, "-c", _ASK_VERSION])
    except OSError as error:
        raise BackendError(f"{python} cannot be run: {error.strerror or error}. Give a Python interpreter.") from None
    except subprocess.TimeoutExpired:
        raise BackendError(f"{python} does not answer; it should be a Python interpreter.") from None
    match = re.fullmatch(r"(\d+)\.(\d+)\.\d+", (done.stdout.splitlines() or [""])[-1])
    if done.returncode != 0 or match is None:
        raise BackendError(f"{python} is no Python interpreter that works: {_last_words(done)}.")
    if (int(match[1]), int(match[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise BackendError(f"{python} is Python {match[0]}; a worker needs Python {oldest} or newer.")
    return OtherEnvironment(label, python, match[0])


def select(registry: Registry, others: Sequence[OtherEnvironment], patterns: Sequence[str]) -> list[Row]:
    """The rows that `patterns` select of those here and, as `NAME@LABEL`, in the other environments, which are asked
    what they can run. A pattern that a name matches selects it everywhere: `x*` also `x@old`, and `x@*` only those.

    Raises `BackendError` when a pattern selects nothing, or an environment cannot run workers.
    """
    offered = [other.offer(entry) for other in others for entry in registry]
    known = {row.name: row for row in registry.rows}
    for entry in offered:
        if entry.name in known:
            raise BackendError(
                f"two backends are called {entry.name!r}: one in {known[entry.name].origin}, one by its label. Give "
                "another label."
            )
    rows = Registry((*registry.rows, *offered)).select(patterns)
    answered = {entry.name: entry for entry in asked(Registry(tuple(rows)), others)}
    return [answered.get(row.name, row) for row in rows]


def asked(entries: Iterable[Entry], others: Sequence[OtherEnvironment]) -> list[Entry]:
    """`entries`, those of other environments with the reason why they cannot run there, if there is one.

    Raises `BackendError` when an environment cannot run workers.
    """
    entries = list(entries)
    reasons: dict[str, str | None] = {}
    for other in others:
        mine = [e for e in entries if e.python == other.python and e.name.endswith(f"@{other.label}")]
        if mine:
            reasons |= zip((e.name for e in mine), _reasons(other, mine), strict=True)
    return [replace(entry, reason=reasons[entry.name]) if entry.name in reasons else entry for entry in entries]


def _reasons(other: OtherEnvironment, entries: Sequence[Entry]) -> list[str | None]:
    backends = [{"origin": asdict(e.origin), "name": e.backend.name} for e in entries]
    words = [other.python, str(START), "convbench.measurement.environments.probe"]
    try:
        done = _call(words, json.dumps({"backends": backends}))
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise BackendError(f"{other.python} ({other.label}) did not say within {_LIMIT_S:g} s what it has.") from None
    except (ValueError, IndexError):
        raise BackendError(f"{other.python} ({other.label}) could not say what it has: {_last_words(done)}.") from None
    if missing := told["missing"]:
        raise BackendError(
            f"{other.python} ({other.label}) cannot run a worker, which needs {' and '.join(WORKER_NEEDS)} there: "
            f"{'; '.join(missing.values())}. Type: {other.python} -m pip install {' '.join(missing)}"
        )
    given: list[str | None] = told["reasons"]
    return given


def _interpreter(path: Path) -> str:
    """The absolute path, links in it kept: the interpreter of a virtual environment is a link, and its name matters."""
    if path.is_dir():
        inside = [path / "bin" / "python", path / "Scripts" / "python.exe"]
        found = next((python for python in inside if python.exists()), None)
        if found is None:
            raise BackendError(f"{path} is a folder without bin/python; give an interpreter or a virtual environment.")
        path = found
    elif path.name == str(path) and not path.exists() and (on_path := shutil.which(str(path))):
        path = Path(on_path)
    if not path.exists():
        raise BackendError(f"there is no {path}; give an interpreter or a virtual environment, as in {_EXAMPLE}")
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps "..", Path.resolve follows links


def _call(words: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, input=given, capture_output=True, text=True, errors="replace", env=apart(), timeout=_LIMIT_S, check=False
    )


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"it said {said[-1][:300]!r}" if said else f"it left with {done.returncode} and said nothing"
