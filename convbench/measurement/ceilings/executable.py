"""Machine code made callable, where the system lets a program write code for itself: never writable and executable."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

FORBIDDEN = "CONVBENCH_NO_MACHINE_CODE"
"""The environment variable that, when it is set, has convbench do without machine code of its own."""

_kept: list[mmap.mmap] = []  # code has to stay where it is for as long as it may be called


class RefusedError(Exception):
    """This machine does not run code that is written here; the message says why."""


def callable_code(code: bytes, result: type[Any] | None, *arguments: type[Any]) -> Callable[..., Any]:
    """The C function that `code` is, by its types in ctypes' words; while it runs, other Python threads run.

    Raises `RefusedError` where the system refuses, as a hardened one does, or is one whose ways are not known here.
    """
    if os.environ.get(FORBIDDEN):
        raise RefusedError(f"{FORBIDDEN} is set")
    if sys.platform not in ("linux", "darwin"):
        raise RefusedError(f"convbench has no machine code for {platform.system()}")
    private, writable = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
    memory = mmap.mmap(-1, len(code), flags=private, prot=writable)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    system = ctypes.CDLL(None, use_errno=True)
    size = -len(code) // mmap.PAGESIZE * -mmap.PAGESIZE
    if system.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
        raise RefusedError(f"the system does not let it be executed ({os.strerror(ctypes.get_errno())})")
    if sys.platform == "darwin":  # Linux does this itself when memory becomes executable
        system.sys_icache_invalidate(ctypes.c_void_p(address), ctypes.c_size_t(size))
    _kept.append(memory)
    return ctypes.CFUNCTYPE(result, *arguments)(address)
