"""Errors that the user can fix. The message says what was given, what was expected, and what to type.

The command line prints the message alone and exits with `exit_code`. Any other exception is a bug in convbench, and is
reported as one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConvbenchError(Exception):
    """A request that cannot be fulfilled. The exit code is 2, unless a subclass has another."""

    exit_code = 2


class ProblemError(ConvbenchError, ValueError):
    """A convolution that cannot be computed, or a text that names no convolution."""


class SuiteError(ConvbenchError):
    """A suite that does not exist, or is not well formed."""


class PictureError(ConvbenchError):
    """A photograph or a kernel that cannot be read."""


class FigureError(ConvbenchError):
    """A figure that cannot be drawn here, or cannot be saved under that name."""


class ModelError(ConvbenchError):
    """A model that does not exist, cannot be loaded, or has convolutions that are known only when it runs."""


class BackendError(ConvbenchError):
    """A backend that does not exist, or two of the same name."""


class IsaError(ConvbenchError):
    """An instruction set that is not known, or that this CPU does not have."""


class DataError(ConvbenchError):
    """Data to time that are not known or cannot be read."""


class ResultsError(ConvbenchError):
    """A results folder or journal that cannot be read or written."""


class KnownWrongError(ConvbenchError):
    """A table of known wrong answers that is not there or not well formed."""


class PlanError(ConvbenchError, ValueError):
    """A plan that does not exist, is not well formed, or cannot be followed here."""


class NothingMeasuredError(ConvbenchError):
    """Nothing could be measured or compared. A missing answer is not a good answer."""

    exit_code = 3


class FleetError(ConvbenchError):
    """A cluster that cannot be reached or trusted, or that has no machine for what is to be done."""


class LockedError(ConvbenchError):
    """Another process holds what is needed, and did so for longer than one waits."""


class OutputError(ConvbenchError):
    """Standard output cannot be written, and the answer is lost."""

    exit_code = 74


class ReaderGoneError(OutputError):
    """The reader of rows that are printed as they come has closed its end, as `head` does. Nothing is said."""

    exit_code = 141  # as a shell gives it for a program that SIGPIPE ended


BUG_EXIT_CODE = 70
"""Of an exception that is no `ConvbenchError`: a bug in convbench. No answer of a command has it."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or an empty string when no known name is close to `word`."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not close:
        close = [n for n in names if word and n.lower().startswith(word.lower())][:1]
    return f" Did you mean {close[0]!r}?" if close else ""
