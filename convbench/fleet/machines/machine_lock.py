"""One thing is timed at a time on a machine, however many Dask workers run there and whoever started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from convbench.files.file_lock import file_lock

_LONGEST_S = 7 * 24 * 3600.0


@contextmanager
def machine_lock(path: str, waiting: Callable[[str], object]) -> Iterator[None]:
    """Hold this machine. The worker knows the path, because a process of convbench has a temporary folder of its own.
    It looks once a second, because looking more often would disturb what is being timed."""
    with file_lock(Path(path), _LONGEST_S, waiting, look_every_s=1.0):
        yield
