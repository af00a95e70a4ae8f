"""A question: a problem, and how it is put to a backend: the operands' values and memory layout, and the calls. And a
failure, when the answer is wrong or none.

A question has one line of text that names it whole, `n1c3h9w9_o4k3 wide sliced many seed=3`, defaults left out: the
corpus of failures is made of these lines, and `convbench verify --question` takes one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from convbench.errors import ProblemError, did_you_mean
from convbench.problem import ConvProblem
from convbench.status import Status

Values = Literal["integers", "normal", "positive", "wide", "one-tap", "special"]
Layout = Literal["contiguous", "channels-last", "sliced", "reversed", "misaligned", "read-only", "odd-strides"]
Calls = Literal["few", "many", "threads"]

VALUES: tuple[Values, ...] = get_args(Values)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
CALLS: tuple[Calls, ...] = get_args(Calls)
_LARGEST_SEED = 2**32


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a backend is asked.

    `values`: "integers" whose sums are exact in any order, so that the answer is; "normal", "positive" and "wide" (a
    dynamic range of many binades) real numbers, judged by the error bound; "one-tap" filters that pick one input
    element each, of full precision, so that operands rounded in secret show; "special": NaN and infinities placed.
    `layout`: how the arrays lie in memory; the numbers are the same. `calls`: a few, many, or from two threads at once.
    """

    problem: ConvProblem
    values: Values = "integers"
    layout: Layout = "contiguous"
    calls: Calls = "few"
    seed: int = 0

    def replace(self, **changes: Any) -> Self:
        """The same question with some parts changed."""
        return replace(self, **changes)

    def __str__(self) -> str:
        words = [self.problem.case_id]
        words += [getattr(self, f.name) for f in fields(self)[1:4] if getattr(self, f.name) != f.default]
        return " ".join([*words, f"seed={self.seed}"] if self.seed else words)

    @classmethod
    def parse(cls, text: str) -> Question:
        """The question that `text` names: a problem in any form that `ConvProblem.parse` reads, then words.

        Raises `ProblemError` when it names none.
        """
        problem, *words = text.split() or [""]
        parts: dict[str, Any] = {}
        while words and (known := _part(words[-1])) is not None:
            parts |= known
            words.pop()
        if words and "_" in problem and "(" not in text:
            known_words = [*VALUES, *LAYOUTS, *CALLS]
            raise ProblemError(
                f"{words[0]!r} in the question {text!r} is none of its words: {', '.join(known_words)}, seed=N."
                f"{did_you_mean(words[0], known_words)}"
            )
        return cls(problem=ConvProblem.parse(" ".join([problem, *words])), **parts)


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
    kernel: str | None = None
    """The library's name of the kernel that answered, where the backend tells it (`Ready.kernel`)."""
    where: str | None = None
    """Of an exception, the file, line and function of the backend's author; `traceback` has the frames."""
    traceback: str = ""


Ask = Callable[[Question], Failure | None]
"""Put a question to a backend; None when it passed."""


def _part(word: str) -> dict[str, Any] | None:
    for name, known in (("values", VALUES), ("layout", LAYOUTS), ("calls", CALLS)):
        if word in known:
            return {name: word}
    key, _, number = word.partition("=")
    if key == "seed" and number.isascii() and number.isdigit() and int(number[:12]) < _LARGEST_SEED:
        return {"seed": int(number)}
    return None
