"""The only reader of the kernel's small files in /proc and /sys: text, whole numbers, lists; None if unknown.

`root` is "/" except in tests. Such a file is foreign data: it may be missing, garbage or endless.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
_MOST_CHARACTERS = 2**20
_MOST_DIGITS = 19  # of a 64-bit counter
_MOST_CPUS = 2**16


def text(root: Path, path: str) -> str | None:
    """The stripped text of the file `path` (relative) under `root`; None if it cannot be read."""
    try:
        with (root / path).open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_CHARACTERS).strip()
    except (OSError, ValueError):
        return None


def number(root: Path, path: str) -> int | None:
    """The whole number in a file that contains nothing else."""
    return whole(text(root, path))


def first_match(root: Path, path: str, pattern: str) -> str | None:
    """The first group of `pattern`, in which ^ and $ match at lines, where a file has it."""
    match = re.search(pattern, text(root, path) or "", re.MULTILINE)
    return match[1].strip() if match else None


def names(root: Path, folder: str) -> list[str]:
    """What a folder contains, sorted; nothing if it cannot be read."""
    try:
        return sorted(path.name for path in (root / folder).iterdir())
    except (OSError, ValueError):
        return []


def environments(root: Path) -> Iterator[tuple[int, bytes]]:
    """The processes whose environments this user may read, with the variables that each was started with."""
    for name in names(root, "proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), (root / "proc" / name / "environ").open("rb", buffering=0) as file:
                yield int(name), file.read(_MOST_CHARACTERS) or b""


def write(root: Path, path: str, value: str) -> None:
    """Write to a file, if the system lets this process."""
    with contextlib.suppress(OSError):
        (root / path).write_text(value, encoding="ascii")


def whole(digits: str | None) -> int | None:
    """A whole number of at most 64 bits in ASCII digits, perhaps with a minus; None for anything else."""
    bare = (digits or "").removeprefix("-")
    return int(digits or "") if bare.isascii() and bare.isdigit() and len(bare) <= _MOST_DIGITS else None


def numbers(content: str | None) -> dict[str, int]:
    """The numbers by name in lines such as those of `cpu.stat`, `vmstat` or `status`; other lines are skipped."""
    pairs = (line.split() for line in (content or "").splitlines())
    values = {pair[0].rstrip(":"): whole(pair[1]) for pair in pairs if len(pair) >= 2}
    return {name: value for name, value in values.items() if value is not None}


def cpu_list(content: str | None) -> frozenset[int]:
    """The CPUs of a list such as `0-3,8`; empty for anything else."""
    cpus: set[int] = set()
    for part in (content or "").split(","):
        first, _, last = part.strip().partition("-")
        low, high = whole(first), whole(last or first)
        if low is None or high is None or not 0 <= high - low < _MOST_CPUS or (not last and "-" in part):
            return frozenset()
        cpus |= set(range(low, high + 1))
    return frozenset(cpus)
