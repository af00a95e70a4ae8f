"""Files that lines are appended to: journals, verification logs, the corpus, pairs of processes.

An interrupted write leaves a torn last line. Whatever is appended next begins on a line of its own, so one interrupt
costs one line at most.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

IsWhole = Callable[[bytes], bool]
"""Whether a last line, given without its line end, is all there."""


class JournalWarning(UserWarning):
    """Something in a file of lines is not what it should be. The message says what it is and where it is kept."""


def any_line(_: bytes) -> bool:
    """For files whose readers pass over what they cannot read: a last line is only ended, and stays."""
    return True


class LineFile:
    """A file that lines are appended to. A context manager; the file appears with the first line. A torn last line is
    set aside before that, unless `is_whole`."""

    def __init__(self, path: Path, is_whole: IsWhole = any_line) -> None:
        self.path = path
        self._is_whole = is_whole
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def write(self, lines: str, *, durable: bool = True) -> None:
        """Append lines, each with its line end; if `durable` they are on disk when this returns. Raises `OSError`."""
        if self._file is None:
            self._file = self._open()
            end_last_line(self.path, self._is_whole)
        self._file.write(lines)
        if durable:
            self._file.flush()
            os.fsync(self._file.fileno())

    def flush(self) -> None:
        """Hand over what was written to the system: it survives this process. Raises `OSError`."""
        if self._file is not None:
            self._file.flush()

    def _open(self) -> IO[str]:
        # A lone surrogate, as from a file name that is no UTF-8, becomes JSON's own escape for it.
        return self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n")


def end_last_line(path: Path, is_whole: IsWhole) -> Path | None:
    """End a last line that lacks its end, or, if it is torn, move it to a file beside this one. Gives that file, or
    None where nothing was moved."""
    if not path.is_file():
        return None  # such as a pipe, which has no end to look at
    with path.open("rb+") as file:
        content = file.read()
        end = content.rfind(b"\n") + 1
        torn = content[end:]
        if not torn:
            return None
        if is_whole(torn):
            file.write(b"\n")
            return None
        aside = path.with_suffix(".torn")
        with aside.open("ab") as kept:
            kept.write(torn + b"\n")
            kept.flush()
            os.fsync(kept.fileno())
        file.truncate(end)
    warnings.warn(
        f"{path.name} ended in an unfinished line of {len(torn)} bytes; it is kept in {aside.name}.",
        JournalWarning,
        stacklevel=2,
    )
    return aside
