"""The one way to open a file that the user names, or that lies where a user may put it.

Anything may lie under a path: a named pipe without a writer, a device without end, a file of many gigabytes, a
loop of links. Only a regular file of a reasonable size is opened. Everything else ends in a sentence, in the error of
its kind.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from convbench.errors import ConvbenchError

_OTHER_THAN_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_MIB = 2**20


@dataclass(frozen=True)
class FileKind:
    """What a file should be: its `name` ("a suite"), its largest size, what to type (an imperative, "give the path of
    a suite's TOML file"), and the error of a file that is something else."""

    name: str
    most_bytes: int
    remedy: str
    error: type[ConvbenchError]

    def refused(self, path: str | os.PathLike[str], fault: object) -> ConvbenchError:
        """The error for `path`, from the clause `fault`: path, fault, remedy."""
        return self.error(f"{os.fspath(path)}: {str(fault).rstrip('.')}; {self.remedy}.")


@contextmanager
def opened(path: str | os.PathLike[str], kind: FileKind, buffering: int = -1) -> Iterator[BinaryIO]:
    """The file `path`, open for reading bytes. Never waits, not even for the writer of a pipe.

    Raises the error of `kind` for a missing file, for what is no regular file, for one of more than `most_bytes`, and
    for every `OSError` of the system, those while the file is read included.
    """
    try:
        _check(Path(path).stat(), path, kind)  # opening a device may already do something
        with open(path, "rb", buffering, opener=_without_waiting) as file:
            _check(os.fstat(file.fileno()), path, kind)
            yield file
    except FileNotFoundError:
        raise kind.refused(path, "there is no such file") from None
    except OSError as error:
        raise kind.refused(path, f"this cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        if isinstance(error, ConvbenchError) or not _is_impossible(path):
            raise
        raise kind.refused(ascii(os.fspath(path)), "no file can have this name") from None


def read_bytes(path: str | os.PathLike[str], kind: FileKind) -> bytes:
    """The content of a file. Raises the error of `kind`, as `opened` does."""
    with opened(path, kind) as file:
        content = file.read(kind.most_bytes + 1)  # it may grow, or not know its size, as those in /proc
        if len(content) > kind.most_bytes:
            raise _too_large(path, kind, "more")
        return content


def read_text(path: str | os.PathLike[str], kind: FileKind, encoding: str = "utf-8") -> str:
    """The content of a text file, its line ends as they are. Raises the error of `kind`, also for another encoding."""
    try:
        return read_bytes(path, kind).decode(encoding)
    except UnicodeDecodeError as error:
        raise kind.refused(path, f"this cannot be read as a text in {encoding.upper()}: {error}") from None


def check_regular(path: str | os.PathLike[str], kind: FileKind) -> Path:
    """The path of a file that another library will open. Raises the error of `kind`, as `opened` does."""
    with opened(path, kind):
        return Path(path)


def real_path(path: str | os.PathLike[str]) -> Path:
    """The absolute path without links. Unlike `Path.resolve` it takes any name, and loops of links as they are."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # no file can have this name
        return Path(path)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def _check(status: os.stat_result, path: str | os.PathLike[str], kind: FileKind) -> None:
    if not stat.S_ISREG(status.st_mode):
        name = next((name for matches, name in _OTHER_THAN_FILES if matches(status.st_mode)), "no regular file")
        raise kind.refused(path, f"this is {name}")
    if status.st_size > kind.most_bytes:
        raise _too_large(path, kind, f"{status.st_size:,} bytes")


def _too_large(path: str | os.PathLike[str], kind: FileKind, size: str) -> ConvbenchError:
    return kind.refused(path, f"{kind.name} has at most {kind.most_bytes // _MIB:,} MiB, and this has {size}")


def _is_impossible(path: str | os.PathLike[str]) -> bool:
    """Whether no file can have this name: a NUL in it, or characters that the file system's encoding lacks."""
    try:
        return b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        return True
