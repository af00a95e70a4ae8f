"""The checkout one stands in, where asv is configured, and the commit that results belong to."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CONFIGURATION = "asv.conf.json"


@dataclass(frozen=True)
class CheckoutState:
    """The commit a checkout stands at, None where there is none, and whether tracked files differ from it."""

    commit: str | None = None
    dirty: bool | None = None


def find_checkout(start: Path) -> Path | None:
    """The folder at or above `start` where asv is configured."""
    return next((f for f in (start, *start.parents) if (f / CONFIGURATION).is_file()), None)


def checkout_state(checkout: Path | None) -> CheckoutState:
    """What git says of `checkout`; nothing where there is no checkout, no git or no commit."""
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
