"""What a worker replies when something was raised: a status with a reason."""

from __future__ import annotations

import re
import traceback

from convbench.measurement.sampling.handing_over import NotApplicableError
from convbench.measurement.workers.messages import Failed
from convbench.status import Status
from convbench.verification.author_frames import author_frames, traceback_text, where_raised

_NO_MEMORY = re.compile("out of memory|can(?:no|')t allocate memory|not enough memory|resource_exhausted", re.I)


def failure_of(error: BaseException) -> Failed:
    """The reply to a request whose answer raised `error`, which is also printed, but where it is a refusal."""
    if isinstance(error, NotApplicableError):
        return Failed(status=Status.UNSUPPORTED, reason=str(error))
    traceback.print_exception(error)
    if isinstance(error, SystemExit):
        return Failed(status=Status.CRASHED, reason=f"called sys.exit({error.code!r})")
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or _NO_MEMORY.search(str(error)):
        return Failed(status=Status.OUT_OF_MEMORY, reason=f"raised {one_line(error)}")
    frames = author_frames(error)
    where = where_raised(frames)
    reason = f"raised {one_line(error)}{f' ({where})' if where else ''}"
    return Failed(status=Status.ERROR, reason=reason, where=where, traceback=traceback_text(frames, error))


def one_line(error: BaseException) -> str:
    """The error's type and message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__
