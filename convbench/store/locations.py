"""Where results are: `--results DIR`, else those of the checkout one stands in, else the user's data folder.

A checkout configures asv; its commit is what results belong to.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from convbench.errors import ResultsError
from convbench.files.scratch import collect_leftovers, scratch_folder
from convbench.files.user_file import FileKind, read_text


def results_folder(folder: Path | None = None) -> Path:
    """The results folder; it need not exist yet. A checkout is where `asv.conf.json` stands, here or further up."""
    if folder is not None:
        return folder
    checkout = find_checkout(Path.cwd())
    if checkout is not None:
        return results_of_checkout(checkout)
    from platformdirs import user_data_path

    return user_data_path("convbench", appauthor=False) / "results"


def results_of_checkout(checkout: Path) -> Path:
    """`results_dir` of the checkout's configuration, where asv looks for results; `results` where it says nothing."""
    try:
        text = read_text(checkout / CONFIGURATION, _CONFIGURATION)
        try:
            configured = json.loads(text)
        except ValueError:
            from asv.util import load_json

            configured = load_json(checkout / CONFIGURATION, js_comments=True)
    except (ResultsError, OSError, ValueError, RecursionError):
        configured = None
    name = configured.get("results_dir") if isinstance(configured, dict) else None
    return checkout / (name if isinstance(name, str) and name else "results")


def machine_folder(results: Path, machine: str) -> Path:
    """The folder of one machine's results, made if need be and tried: raises `ResultsError` if it cannot be written.
    What killed processes left there is collected."""
    folder = results / machine
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".writable-{os.getpid()}"
        trial.touch()
        trial.unlink()
        collect_leftovers(results)
        collect_leftovers(folder)
    except OSError as error:
        raise ResultsError(
            f"the results folder {folder} cannot be written: {error.strerror or error}. "
            "Give one that can with --results DIR."
        ) from None
    return folder


CONFIGURATION = "asv.conf.json"
_CONFIGURATION = FileKind("a configuration of asv", 2**20, "give one that asv can read", ResultsError)


@dataclass(frozen=True)
class CheckoutState:
    """The commit of a checkout (None without one), and whether tracked files differ from it."""

    commit: str | None = None
    dirty: bool | None = None


def find_checkout(start: Path) -> Path | None:
    """The folder at or above `start` where asv is configured."""
    return next((f for f in (start, *start.parents) if (f / CONFIGURATION).is_file()), None)


def checkout_state(checkout: Path | None) -> CheckoutState:
    """The state of `checkout` according to git; empty without a checkout, git or a commit."""
    if checkout is None or (commit := git(checkout, "rev-parse", "HEAD")) is None:
        return CheckoutState()
    changes = git(checkout, "status", "--porcelain", "--untracked-files=no")
    return CheckoutState(commit, changes != "")


def git(folder: Path, *words: str) -> str | None:
    """What git says in `folder`; None where it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except (OSError, ValueError):  # a ValueError is a word with a NUL in it
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A file to write to; it replaces `path` once it is whole and on disk. Raises `ResultsError` if that fails."""
    try:
        with scratch_folder(path.parent) as scratch:
            draft = scratch / path.name
            yield draft
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.replace(path)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror or error}.") from None
