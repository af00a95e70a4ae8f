"""How oneDNN computes with 8-bit integers, for all libraries that build on it."""

from __future__ import annotations

import os
from pathlib import Path

from convbench.backend import QuantizedArithmetic


def _has_vnni() -> bool:
    """Whether oneDNN will use instructions that add four products of 8 bits to 32 bits; true where nobody can tell."""
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ("SSE41", "AVX", "AVX2", "AVX512_CORE"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    return " avx2 " not in flags or any(f" {name} " in flags for name in ("avx512_vnni", "avx_vnni"))


# The zero point is added before the number is rounded. Without VNNI pairs of products are added in 16 bits, and where
# both operands are signed, the weights are halved: "Nuances of int8 computations" in oneDNN's developer guide.
_WITHOUT_VNNI = not _has_vnni()
ARITHMETIC = QuantizedArithmetic("even-with-zero-point", saturates=_WITHOUT_VNNI, halves_weights=_WITHOUT_VNNI)
