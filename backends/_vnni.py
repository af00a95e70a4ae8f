"""Whether this CPU adds four products of 8 bits to 32 bits in one instruction.

Where an x86 CPU does not, libraries multiply u8 by s8 with `vpmaddubsw`, which clamps the sum of two products to 16
bits.
"""

from __future__ import annotations

from pathlib import Path

_SUCH_INSTRUCTIONS = {"avx512_vnni", "avx_vnni", "avx_vnni_int8"}


def cpu_lacks_vnni() -> bool:
    """Whether this is an x86 CPU with AVX2 and without VNNI; false where nobody can tell."""
    try:
        return lacks_vnni(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False


def lacks_vnni(cpuinfo: str) -> bool:
    """The same for the CPU that Linux describes by this text."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((set(words.split()) for name, _, words in lines if name.strip() == "flags"), set())
    return "avx2" in flags and not flags & _SUCH_INSTRUCTIONS
