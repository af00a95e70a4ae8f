"""Work that goes on after `sync` has returned: a backend that does not wait for its library would be timed at nothing.

Such an output is there when `to_numpy` has waited for it, or has computed it. On the CPU a second `to_numpy` of the
same output is faster by just that; what a conversion takes is in both. From a device of its own an output is brought to
the host, which a library may remember; there the output of another call, left alone for a while, is faster by what was
waited for. What is computed anew by each `to_numpy` is not found out here; `convbench verify` does that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from convbench.backend import Ready

_TRIES = 5
_LONGEST_CALL_S = 0.05
"""A longer call was waited for: what is not waited for returns at once."""
_SHARE, _LEAST_S = 0.5, 5e-5


class LateWorkError(RuntimeError):
    """`run` and `sync` return before the work is done."""


def refuse_late_work(ready: Ready, call_s: float, device: str = "cpu") -> None:
    """Raise `LateWorkError` where, in every one of a few tries, more than half of a call is left to `to_numpy`."""
    if call_s > _LONGEST_CALL_S:
        return
    beside_the_conversion = _over_a_second if device == "cpu" else _over_one_left_alone
    late_s = math.inf
    for _ in range(_TRIES):
        late_s = min(late_s, beside_the_conversion(ready))
        if late_s <= _SHARE * call_s + _LEAST_S:
            return
    raise LateWorkError(
        f"to_numpy waited {late_s * 1e3:.3g} ms for an output of run after sync had returned, and a call seems to "
        f"take {call_s * 1e3:.3g} ms: sync should wait until the work is done"
    )


def _over_a_second(ready: Ready) -> float:
    output = ready.run()
    ready.sync()
    return _seconds(lambda: ready.to_numpy(output)) - _seconds(lambda: ready.to_numpy(output))


def _over_one_left_alone(ready: Ready) -> float:
    output = ready.run()
    ready.sync()
    at_once_s = _seconds(lambda: ready.to_numpy(output))
    output = ready.run()
    ready.sync()
    time.sleep(at_once_s)  # as long as it may have had to wait
    return at_once_s - _seconds(lambda: ready.to_numpy(output))


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
