"""The multiply-adds of a CPU: the vector instructions that every loop uses, and further ones for narrow formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from convbench.measurement.ceilings import aarch64, x86_64
from convbench.measurement.ceilings.machine_code import UNROLLED, Listing
from convbench.measurement.ceilings.products import Product


class Architecture(Protocol):
    """The loops of an architecture, on vectors of `size` bytes: see the functions of `x86_64`."""

    def accumulators(self, size: int) -> int: ...
    def multiply_add_loop(self, dtype: str, size: int) -> Listing: ...
    def read_loop(self, size: int) -> Listing: ...
    def triad_loop(self, size: int) -> Listing: ...
    def count_loop(self) -> Listing: ...


@dataclass(frozen=True)
class MultiplyAdd:
    """A loop of one multiply-add instruction: what each `product` computes, into how many registers of `sums`, and what
    its memory begins with (`header`). `on_tiles`: the system has to permit it first."""

    name: str
    product: Product
    sums: int
    listing: Callable[[], Listing]
    header: bytes = b""
    on_tiles: bool = False

    @property
    def dtype(self) -> str:
        """The dtype that is multiplied."""
        return self.product.multiplied

    @property
    def key(self) -> str:
        """What names it among all: the instructions and the dtype."""
        return f"{self.name}, {self.dtype}"


@dataclass(frozen=True)
class InstructionSet:
    """Vectors of `vector_bytes`, in which float32 and float64 are multiplied and added."""

    name: str
    loops: Architecture
    vector_bytes: int

    @property
    def step_bytes(self) -> int:
        """Bytes per iteration of the loops over arrays."""
        return self.vector_bytes * UNROLLED

    @property
    def multiply_adds(self) -> list[MultiplyAdd]:
        size = self.vector_bytes
        return [
            MultiplyAdd(
                name=self.name,
                product=Product(dtype, dtype, size),
                sums=self.loops.accumulators(size),
                listing=partial(self.loops.multiply_add_loop, dtype, size),
            )
            for dtype in ("float32", "float64")
        ]


_X86, _ARM = ("x86_64", "AMD64"), ("aarch64", "arm64")


def instruction_sets(architecture: str, flags: Iterable[str]) -> list[InstructionSet]:
    """Those with loops here, the widest vectors first; `architecture` as `platform.machine()` names it, `flags` as
    /proc/cpuinfo does."""
    has = set(flags)
    sets = []
    if architecture in _X86:
        if "avx512f" in has:
            sets.append(InstructionSet("AVX-512", x86_64, 64))
        if {"avx2", "fma"} <= has:
            sets.append(InstructionSet("AVX2", x86_64, 32))
    elif architecture in _ARM:
        sets.append(InstructionSet("NEON", aarch64, 16))
    return sets


def _tiles(dtype: str, summed: str) -> MultiplyAdd:
    return MultiplyAdd(
        name="AMX tiles",
        product=Product(dtype, summed, x86_64.TILE_BYTES, "tiles"),
        sums=x86_64.TILE_SUMS,
        listing=partial(x86_64.tile_loop, dtype),
        header=x86_64.TILE_CONFIGURATION,
        on_tiles=True,
    )


def _wide(name: str, dtype: str, summed: str) -> MultiplyAdd:
    sums = x86_64.accumulators(64)
    return MultiplyAdd(name, Product(dtype, summed, 64), sums, partial(x86_64.multiply_add_loop, dtype, 64))


def _arm(name: str, product: Product, operation: aarch64.Operation) -> MultiplyAdd:
    return MultiplyAdd(name, product, aarch64.accumulators(16), partial(aarch64.vector_loop, operation))


_SHORT_INT8 = MultiplyAdd(
    "AVX-VNNI",
    Product("int8", "int32", 32),
    x86_64.accumulators(32),
    partial(x86_64.vector_loop, x86_64.SHORT_INT8, 32),
)

FURTHER: tuple[tuple[tuple[str, ...], set[str], MultiplyAdd], ...] = (
    (_X86, {"avx512f", "avx512_bf16"}, _wide("AVX-512 BF16", "bfloat16", "float32")),
    (_X86, {"avx512f", "avx512_fp16"}, _wide("AVX-512 FP16", "float16", "float16")),
    (_X86, {"avx512f", "avx512_vnni"}, _wide("AVX-512 VNNI", "int8", "int32")),
    (_X86, {"avx_vnni"}, _SHORT_INT8),
    (_X86, {"amx_tile", "amx_bf16"}, _tiles("bfloat16", "float32")),
    (_X86, {"amx_tile", "amx_fp16"}, _tiles("float16", "float32")),
    (_X86, {"amx_tile", "amx_int8"}, _tiles("int8", "int32")),
    (_ARM, {"asimdhp"}, _arm("FMLA", Product("float16", "float16", 16), aarch64.MULTIPLY_ADD["float16"])),
    (_ARM, {"asimddp"}, _arm("SDOT", Product("int8", "int32", 16), aarch64.SDOT)),
    (_ARM, {"bf16"}, _arm("BFDOT", Product("bfloat16", "float32", 16), aarch64.BFDOT)),
    (_ARM, {"bf16"}, _arm("BFMMLA", Product("bfloat16", "float32", 16, "rows"), aarch64.BFMMLA)),
    (_ARM, {"i8mm"}, _arm("SMMLA", Product("int8", "int32", 16, "rows"), aarch64.SMMLA)),
)
"""Loops that not every CPU with those vectors has: the architectures, the flags that they need, and the loop."""

NARROW = ("bfloat16", "float16", "int8")
_WITHOUT_A_LOOP = {"sme": ("float32", *NARROW), "smef64f64": ("float64",)}


def further_multiply_adds(architecture: str, flags: Iterable[str]) -> list[MultiplyAdd]:
    """The loops for narrow formats that this CPU says it has; arguments as for `instruction_sets`."""
    has = set(flags)
    return [loop for machines, needed, loop in FURTHER if architecture in machines and needed <= has]


def without_a_loop(flags: Iterable[str]) -> dict[str, str]:
    """The dtypes that the CPU multiplies with instructions that no loop here uses, and their names: for these it may be
    faster than any measured loop. Where the system tells no flags, that may be all narrow formats."""
    has = set(flags)
    if not has:
        return dict.fromkeys(NARROW, "instructions that this system does not list")
    return {dtype: "Arm's SME" for flag, dtypes in _WITHOUT_A_LOOP.items() if flag in has for dtype in dtypes}
