"""A lock between processes: a file that exists while the lock is held, and says which process holds it.

Every wait has a limit and names the process that it waits for. The file system has to do no more than make a file once:
`flock` is missing on some (Lustre, FUSE). A holder on this machine that was killed is noticed by its number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from convbench.errors import LockedError
from convbench.files.user_file import FileKind, opened

_KIND = FileKind("a lock", 2**20, "remove it", LockedError)
SILENT_S = 2.0
"""How long a wait may last before anything is said."""


@contextmanager
def file_lock(
    path: Path, wait_s: float, waiting: Callable[[str], object], *, look_every_s: float = 0.05
) -> Iterator[None]:
    """Hold the lock. After `SILENT_S`, `waiting` is called with a sentence that names the holder.

    Raises `LockedError` when another process still holds it after `wait_s` seconds, and when `path` cannot be made.
    """
    from filelock import SoftFileLock, Timeout

    lock = SoftFileLock(path, poll_interval=look_every_s)
    try:
        try:
            lock.acquire(timeout=min(SILENT_S, wait_s))
        except Timeout:
            waiting(f"{_holder(path)} holds {path}: waiting for it, {wait_s:.0f} s at most.")
            lock.acquire(timeout=wait_s)
    except Timeout:
        held = f"{_holder(path)} holds {path}, and still did after {wait_s:.0f} s"
        raise LockedError(f"{held}; remove that file if there is no such process") from None
    except OSError as error:
        raise LockedError(f"the lock {path} cannot be made: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    """`Process 123 on HOST`, as far as the file tells it."""
    lines: list[str] = []
    with contextlib.suppress(LockedError), opened(path, _KIND) as file:
        lines = file.read(1024).decode(errors="replace").split("\n")
    return f"Process {lines[0]} on {lines[1]}" if len(lines) > 2 and lines[0].isdigit() else "Another process"
