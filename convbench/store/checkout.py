"""The checkout around the working directory, which configures asv, and the commit that results belong to."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CONFIGURATION = "asv.conf.json"


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
    if checkout is None or (commit := _git(checkout, "rev-parse", "HEAD")) is None:
        return CheckoutState()
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return CheckoutState(commit, changes != "")


def _git(checkout: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
