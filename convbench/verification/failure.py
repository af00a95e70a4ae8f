"""What came of a question that a backend failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convbench.status import Status
from convbench.verification.question import Question


@dataclass(frozen=True)
class Failure:
    """A failure. `status` is wrong, crashed, timeout, out of memory or error.

    `check` says which test of the answer failed: "exact", "bound" or "special" for its numbers; "repeated call",
    "changed operands", "two threads", "inputs" for its behaviour; "relation NAME" for a metamorphic one; "output" when
    it was no array of the right shape and dtype; and "call" when there was no answer at all.
    """

    question: Question
    status: Status
    check: str
    reason: str
    element: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None
    error_over_bound: float | None = None


Ask = Callable[[Question], Failure | None]
"""Put a question to a backend; None when it passed."""
