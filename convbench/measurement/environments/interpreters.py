"""Backends from other environments: `--python PATH=LABEL` offers each as `NAME@LABEL`, run by that interpreter.

One run can then time two versions of a library side by side. The other environment needs what a worker needs (NumPy and
ml_dtypes) and the backend's own libraries, but not convbench.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from convbench.errors import BackendError
from convbench.measurement.environments.probe import WORKER_NEEDS
from convbench.measurement.workers.json_child import JsonChild
from convbench.measurement.workers.process_environment import apart
from convbench.registry import Entry, Registry, Row

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_PRINT_VERSION = "import sys; sys.stdout.write('\\n%d.%d.%d' % sys.version_info[:3])"
_LIMIT_S = 60.0
_EXAMPLE = "--python ~/old/bin/python=1.20"


@dataclass(frozen=True)
class OtherEnvironment:
    """An interpreter: `python` is its path, `version` that of Python, such as 3.12.1."""

    label: str
    python: str
    version: str

    def offer(self, entry: Entry) -> Entry:
        """`entry` under its name in this environment. Whether it is available there is not known yet."""
        return replace(entry, name=f"{entry.name}@{self.label}", reason=None, python=self.python)


def environments(texts: Iterable[str]) -> list[OtherEnvironment]:
    """The environments named by `PATH=LABEL` texts. Raises `BackendError` for another text, or a label used twice."""
    by_label: dict[str, OtherEnvironment] = {}
    for text in texts:
        path, separator, label = text.rpartition("=")
        if not separator or not path or not _LABEL.fullmatch(label):
            raise BackendError(
                f"--python is {text!r}; it should be an interpreter or the folder of a virtual environment, then = and "
                f"a label of letters, digits and . _ + -, as in {_EXAMPLE}"
            )
        if label in by_label:
            both = f"{by_label[label].python} and {path}"
            raise BackendError(f"two environments are labelled {label!r}: {both}. Give each its own label.")
        by_label[label] = environment(path, label)
    return list(by_label.values())


def environment(path: str, label: str) -> OtherEnvironment:
    """The environment of the interpreter at `path`, which may be a virtual environment's folder. Raises `BackendError`
    if it is no Python interpreter, or too old."""
    python = _interpreter(Path(path).expanduser())
    try:
        done = run([python, "-c", _PRINT_VERSION], _LIMIT_S)
    except OSError as error:
        raise BackendError(f"{python} cannot be run: {error.strerror or error}. Give a Python interpreter.") from None
    except subprocess.TimeoutExpired:
        raise BackendError(f"{python} does not answer; it should be a Python interpreter.") from None
    match = re.fullmatch(r"(\d+)\.(\d+)\.\d+", (done.stdout.splitlines() or [""])[-1])
    if done.returncode != 0 or match is None:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        how = f"it said {lines[-1][:300]!r}" if lines else f"it left with {done.returncode} and said nothing"
        raise BackendError(f"{python} is no working Python interpreter: {how}.")
    if (int(match[1]), int(match[2])) < (3, 11):
        raise BackendError(f"{python} is Python {match[0]}; a worker needs Python 3.11 or newer.")
    return OtherEnvironment(label, python, match[0])


def run(words: Sequence[str], limit_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of another environment and capture what it prints."""
    variables = apart() | {"NO_COLOR": "1"}  # its last lines become part of a message, where colours do not belong
    return subprocess.run(
        words, capture_output=True, text=True, errors="replace", env=variables, timeout=limit_s, check=False
    )


def select(registry: Registry, others: Sequence[OtherEnvironment], patterns: Sequence[str]) -> list[Row]:
    """The rows that `patterns` select among those here and, as `NAME@LABEL`, those of the other environments. A pattern
    selects a backend in all environments: `x*` also selects `x@old`; `x@*` selects the others alone. Raises
    `BackendError` when a pattern selects nothing, or an environment cannot run workers."""
    offered = [other.offer(entry) for other in others for entry in registry]
    known = {row.name: row for row in registry.rows}
    for entry in offered:
        if entry.name in known:
            one = f"one in {known[entry.name].origin}, one by its label"
            raise BackendError(f"two backends are called {entry.name!r}: {one}. Give another label.")
    rows = Registry((*registry.rows, *offered)).select(patterns)
    answered = {entry.name: entry for entry in with_availability(Registry(tuple(rows)), others)}
    return [answered.get(row.name, row) for row in rows]


def with_availability(entries: Iterable[Entry], others: Sequence[OtherEnvironment]) -> list[Entry]:
    """`entries`; those of other environments have the reason why they cannot run there, if any. Raises `BackendError`
    when an environment cannot run workers."""
    entries = list(entries)
    reasons: dict[str, str | None] = {}
    for other in others:
        there = [e for e in entries if e.python == other.python and e.name.endswith(f"@{other.label}")]
        if there:
            reasons |= zip((e.name for e in there), _reasons(other, there), strict=True)
    return [replace(entry, reason=reasons[entry.name]) if entry.name in reasons else entry for entry in entries]


def _reasons(other: OtherEnvironment, entries: Sequence[Entry]) -> list[str | None]:
    backends = [{"origin": asdict(e.origin), "name": e.backend.name} for e in entries]
    module, request = "convbench.measurement.environments.probe", {"backends": backends}
    with JsonChild(module, request, python=other.python, time_limit_s=_LIMIT_S) as child:
        answer = next((message for message in child.messages() if "reasons" in message), None)
        failure = child.failure()
    labelled = f"{other.python} ({other.label})"
    if child.timed_out:
        raise BackendError(f"{labelled} did not say within {_LIMIT_S:g} s which backends it can run.")
    if answer is None:
        raise BackendError(f"{labelled} could not say which backends it can run: it {failure}.")
    if missing := answer["missing"]:
        raise BackendError(
            f"{labelled} cannot run a worker, which needs {' and '.join(WORKER_NEEDS)} there: "
            f"{'; '.join(missing.values())}. Type: {other.python} -m pip install {' '.join(missing)}"
        )
    reasons: list[str | None] = answer["reasons"]
    return reasons


def _interpreter(path: Path) -> str:
    """The absolute path. Links in it stay, because a virtual environment's interpreter is a link whose name matters."""
    if path.is_dir():
        inside = [path / "bin" / "python", path / "Scripts" / "python.exe"]
        python = next((python for python in inside if python.exists()), None)
        if python is None:
            raise BackendError(f"{path} is a folder without bin/python; give an interpreter or a virtual environment.")
        path = python
    elif path.name == str(path) and not path.exists() and (on_path := shutil.which(str(path))):
        path = Path(on_path)
    if not path.exists():
        raise BackendError(f"there is no {path}; give an interpreter or a virtual environment, as in {_EXAMPLE}")
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps "..", Path.resolve follows links
