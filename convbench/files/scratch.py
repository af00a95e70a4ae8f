"""Scratch folders, beside the files that are made in them, and what processes that were killed left of them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_OURS = re.compile(r"\.(?:asv|convbench|new|writable)-(?:(?P<pid>\d+)-(?P<host>[0-9a-f]{8})-)?\w+")
_OLD_S = 3600.0


@contextmanager
def scratch_folder(folder: Path, kind: str = "convbench") -> Iterator[Path]:
    """A folder in `folder` that is gone at the end. Its name tells whose it is, for `collect_leftovers`."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{kind}-{os.getpid()}-{_host()}-") as scratch:
        yield Path(scratch)


def collect_leftovers(folder: Path) -> None:
    """Remove the scratch in `folder` of processes of this machine that have ended, and all that is older than an hour.
    Does nothing where that is not possible."""
    with suppress(OSError):
        for path in folder.iterdir():
            name = _OURS.fullmatch(path.name)
            if name is not None and (_has_ended(name) or time.time() - path.lstat().st_mtime > _OLD_S):
                _remove(path)


def _has_ended(name: re.Match[str]) -> bool:
    return name["host"] == _host() and not psutil.pid_exists(int(name["pid"]))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _host() -> str:
    return f"{zlib.crc32(platform.node().encode(errors='surrogateescape')):08x}"
