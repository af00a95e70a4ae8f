"""Backends for a race: each is the reference, and then takes a known time. A plugin file, as anybody's would be."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem

CALL_S = 0.004
_ALL = Supports(dtypes={"float32"})


class Racer(Backend):
    """Right, in `times` times the time of the fastest; `act` spoils that."""

    supports = _ALL
    arithmetic = Arithmetic("direct")

    def __init__(self, name: str, times: float, act: Callable[[Any], Any] | None = None, after: int = 0) -> None:
        self.name, self.times, self.act, self.after, self.calls = name, times, act, after, 0

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        output = convolve(problem, x, w, b).astype(x.dtype)

        def run() -> Any:
            time.sleep(CALL_S * self.times)  # needs no CPU, of which a busy machine has none to spare
            self.calls += 1
            answer = output.copy()  # of its own, as whoever computes would have it
            return self.act(answer) if self.act is not None and self.calls > self.after else answer

        return Ready(run)


class Rounding(Racer):
    arithmetic = Arithmetic("direct", operand="bfloat16")


class Narrow(Racer):
    """Computes 3x3 only."""

    def unsupported(self, problem: ConvProblem) -> str | None:
        return None if problem.kernel_size == (3, 3) else "computes 3x3 only"


class FastOnLargeImages(Racer):
    """As fast as "one" where there are more than 8 rows, and elsewhere far slower than "six": a busy machine must not
    swap the two, because the race leaves out the last."""

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        self.times = {6: 15.0, 7: 20.0}.get(problem.height, 1.0)
        return super().prepare(problem, x, w, b)


BACKENDS = (
    Racer("one", 1.0),
    Racer("one-more", 1.0),
    Racer("two", 2.0),
    Racer("six", 6.0),
    Racer("wrong", 0.1, lambda y: y + 1),
    Racer("wrong-later", 0.1, lambda y: y + 1, after=6),  # judged twice before it is timed
    Racer("crashes", 1.0, lambda y: ctypes.string_at(0)),
    Racer("hangs", 1.0, lambda y: time.sleep(3600)),
    Rounding("rounds", 0.5),
    Narrow("narrow", 0.5),
    FastOnLargeImages("late", 15.0),
)
