"""Standard output and standard error as files that can always be written to.

Their encoding may lack characters, their reader may have gone, and the disk behind them may be full.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import IO, Any, TextIO, cast

from convbench.errors import OutputError, ReaderGoneError
from convbench.reporting.terminal_text import write_equivalents

_NARROWEST = 20
_color: ContextVar[str] = ContextVar("color", default="auto")


def set_color(when: str) -> None:
    """Colour output `always`, `never`, or with `auto` on a terminal."""
    _color.set(when)


def color_choice() -> bool | None:
    """Whether output has colours, as was set, or by NO_COLOR (https://no-color.org) and FORCE_COLOR, which say nothing
    when they are empty; None where the terminal or the notebook decides."""
    if (when := _color.get()) != "auto":
        return when == "always"
    return False if os.environ.get("NO_COLOR") else True if os.environ.get("FORCE_COLOR") else None


def open_standard_streams() -> None:
    """Open what the caller has closed (`>&-`) on the null device, before another file gets its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        write_equivalents(stream)


def width_of(stream: Any) -> int | None:
    """How many columns a person sees of `stream`: those of its terminal, or COLUMNS, which also holds for a pipe; None
    for a file or a pipe without it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) >= _NARROWEST:
        return int(columns)
    return max(_NARROWEST, shutil.get_terminal_size().columns) if stream.isatty() else None


class Output:
    """Standard output. What its reader no longer takes is dropped; the command goes on, because its exit code counts.

    Raises `OutputError` where it cannot be written for another reason, such as a full disk.
    """

    name = "standard output"

    def __init__(self, stream: TextIO | Output) -> None:
        self._stream: TextIO = stream._stream if isinstance(stream, Output) else stream
        self._error: OSError | None = None
        write_equivalents(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text != "":  # as libraries write to find out whether a stream is binary
            self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            discard(self._stream)
            self._error = error
        if self._error is not None:
            self.refuse(self._error)

    def refuse(self, error: OSError) -> None:
        """What a loss means to the command."""
        if not isinstance(error, BrokenPipeError):
            raise OutputError(f"{self.name} cannot be written: {error.strerror or error}.") from None


class Messages(Output):
    """Standard error. What cannot be written there is lost, and nothing else."""

    def refuse(self, error: OSError) -> None:
        pass


class Rows(Output):
    """Standard output for rows that are printed as they come. Raises `ReaderGoneError` when their reader is gone."""

    def refuse(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError("the reader of standard output has closed it.") from None
        super().refuse(error)


def as_file(output: Output) -> IO[str]:
    """`output`, for a caller that wants a file."""
    return cast("IO[str]", output)


def discard(stream: TextIO) -> None:
    """Lead all that is still to be written to `stream`, and what is in its buffer, to the null device."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
