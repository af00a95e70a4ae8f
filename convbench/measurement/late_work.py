"""Work that goes on after `sync` has returned: a backend that does not wait for its library would be timed at nothing.

Such an output is there when `to_numpy` has waited for it, or has computed it, and a second `to_numpy` of the same
output is faster by just that. What a conversion itself takes is in both. An output that is computed anew each time it
is converted is not found out here; `convbench verify` does that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from convbench.backend import Ready

_TRIES = 5
_LONGEST_CALL_S = 0.05
"""A longer call was waited for: what is not waited for returns at once."""
_SHARE, _LEAST_S = 0.5, 5e-5


class LateWorkError(RuntimeError):
    """`run` and `sync` return before the work is done."""


def refuse_late_work(ready: Ready, call_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
    """Raise `LateWorkError` where, in every one of a few tries, more than half of a call is left to `to_numpy`."""
    if call_s > _LONGEST_CALL_S:
        return
    late_s = min(_late_s(ready, clock) for _ in range(_TRIES))
    if late_s > _SHARE * call_s + _LEAST_S:
        raise LateWorkError(
            f"to_numpy waited {late_s * 1e3:.3g} ms for an output of run after sync had returned, and a call seems to "
            f"take {call_s * 1e3:.3g} ms: sync should wait until the work is done"
        )


def _late_s(ready: Ready, clock: Callable[[], float]) -> float:
    output: Any = ready.run()
    ready.sync()
    start = clock()
    ready.to_numpy(output)
    there = clock()
    ready.to_numpy(output)
    return (there - start) - (clock() - there)
