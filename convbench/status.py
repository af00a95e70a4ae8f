"""The outcomes of a (backend, case) pair, each with the sentence that explains it."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """How one pair ended. The value is the word in records and tables."""

    OK = "ok"
    WRONG = "wrong"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out of memory"
    ERROR = "error"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]

    @property
    def is_failure(self) -> bool:
        """Whether this outcome gives exit code 1: something is broken, and not only missing."""
        return self in (Status.WRONG, Status.CRASHED, Status.ERROR)


_SENTENCES = {
    Status.OK: "right, and timed",
    Status.WRONG: "computed a wrong answer, so it was not timed",
    Status.UNSUPPORTED: "declares that it does not compute this problem",
    Status.UNAVAILABLE: "cannot run on this machine",
    Status.TIMEOUT: "did not finish within the time limit",
    Status.CRASHED: "ended its process",
    Status.OUT_OF_MEMORY: "asked for more memory than there is",
    Status.ERROR: "raised an exception, which is a bug in the backend or its library",
}
