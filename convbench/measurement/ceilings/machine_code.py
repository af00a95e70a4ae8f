"""Machine code: its bytes beside the assembly that an assembler can check them against, and how it becomes callable.

That needs the system's consent. Memory is never writable and executable at once.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

UNROLLED = 8  # vectors per iteration of the loops over arrays
ADDITIONS = 64  # per iteration of the loop that counts cycles


@dataclass(frozen=True)
class Instruction:
    """One instruction: its assembly, and its bytes."""

    text: str
    code: bytes


class Listing(tuple[Instruction, ...]):
    """Instructions in order."""

    @property
    def code(self) -> bytes:
        return b"".join(instruction.code for instruction in self)

    @property
    def text(self) -> str:
        return "\n".join(instruction.text for instruction in self)


def repeated(label: str, body: Iterable[Instruction], jump_back: Callable[[str, int], Instruction]) -> Listing:
    """`body`, then the jump to its start that `jump_back(label, distance)` gives; the distance in bytes is from the
    start of the jump to the label, so it is negative or 0."""
    body = Listing(body)
    return Listing((Instruction(f"{label}:", b""), *body, jump_back(label, -len(body.code))))


FORBIDDEN = "CONVBENCH_NO_MACHINE_CODE"
"""If this environment variable is set, convbench uses no machine code of its own."""

_kept: list[mmap.mmap] = []  # code must stay in place as long as it may be called


class RefusedError(Exception):
    """This machine does not run machine code from here; the message says why."""


def callable_code(code: bytes, result: type[Any] | None, *arguments: type[Any]) -> Callable[..., Any]:
    """`code` as a C function with these ctypes types; other Python threads run while it does. Raises `RefusedError`
    where the system refuses, as hardened ones do, or is not supported."""
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


_TILE_REQUEST = (158, 0x1023, 18)  # arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA: Linux on x86-64


def permit_tiles() -> None:
    """Ask Linux to let this process use AMX tiles, whose registers it does not save otherwise. Raises `RefusedError`
    where it does not."""
    system = ctypes.CDLL(None, use_errno=True)
    if sys.platform != "linux" or system.syscall(*map(ctypes.c_long, _TILE_REQUEST)):
        reason = os.strerror(ctypes.get_errno()) if sys.platform == "linux" else platform.system()
        raise RefusedError(f"the system does not permit AMX tiles ({reason})")
