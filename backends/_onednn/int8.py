"""How oneDNN computes with 8-bit integers, for all libraries that build on it."""

from __future__ import annotations

import os

from convbench.backend import QuantizedArithmetic

from .._vnni import cpu_lacks_vnni

_ISAS_WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")

# The zero point is added before the number is rounded. Without VNNI pairs of products are added in 16 bits, and where
# both operands are signed, the weights are halved: "Nuances of int8 computations" in oneDNN's developer guide.
_WITHOUT_VNNI = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _ISAS_WITHOUT_VNNI or cpu_lacks_vnni()
ARITHMETIC = QuantizedArithmetic("even-with-zero-point", saturates=_WITHOUT_VNNI, halves_weights=_WITHOUT_VNNI)
