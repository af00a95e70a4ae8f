"""AArch64 machine code of the loops that measure what a CPU can do, from a small assembler of just their instructions.

The loops have the names and arguments of those in `x86_64`, and use NEON vectors of 16 bytes. Each is a C function by
Arm's procedure call standard, and so leaves v8 to v15 alone. Encodings are those of the Arm Architecture Reference
Manual, C7.2 for vectors and C6.2 for the rest.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial

from convbench.measurement.ceilings.machine_code import ADDITIONS, UNROLLED, Instruction, Listing, repeated

_FREE = (*range(8), *range(16, 32))  # vector registers that a function may change


@dataclass(frozen=True)
class Operation:
    """A multiply-add: its name and opcode, and the lanes of its sums and of its factors."""

    name: str
    opcode: int
    summed: str
    multiplied: str


MULTIPLY_ADD = {
    "float32": Operation("fmla", 0x4E20CC00, "4s", "4s"),
    "float64": Operation("fmla", 0x4E60CC00, "2d", "2d"),
    "float16": Operation("fmla", 0x4E400C00, "8h", "8h"),
}
BFDOT = Operation("bfdot", 0x6E40FC00, "4s", "8h")
BFMMLA = Operation("bfmmla", 0x6E40EC00, "4s", "8h")
SDOT = Operation("sdot", 0x4E809400, "4s", "16b")
SMMLA = Operation("smmla", 0x4E80A400, "4s", "16b")


def _instruction(text: str, opcode: int, target: int = 0, first: int = 0, second: int = 0) -> Instruction:
    return Instruction(text, struct.pack("<I", opcode | second << 16 | first << 5 | target))


def _transfer(name: str, opcode: int, register: int, base: int, offset: int) -> Instruction:
    address = f"[x{base}, #{offset}]" if offset else f"[x{base}]"
    return _instruction(f"{name} q{register}, {address}", opcode | offset // 16 << 10, register, base)


_load, _store = partial(_transfer, "ldr", 0x3DC00000), partial(_transfer, "str", 0x3D800000)


def _vector(name: str, opcode: int, lanes: str, target: int, first: int, second: int) -> Instruction:
    text = f"{name} v{target}.{lanes}, v{first}.{lanes}, v{second}.{lanes}"
    return _instruction(text, opcode, target, first, second)


_add_vectors = partial(_vector, "fadd", 0x4E20D400, "4s")


def _multiply_add(operation: Operation, target: int, first: int, second: int) -> Instruction:
    o = operation
    text = f"{o.name} v{target}.{o.summed}, v{first}.{o.multiplied}, v{second}.{o.multiplied}"
    return _instruction(text, o.opcode, target, first, second)


def _add(target: int, first: int, second: int) -> Instruction:
    return _instruction(f"add x{target}, x{first}, x{second}", 0x8B000000, target, first, second)


def _copy(target: int, source: int) -> Instruction:
    return _instruction(f"mov x{target}, x{source}", 0xAA0003E0, target, second=source)


_NEXT = _instruction("subs x0, x0, #1", 0xF1000400)
_RETURN = _instruction("ret", 0xD65F03C0)


def _branch(condition: str, number: int, label: str, distance: int) -> Instruction:
    return _instruction(f"b.{condition} {label}", 0x54000000 | (distance // 4 & 0x7FFFF) << 5 | number)


_while_not_zero, _while_below = partial(_branch, "ne", 1), partial(_branch, "lo", 3)


# --- the loops --------------------------------------------------------------------------------------------------------


def accumulators(size: int) -> int:
    """Sums that a multiply-add loop keeps in registers, beside two operands."""
    assert size == 16
    return len(_FREE) - 2


def multiply_add_loop(dtype: str, size: int) -> Listing:
    """void f(int64 iterations, void *block), as of `x86_64`."""
    return vector_loop(MULTIPLY_ADD[dtype], size)


def vector_loop(operation: Operation, size: int = 16) -> Listing:
    """The loop of `multiply_add_loop` with that instruction."""
    a, b, *sums = _FREE[: 2 + accumulators(size)]
    places = [(register, 1, size * i) for i, register in enumerate((a, b, *sums))]
    body = [_multiply_add(operation, register, a, b) for register in sums]
    return Listing(
        (
            *(_load(*place) for place in places),
            *repeated(".Lagain", [*body, _NEXT], _while_not_zero),
            *(_store(*place) for place in places[2:]),
            _RETURN,
        )
    )


def read_loop(size: int) -> Listing:
    """void f(int64 passes, int64 bytes, void *source, void *block), as of `x86_64`."""
    sums, loaded = _FREE[:UNROLLED], _FREE[UNROLLED : 2 * UNROLLED]
    places = [(total, 3, size * i) for i, total in enumerate(sums)]
    body = [_load(register, 5, size * i) for i, register in enumerate(loaded)]
    body += [_add_vectors(total, total, register) for total, register in zip(sums, loaded, strict=True)]
    loads, stores = [_load(*place) for place in places], [_store(*place) for place in places]
    return Listing((*loads, *_passes([(5, 2)], body, size), *stores, _RETURN))


def triad_loop(size: int) -> Listing:
    """void f(int64 passes, int64 bytes, void *target, void *one, void *other, void *factors), as of `x86_64`."""
    factor, *free = _FREE
    ones, others = free[:UNROLLED], free[UNROLLED : 2 * UNROLLED]
    body = [_load(register, 7, size * i) for i, register in enumerate(ones)]
    body += [_load(register, 8, size * i) for i, register in enumerate(others)]
    body += [_multiply_add(MULTIPLY_ADD["float32"], b, c, factor) for b, c in zip(ones, others, strict=True)]
    body += [_store(register, 6, size * i) for i, register in enumerate(ones)]
    return Listing((_load(factor, 5, 0), *_passes([(6, 2), (7, 3), (8, 4)], body, size), _RETURN))


def _passes(pointers: list[tuple[int, int]], body: list[Instruction], size: int) -> Listing:
    """`body` at every step of x1 bytes, repeated x0 times. `pointers` are the registers that advance, and those that
    they start from. x9 holds the end of the first."""
    (first, start), step = pointers[0], size * UNROLLED
    steps = [_instruction(f"add x{r}, x{r}, #{step}", 0x91000000 | step << 10, r, r) for r, _ in pointers]
    compare = _instruction(f"cmp x{first}, x9", 0xEB00001F, first=first, second=9)
    inner = repeated(".Lstep", [*body, *steps, compare], _while_below)
    begin = [_add(9, start, 1), *(_copy(register, origin) for register, origin in pointers)]
    return repeated(".Lpass", [*begin, *inner, _NEXT], _while_not_zero)


def count_loop() -> Listing:
    """int64 f(int64 iterations, int64 step), as of `x86_64`."""
    zero = Instruction("mov x2, xzr", _copy(2, 31).code)
    again = repeated(".Lagain", [*[_add(2, 2, 1)] * ADDITIONS, _NEXT], _while_not_zero)
    return Listing((zero, *again, _copy(0, 2), _RETURN))
