"""Priority: whether timed calls run before the other programs of the machine.

On a busy machine a worker waits for a CPU between and within its calls. With real-time priority the scheduler runs it
first, by `SCHED_RR` at its lowest level (sched(7)): two processes of one backend then differ beside busy programs as
they do on an idle machine (`evaluation/accuracy/self_agreement.py --busy 4 --priority realtime`). Only timed calls have
it, all threads of the process together, and the run while it takes turns among its workers, which it otherwise wakes
much too late; preparing and verifying do not, and other programs get the CPU in between.
It does not help against other virtual machines of the same host. Only Linux has it here.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Literal

from convbench.errors import ConvbenchError
from convbench.measurement.machine.sysfs import ROOT, names

Priority = Literal["normal", "realtime"]


def refuse_impossible(priority: Priority) -> None:
    """Raise `ConvbenchError` where this process, and so a worker, may not have `priority`."""
    if priority == "normal":
        return
    if sys.platform != "linux":
        raise ConvbenchError("--priority is realtime, which convbench knows on Linux only; leave it out.")
    policy, level = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, _lowest())
        os.sched_setscheduler(0, policy, level)
    except OSError as error:
        raise ConvbenchError(
            f"--priority is realtime, and the system refuses it ({error.strerror}); leave it out, run as root, allow "
            "it with `ulimit -r 1`, or start the container with --cap-add=SYS_NICE."
        ) from None


@contextlib.contextmanager
def before_others(priority: Priority) -> Iterator[None]:
    """Meanwhile all threads of this process, and those that they start, have `priority`; afterwards they are scheduled
    as this thread was before. Where the system refuses, they stay as they are."""
    if priority == "normal" or sys.platform != "linux":
        yield
        return
    policy, level = os.sched_getscheduler(0), os.sched_getparam(0)
    _schedule(os.SCHED_RR, _lowest())
    try:
        yield
    finally:
        _schedule(policy, level)


def _lowest() -> os.sched_param:
    return os.sched_param(os.sched_get_priority_min(os.SCHED_RR))


def _schedule(policy: int, level: os.sched_param) -> None:
    for thread in names(ROOT, "proc/self/task"):
        with contextlib.suppress(OSError):  # the thread has ended
            os.sched_setscheduler(int(thread), policy, level)
