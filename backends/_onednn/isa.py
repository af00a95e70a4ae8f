"""oneDNN's switch for instruction sets, which every library that has oneDNN inside obeys, too."""

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {
    "avx2": "AVX2",
    "avx512": "AVX512_CORE",
    "vnni": "AVX512_CORE_VNNI",
    "bf16": "AVX512_CORE_BF16",
    "amx": "AVX512_CORE_AMX",
}


def switches(**more: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`ONEDNN_MAX_CPU_ISA` for each word of `--isa`, with `more` variables for some of them."""
    return {isa: {"ONEDNN_MAX_CPU_ISA": word, **more.get(isa, {})} for isa, word in _WORDS.items()}
