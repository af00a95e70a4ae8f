"""Verdicts on the answers to one question, each answer judged once.

A backend gives the same bits in its further processes and after its last timed call, as a rule. The question is the
same too, so a verdict on those bits is known; any other answer is judged in full.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic
from convbench.verification.oracle import Judge
from convbench.verification.verdict import Verdict

_Answer = tuple[Arithmetic, str, tuple[int, ...], bytes]


class Verdicts:
    """Judges answers to `question`. Only of right ones it remembers the verdict, by a digest of all of their bytes."""

    def __init__(self, question: Judge) -> None:
        self._question = question
        self._known: dict[_Answer, Verdict] = {}

    def judge(self, arithmetic: Arithmetic, output: Any) -> Verdict:
        """The verdict on `output`, an array as a worker sent it or a word for what it sent instead."""
        if not isinstance(output, np.ndarray):
            return self._question.judge(arithmetic, output)
        answer = (arithmetic, output.dtype.str, output.shape, _digest(output))
        if (verdict := self._known.get(answer)) is None:
            verdict = self._question.judge(arithmetic, output)
            if verdict.passed:
                self._known[answer] = verdict
        return verdict


def _digest(output: NDArray[Any]) -> bytes:
    return blake2b(np.ascontiguousarray(output).reshape(-1).view(np.uint8).data).digest()
