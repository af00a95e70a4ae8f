"""A temporary folder for each child process, removed with it. Whatever still runs in it is ended as well.

TMPDIR of a child names its folder, and that of whatever the child starts names it too. All lie in one folder of this
process, which is locked for as long as this process lives. An unlocked folder was left by a process that was killed;
the next process that starts children removes it.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from convbench.measurement.machine.sysfs import ROOT, environments

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

VARIABLES = ("TMPDIR", "TEMP", "TMP")
PREFIX = "convbench-run-"
_LOCK = "lock"
_ABANDONED_S = 3600.0  # the age of a folder that was never locked
_SCANS = 5  # a process may start another while it is looked for

_numbers = itertools.count(1)
_one_at_a_time = threading.Lock()
_own: dict[int, Path] = {}
"""The folder of this process, by its id: a fork needs another."""


def new_folder() -> Path:
    """An empty folder for one child process. Raises `OSError` where there can be none."""
    folder = _folder_of_this_process() / str(next(_numbers))
    folder.mkdir(parents=True)  # a cleaner of old files may have removed it
    return folder


def remove(folder: Path) -> None:
    """End what runs in a child's folder, and remove it."""
    end_strays(folder)
    shutil.rmtree(folder, ignore_errors=True)


def end_strays(folder: Path) -> None:
    """End all processes that were started with this temporary folder, or one in it, whatever group and session they are
    in by now. Linux only."""
    if sys.platform != "linux":
        return
    for _ in range(_SCANS):
        strays = [pid for pid, environment in environments(ROOT) if _is_in(folder, environment)]
        if not (strays := [pid for pid in strays if pid != os.getpid()]):
            return
        for pid in strays:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def collect_abandoned(inside: Path) -> None:
    """Remove the folders in `inside` whose processes are gone, and end what runs in them."""
    with contextlib.suppress(OSError):
        for folder in inside.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if _is_abandoned(folder):
                    remove(folder)


def _folder_of_this_process() -> Path:
    with _one_at_a_time:
        if os.getpid() not in _own:
            inside = Path(tempfile.gettempdir())
            collect_abandoned(inside)
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=inside))
            _lock(folder)
            _own[os.getpid()] = folder
            atexit.register(_remove_own, os.getpid())
        return _own[os.getpid()]


def _remove_own(pid: int) -> None:
    if pid == os.getpid() and pid in _own:
        shutil.rmtree(_own.pop(pid), ignore_errors=True)


def _lock(folder: Path) -> None:
    """Hold a lock on `folder` until this process ends. The file is locked before it gets its name, so it never
    appears unlocked."""
    if fcntl is None:
        return
    unnamed = folder / f".{_LOCK}"
    file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # stays open
    with contextlib.suppress(OSError):  # some file systems know no locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(folder / _LOCK)


def _is_abandoned(folder: Path) -> bool:
    """Whether `folder` is this user's and unlocked. Raises `OSError` where that cannot be found out."""
    state = folder.lstat()
    if fcntl is None or folder.is_symlink() or state.st_uid != os.getuid():
        return False
    try:
        file = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - state.st_mtime > _ABANDONED_S
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(file)
    return True


def _is_in(folder: Path, environment: bytes) -> bool:
    inside = os.fsencode(f"TMPDIR={folder}")
    return any(v == inside or v.startswith(inside + b"/") for v in environment.split(b"\0"))
