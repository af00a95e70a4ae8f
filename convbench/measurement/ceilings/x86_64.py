"""x86-64 machine code of the loops that measure what a CPU can do, from a small assembler of just their instructions.

Each loop is a C function of the System V calling convention (Linux and macOS; Windows passes arguments in other
registers). Encodings are those of Intel's Software Developer's Manual, volume 2: section 2.3 for VEX, 2.7 for EVEX, and
the pages of the instructions. In tests another assembler assembles the text of each loop, and the bytes are compared.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import partial

from convbench.measurement.ceilings.machine_code import ADDITIONS, UNROLLED, Instruction, Listing, repeated

_GENERAL = tuple("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split())
_NONE, _66, _F3, _F2 = 0, 1, 2, 3  # prefixes, as VEX and EVEX number them
_0F, _0F38, _MAP6 = 1, 2, 6  # opcode maps, likewise


@dataclass(frozen=True)
class Memory:
    """The operand at `base + index + displacement`, the registers by name."""

    base: str
    displacement: int = 0
    index: str | None = None

    def __str__(self) -> str:
        return f"[{' + '.join(str(part) for part in (self.base, self.index, self.displacement) if part)}]"

    def encoded(self, register: int, scale: int) -> bytes:
        """ModRM, SIB and displacement, `register` being the other operand; a displacement of one byte counts in units
        of `scale` bytes."""
        base, index = _GENERAL.index(self.base), _GENERAL.index(self.index) if self.index else None
        small, odd = divmod(self.displacement, scale)
        if not self.displacement and base & 7 != 5:  # for rbp and r13 that would mean something else
            mode, displacement = 0, b""
        elif not odd and -128 <= small < 128:
            mode, displacement = 1, struct.pack("b", small)
        else:
            mode, displacement = 2, struct.pack("<i", self.displacement)
        low = (register & 7) << 3
        if index is None and base & 7 != 4:
            return bytes([mode << 6 | low | base & 7]) + displacement
        return bytes([mode << 6 | low | 4, (4 if index is None else index & 7) << 3 | base & 7]) + displacement


@dataclass(frozen=True)
class Operation:
    """A vector instruction: its name, opcode and prefixes, and whether only AVX-512 has it."""

    name: str
    opcode: int
    map: int = _0F
    prefix: int = _NONE
    wide: int = 0
    evex_only: bool = False


LOAD = Operation("vmovups", 0x10)
STORE = Operation("vmovups", 0x11)
ADD = Operation("vaddps", 0x58)
MULTIPLY_ADD = {
    "float32": Operation("vfmadd231ps", 0xB8, _0F38, _66),
    "float64": Operation("vfmadd231pd", 0xB8, _0F38, _66, wide=1),
    "float16": Operation("vfmadd231ph", 0xB8, _MAP6, _66, evex_only=True),
    "bfloat16": Operation("vdpbf16ps", 0x52, _0F38, _F3, evex_only=True),
    "int8": Operation("vpdpbusd", 0x50, _0F38, _66, evex_only=True),  # the first factor is unsigned
}
SHORT_INT8 = Operation("{vex} vpdpbusd", 0x50, _0F38, _66)
"""The same without AVX-512, which the assembler has to be asked for."""
TILE_PRODUCT = {
    "bfloat16": Operation("tdpbf16ps", 0x5C, _0F38, _F3),
    "float16": Operation("tdpfp16ps", 0x5C, _0F38, _F2),
    "int8": Operation("tdpbssd", 0x5E, _0F38, _F2),
}


def vector(operation: Operation, size: int, register: int, *sources: int | Memory) -> Instruction:
    """`operation` on vectors of `size` bytes, 32 or 64: the target, then sources, the last of which may be in memory. A
    store writes `register` to its memory operand."""
    second, last = sources if len(sources) == 2 else (None, sources[0])
    assert second is None or isinstance(second, int)
    code = (_evex if size == 64 or operation.evex_only else _vex)(operation, size, register, second or 0, last)
    prefix = {32: "ymm", 64: "zmm"}[size]
    operands = [f"{prefix}{o}" if isinstance(o, int) else f"{prefix}word ptr {o}" for o in (register, *sources)]
    return Instruction(f"{operation.name} {', '.join(reversed(operands) if operation is STORE else operands)}", code)


def _extension(last: int | Memory) -> tuple[int, int]:
    """The bits X and B of the last operand, which are not in its ModRM and SIB bytes."""
    if isinstance(last, int):
        return last >> 4 & 1, last >> 3 & 1
    return (_GENERAL.index(last.index) >> 3 if last.index else 0), _GENERAL.index(last.base) >> 3


def _operands(register: int, last: int | Memory, scale: int) -> bytes:
    if isinstance(last, Memory):
        return last.encoded(register, scale)
    return bytes([0xC0 | (register & 7) << 3 | last & 7])


def _vex(operation: Operation, size: int, register: int, second: int, last: int | Memory) -> bytes:
    x, b = _extension(last)
    r, length = register >> 3 & 1, int(size == 32)
    tail = (~second & 15) << 3 | length << 2 | operation.prefix
    if operation.map == _0F and not (x or b or operation.wide):
        head = bytes([0xC5, (r ^ 1) << 7 | tail])
    else:
        first = (r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | operation.map
        head = bytes([0xC4, first, operation.wide << 7 | tail])
    return head + bytes([operation.opcode]) + _operands(register, last, 1)


def _evex(operation: Operation, size: int, register: int, second: int, last: int | Memory) -> bytes:
    x, b = _extension(last)
    r, r_high = register >> 3 & 1, register >> 4 & 1
    first = (r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | (r_high ^ 1) << 4 | operation.map
    middle = operation.wide << 7 | (~second & 15) << 3 | 1 << 2 | operation.prefix
    length = {32: 1, 64: 2}[size] << 5 | (~second >> 4 & 1) << 3
    return bytes([0x62, first, middle, length, operation.opcode]) + _operands(register, last, size)


# --- the few instructions on general registers ------------------------------------------------------------------------

_RETURN = Instruction("ret", b"\xc3")
_DONE = (Instruction("vzeroupper", b"\xc5\xf8\x77"), _RETURN)
_ZERO_RAX = Instruction("xor eax, eax", b"\x31\xc0")
_NEXT = Instruction("dec rdi", b"\x48\xff\xcf")
_ADD_RSI = Instruction("add rax, rsi", b"\x48\x01\xf0")
_AT_END = Instruction("cmp rax, rsi", b"\x48\x39\xf0")


def _advance(size: int) -> Instruction:
    assert size > 127, "a shorter step has a shorter encoding"
    return Instruction(f"add rax, {size}", b"\x48\x05" + struct.pack("<i", size))


def _jump(name: str, condition: int, label: str, distance: int) -> Instruction:
    if distance - 2 >= -128:
        return Instruction(f"{name} {label}", bytes([0x70 | condition]) + struct.pack("b", distance - 2))
    return Instruction(f"{name} {label}", bytes([0x0F, 0x80 | condition]) + struct.pack("<i", distance - 6))


_while_not_zero, _while_below = partial(_jump, "jne", 5), partial(_jump, "jb", 2)


# --- the loops --------------------------------------------------------------------------------------------------------


def accumulators(size: int) -> int:
    """Sums that a multiply-add loop keeps in registers: enough that none waits for another, beside two operands."""
    return 24 if size == 64 else 12


def multiply_add_loop(dtype: str, size: int) -> Listing:
    """void f(int64 iterations, void *block): each iteration adds a * b once to every accumulator. `block` holds vectors
    of `size` bytes: a, b, then `accumulators(size)` sums, which are read and written back."""
    return vector_loop(MULTIPLY_ADD[dtype], size)


def vector_loop(operation: Operation, size: int) -> Listing:
    """The loop of `multiply_add_loop` with that instruction."""
    places = [(register, Memory("rsi", size * register)) for register in range(2 + accumulators(size))]
    body = [vector(operation, size, register, 0, 1) for register, _ in places[2:]]
    return Listing(
        (
            *(vector(LOAD, size, *place) for place in places),
            *repeated(".Lagain", [*body, _NEXT], _while_not_zero),
            *(vector(STORE, size, *place) for place in places[2:]),
            *_DONE,
        )
    )


TILE_BYTES = 1024
TILE_SUMS = 6  # a product of tiles takes 52 cycles, and another one may begin after 16
_TILE_ROW_BYTES = 64
TILE_CONFIGURATION = bytes(
    [1, *[0] * 15, *[_TILE_ROW_BYTES, 0] * 8, *[0] * 16, *[TILE_BYTES // _TILE_ROW_BYTES] * 8, *[0] * 8]
)
"""Palette 1; then the bytes of a row and the rows of each of the eight tiles."""


def tile_loop(dtype: str) -> Listing:
    """void f(int64 iterations, void *block): as `multiply_add_loop`, on tiles. `block` holds `TILE_CONFIGURATION`, then
    tiles: a, b, and `TILE_SUMS` sums."""
    at = Memory("rsi", len(TILE_CONFIGURATION), "rax")
    places = [(tile, replace(at, displacement=at.displacement + TILE_BYTES * tile)) for tile in range(2 + TILE_SUMS)]
    body = [_tiles(TILE_PRODUCT[dtype], tile, 0, 1) for tile, _ in places[2:]]
    return Listing(
        (
            _tile_memory(Operation("ldtilecfg", 0x49, _0F38), 0, Memory("rsi")),
            Instruction(f"mov eax, {_TILE_ROW_BYTES}", b"\xb8" + struct.pack("<i", _TILE_ROW_BYTES)),
            *(_tile_memory(Operation("tileloadd", 0x4B, _0F38, _F2), *place) for place in places),
            *repeated(".Lagain", [*body, _NEXT], _while_not_zero),
            *(_tile_memory(Operation("tilestored", 0x4B, _0F38, _F3), *place) for place in places[2:]),
            Instruction("tilerelease", b"\xc4\xe2\x78\x49\xc0"),
            _RETURN,
        )
    )


def _tiles(operation: Operation, target: int, first: int, second: int) -> Instruction:
    """target += first * second."""
    text = f"{operation.name} tmm{target}, tmm{first}, tmm{second}"
    return Instruction(text, _vex(operation, 0, target, second, first))


def _tile_memory(operation: Operation, tile: int, memory: Memory) -> Instruction:
    """Load or store `tile`, or load the configuration of all."""
    special = {"ldtilecfg": f"{memory}", "tilestored": f"{memory}, tmm{tile}"}
    operands = special.get(operation.name, f"tmm{tile}, {memory}")
    return Instruction(f"{operation.name} {operands}", _vex(operation, 0, tile, 0, memory))


def read_loop(size: int) -> Listing:
    """void f(int64 passes, int64 bytes, void *source, void *block): adds all of `source`, as float32, to eight vectors
    of sums in `block`, `passes` times over; `bytes` is a multiple of a step of `UNROLLED` vectors."""
    places = [(i, Memory("rcx", size * i)) for i in range(UNROLLED)]
    add = [vector(ADD, size, i, i, Memory("rdx", size * i, "rax")) for i in range(UNROLLED)]
    loads, stores = ([vector(operation, size, *place) for place in places] for operation in (LOAD, STORE))
    return Listing((*loads, *_passes(add, size), *stores, *_DONE))


def triad_loop(size: int) -> Listing:
    """void f(int64 passes, int64 bytes, void *target, void *one, void *other, void *factors): target = one + factor *
    other in float32, `passes` times over; `bytes` of each array, as for `read_loop`; `factors` is one vector."""
    body: list[Instruction] = []
    for i in range(UNROLLED):
        one, other, target = (Memory(base, size * i, "rax") for base in ("rcx", "r8", "rdx"))
        body.append(vector(LOAD, size, i, one))
        body.append(vector(MULTIPLY_ADD["float32"], size, i, 15, other))
        body.append(vector(STORE, size, i, target))
    return Listing((vector(LOAD, size, 15, Memory("r9")), *_passes(body, size), *_DONE))


def _passes(body: list[Instruction], size: int) -> Listing:
    """`body` at every step of rsi bytes, counted by rax, repeated rdi times."""
    inner = repeated(".Lstep", [*body, _advance(size * UNROLLED), _AT_END], _while_below)
    return repeated(".Lpass", [_ZERO_RAX, *inner, _NEXT], _while_not_zero)


def count_loop() -> Listing:
    """int64 f(int64 iterations, int64 step): adds `step` `ADDITIONS` times in each iteration, each addition waiting for
    the one before, one cycle each, and gives the sum: a clock that counts cycles."""
    again = repeated(".Lagain", [*[_ADD_RSI] * ADDITIONS, _NEXT], _while_not_zero)
    return Listing((_ZERO_RAX, *again, _RETURN))
