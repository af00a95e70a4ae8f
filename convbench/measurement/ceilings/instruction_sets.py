"""The vector instructions of a CPU that the loops here use, and those that they do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from convbench.measurement.ceilings import aarch64, x86_64
from convbench.measurement.ceilings.machine_code import UNROLLED, Listing


class Architecture(Protocol):
    """The loops of an architecture, on vectors of `size` bytes: see the functions of `x86_64`."""

    def accumulators(self, size: int) -> int: ...
    def multiply_add_loop(self, dtype: str, size: int) -> Listing: ...
    def read_loop(self, size: int) -> Listing: ...
    def triad_loop(self, size: int) -> Listing: ...
    def count_loop(self) -> Listing: ...


@dataclass(frozen=True)
class InstructionSet:
    """Vectors of `vector_bytes`, and the dtypes that are multiplied and added in them."""

    name: str
    loops: Architecture
    vector_bytes: int
    dtypes: tuple[str, ...]

    @property
    def step_bytes(self) -> int:
        """Bytes per iteration of the loops over arrays."""
        return self.vector_bytes * UNROLLED


# Flags in /proc/cpuinfo.
_AVX512_HALVES = {"bfloat16": "avx512_bf16", "float16": "avx512_fp16"}
_FURTHER = {
    "amx_bf16": ("bfloat16", "AMX tiles"),
    "amx_fp16": ("float16", "AMX tiles"),
    "bf16": ("bfloat16", "Arm's BFDOT and BFMMLA"),
    "asimdhp": ("float16", "Arm's half-precision FMLA"),
}


def instruction_sets(architecture: str, flags: Iterable[str]) -> list[InstructionSet]:
    """Those with loops here, the widest vectors first; `architecture` as `platform.machine()` names it."""
    has = set(flags)
    sets = []
    if architecture in ("x86_64", "AMD64"):
        if "avx512f" in has:
            halves = tuple(dtype for dtype, flag in _AVX512_HALVES.items() if flag in has)
            sets.append(InstructionSet("AVX-512", x86_64, 64, ("float32", "float64", *halves)))
        if {"avx2", "fma"} <= has:
            sets.append(InstructionSet("AVX2", x86_64, 32, ("float32", "float64")))
    elif architecture in ("aarch64", "arm64"):
        sets.append(InstructionSet("NEON", aarch64, 16, ("float32", "float64")))
    return sets


def without_a_loop(flags: Iterable[str]) -> dict[str, str]:
    """The dtypes that the CPU multiplies with instructions that no loop here uses, and their names: for these it may be
    faster than any measured loop."""
    has = set(flags)
    return {dtype: name for flag, (dtype, name) in _FURTHER.items() if flag in has}
