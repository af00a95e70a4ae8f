"""How long to wait for an answer before a backend seems to hang: by the work asked for and by what was seen of it."""

from __future__ import annotations

from convbench.problem import ConvProblem

# So many times what the slowest answer lets expect, and at least so long.
_ROOM = 30.0
_LEAST_S = 5.0
_ANSWERS_THAT_TELL = 5


class Patience:
    """The seconds to wait for an answer, `limit_s` at most.

    A backend that answers quickly is not waited for so long. What is expected is its slowest answer so far, times how
    much more work the question is than the largest one answered. The first answers may compile or load something, and
    tell nothing yet.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._answers = 0
        self._slowest_s = 0.0
        self._most_work = 1.0

    def for_(self, problem: ConvProblem) -> float:
        """How long to wait for an answer to `problem`."""
        if self._answers < _ANSWERS_THAT_TELL:
            return self.limit_s
        expected_s = self._slowest_s * max(1.0, _work(problem) / self._most_work)
        return min(self.limit_s, max(_LEAST_S, _ROOM * expected_s))

    def learn(self, problem: ConvProblem, seconds: float) -> None:
        """Note that an answer to `problem` took so long."""
        self._answers += 1
        self._slowest_s = max(self._slowest_s, seconds)
        self._most_work = max(self._most_work, _work(problem))


def _work(problem: ConvProblem) -> float:
    """Multiplications, and bytes for what does little else than move them."""
    return float(problem.macs + problem.bytes)
