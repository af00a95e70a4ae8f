"""What the kernel tells in small files: text and whole numbers under a root, None where it does not tell.

The root is "/" but in tests. What stands in such a file is data from elsewhere: it may be missing, garbage or endless.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")
_MOST_CHARACTERS = 2**20
_MOST_DIGITS = 19  # of a 64-bit counter


def text(root: Path, path: str) -> str | None:
    """The stripped text of the file `path` (relative) under `root`; None when it cannot be read."""
    try:
        with (root / path).open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_CHARACTERS).strip()
    except (OSError, ValueError):
        return None


def number(root: Path, path: str) -> int | None:
    """The whole number that is all of a file."""
    return whole(text(root, path))


def whole(digits: str | None) -> int | None:
    """A whole number of at most 64 bits written out in ASCII digits, perhaps with a minus; None for anything else."""
    bare = (digits or "").removeprefix("-")
    return int(digits or "") if bare.isascii() and bare.isdigit() and len(bare) <= _MOST_DIGITS else None


def fields(told: str | None) -> dict[str, int]:
    """Lines of a name and a number, as in `cpu.stat`, `vmstat`; other lines are passed over."""
    pairs = (line.split() for line in (told or "").splitlines())
    found = {pair[0].rstrip(":"): whole(pair[1]) for pair in pairs if len(pair) >= 2}
    return {name: value for name, value in found.items() if value is not None}


def listed(told: str | None) -> frozenset[int]:
    """The CPUs of a list such as `0-3,8`; empty where it is none."""
    found: set[int] = set()
    for part in (told or "").split(","):
        first, _, last = part.strip().partition("-")
        low, high = whole(first), whole(last or first)
        if low is None or high is None or not 0 <= high - low < 2**16:
            return frozenset()
        found |= set(range(low, high + 1))
    return frozenset(found)
