"""Detects work that goes on after `sync` has returned: a backend that does not wait would seem to take no time.

`to_numpy` then waits for such an output, or computes it. On the CPU, a second `to_numpy` of the same output is faster
by that wait, because both convert. From another device the output is copied to the host, which a library may cache;
there the output of another call, left alone for a while, is faster by the wait. An output that each `to_numpy` computes
anew is not detected here, but by `convbench verify`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from convbench.backend import Ready

_TRIES, _ENOUGH = 5, 2  # a single prompt output may be due to a second conversion that was delayed
_LONGEST_CALL_S = 0.05  # a longer call did wait, because a call that does not wait returns at once
_SHARE, _LEAST_S = 0.5, 5e-5


class SyncError(RuntimeError):
    """`run` and `sync` return before the work is done."""


def check_sync(
    ready: Ready, call_s: float, device: str = "cpu", clock: Callable[[], float] = time.perf_counter
) -> None:
    """Raise `SyncError` if, in all of a few tries but one, `to_numpy` waits for more than half of a call. Half of a
    conversion is allowed besides, because the first conversion of an output finds less of it in the caches."""
    if call_s > _LONGEST_CALL_S:
        return
    late_s: list[float] = []
    for done in range(1, _TRIES + 1):
        first_s, conversion_s = _convert_twice(ready, device, clock)
        if first_s - conversion_s > _SHARE * (call_s + conversion_s) + _LEAST_S:
            late_s.append(first_s - conversion_s)
        elif done - len(late_s) == _ENOUGH:
            return
    raise SyncError(
        f"to_numpy waited {median(late_s) * 1e3:.3g} ms for an output of run after sync had returned, and a call seems "
        f"to take {call_s * 1e3:.3g} ms: sync should wait until the work is done"
    )


def _convert_twice(ready: Ready, device: str, clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds of `to_numpy` of an output; then, on the CPU, of the same once more, or else of another that was left
    alone for as long as the first took."""
    output = ready.run()
    ready.sync()
    first_s = _seconds(lambda: ready.to_numpy(output), clock)
    if device != "cpu":
        output = ready.run()
        ready.sync()
        time.sleep(first_s)
    return first_s, _seconds(lambda: ready.to_numpy(output), clock)


def _seconds(act: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    act()
    return clock() - start
