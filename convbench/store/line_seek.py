"""Lines of a file from any byte on, so that a large journal can be read in several places at once."""

from __future__ import annotations

from pathlib import Path
from typing import IO

BUFFER_BYTES = 1 << 20


def seek_line(file: IO[bytes], start: int) -> int:
    """Go to the first line that begins at byte `start` or after it; gives where that is."""
    if not start:
        return 0
    file.seek(start - 1)
    return start - 1 + len(file.readline())


def count_lines(path: Path, start: int, end: int) -> int:
    """How many lines of `path` end at byte `start` or after it, and before byte `end`."""
    lines, left = 0, end - start
    if not left:
        return 0
    with path.open("rb") as file:
        file.seek(start)
        while left > 0 and (piece := file.read(min(BUFFER_BYTES, left))):
            lines += piece.count(b"\n")
            left -= len(piece)
    return lines
