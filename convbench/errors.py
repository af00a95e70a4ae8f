"""Errors that are the user's to mend: a message of what was given, what was expected, what to type.

The command line prints the message alone and leaves with `exit_code`; anything else that is raised is a bug of
convbench's and says so.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConvbenchError(Exception):
    """What was asked cannot be done; the message is the whole answer. Exit code 2 unless a subclass says otherwise."""

    exit_code = 2


class ProblemError(ConvbenchError, ValueError):
    """A convolution that cannot be computed, or a text that names none."""


class SuiteError(ConvbenchError):
    """A suite that is not there or not well formed."""


class ModelError(ConvbenchError):
    """A model that is not there, cannot be loaded, or whose convolutions are not known before it runs."""


class BackendError(ConvbenchError):
    """A backend that is not there, or two of one name."""


class ResultsError(ConvbenchError):
    """A results folder or journal that cannot be read or written."""


class KnownWrongError(ConvbenchError):
    """A table of known wrong answers that is not there or not well formed."""


class PlanError(ConvbenchError, ValueError):
    """A plan that is not there, not well formed, or cannot be followed here."""


class NothingMeasuredError(ConvbenchError):
    """Nothing could be measured or compared: a missing answer is not a good answer."""

    exit_code = 3


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or an empty string when nothing known is close to what was given."""
    names = list(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    if not close:
        close = [n for n in names if given and n.lower().startswith(given.lower())][:1]
    return f" Did you mean {close[0]!r}?" if close else ""
