"""AArch64 machine code of the loops that measure what a CPU can do, from a small assembler of just their instructions.

The loops have the names and arguments of those in `x86_64`, and use NEON vectors of 16 bytes. Each is a C function by
Arm's procedure call standard, and so leaves v8 to v15 alone. Encodings are those of the Arm Architecture Reference
Manual, C7.2 for vectors and C6.2 for the rest.
"""

from __future__ import annotations

import struct
from functools import partial

from convbench.measurement.ceilings.listing import Instruction, Listing, listing, repeated

_FREE = (*range(8), *range(16, 32))  # vector registers that a function may change
_MULTIPLY_ADD = {"float32": (0x4E20CC00, "4s"), "float64": (0x4E60CC00, "2d")}


def _word(text: str, code: int) -> Instruction:
    return Instruction(text, struct.pack("<I", code))


def _address(base: int, offset: int) -> str:
    return f"[x{base}, #{offset}]" if offset else f"[x{base}]"


def _load(register: int, base: int, offset: int) -> Instruction:
    return _word(f"ldr q{register}, {_address(base, offset)}", 0x3DC00000 | offset // 16 << 10 | base << 5 | register)


def _store(register: int, base: int, offset: int) -> Instruction:
    return _word(f"str q{register}, {_address(base, offset)}", 0x3D800000 | offset // 16 << 10 | base << 5 | register)


def _multiply_add(dtype: str, register: int, one: int, other: int) -> Instruction:
    opcode, lanes = _MULTIPLY_ADD[dtype]
    text = f"fmla v{register}.{lanes}, v{one}.{lanes}, v{other}.{lanes}"
    return _word(text, opcode | other << 16 | one << 5 | register)


def _add_vectors(register: int, one: int, other: int) -> Instruction:
    text = f"fadd v{register}.4s, v{one}.4s, v{other}.4s"
    return _word(text, 0x4E20D400 | other << 16 | one << 5 | register)


def _add(register: int, one: int, other: int) -> Instruction:
    return _word(f"add x{register}, x{one}, x{other}", 0x8B000000 | other << 16 | one << 5 | register)


def _advance(register: int, step: int) -> Instruction:
    return _word(f"add x{register}, x{register}, #{step}", 0x91000000 | step << 10 | register << 5 | register)


def _copy(register: int, one: int) -> Instruction:
    return _word(f"mov x{register}, x{one}", 0xAA0003E0 | one << 16 | register)


def _compare(one: int, other: int) -> Instruction:
    return _word(f"cmp x{one}, x{other}", 0xEB00001F | other << 16 | one << 5)


_NEXT = _word("subs x0, x0, #1", 0xF1000400)
_RETURN = _word("ret", 0xD65F03C0)


def _branch(condition: str, number: int, label: str, distance: int) -> Instruction:
    return _word(f"b.{condition} {label}", 0x54000000 | (distance // 4 & 0x7FFFF) << 5 | number)


_while_not_zero = partial(_branch, "ne", 1)
_while_below = partial(_branch, "lo", 3)


# --- the loops --------------------------------------------------------------------------------------------------------


def accumulators(size: int) -> int:
    """Sums that a multiply-add loop keeps in registers, beside two operands."""
    assert size == 16
    return len(_FREE) - 2


def multiply_add_loop(dtype: str, size: int) -> Listing:
    """void f(int64 iterations, void *block), as of `x86_64`."""
    one, other, *sums = _FREE[: 2 + accumulators(size)]
    held = list(enumerate((one, other, *sums)))
    body = [_multiply_add(dtype, register, one, other) for register in sums]
    return listing(_load(register, 1, size * at) for at, register in held).then(
        repeated(".Lagain", listing([*body, _NEXT]), _while_not_zero),
        listing(_store(register, 1, size * at) for at, register in held[2:]),
        _RETURN,
    )


_UNROLLED = 8


def read_loop(size: int) -> Listing:
    """void f(int64 passes, int64 bytes, void *source, void *block), as of `x86_64`."""
    sums, loaded = _FREE[:_UNROLLED], _FREE[_UNROLLED : 2 * _UNROLLED]
    body = [_load(register, 5, size * i) for i, register in enumerate(loaded)]
    body += [_add_vectors(total, total, register) for total, register in zip(sums, loaded, strict=True)]
    return listing(_load(total, 3, size * i) for i, total in enumerate(sums)).then(
        _passes([(5, 2)], body, size),
        listing(_store(total, 3, size * i) for i, total in enumerate(sums)),
        _RETURN,
    )


def triad_loop(size: int) -> Listing:
    """void f(int64 passes, int64 bytes, void *target, void *one, void *other, void *factors), as of `x86_64`."""
    factor, *free = _FREE
    ones, others = free[:_UNROLLED], free[_UNROLLED : 2 * _UNROLLED]
    body = [_load(register, 7, size * i) for i, register in enumerate(ones)]
    body += [_load(register, 8, size * i) for i, register in enumerate(others)]
    body += [_multiply_add("float32", one, other, factor) for one, other in zip(ones, others, strict=True)]
    body += [_store(register, 6, size * i) for i, register in enumerate(ones)]
    return listing([_load(factor, 5, 0)]).then(_passes([(6, 2), (7, 3), (8, 4)], body, size), _RETURN)


def _passes(pointers: list[tuple[int, int]], body: list[Instruction], size: int) -> Listing:
    """`body` at every step of x1 bytes, repeated x0 times. `pointers` are the registers that advance, and those that
    they start from. x9 holds the end of the first."""
    walking, start = pointers[0]
    steps = [_advance(register, step_bytes(size)) for register, _ in pointers]
    inner = repeated(".Lstep", listing([*body, *steps, _compare(walking, 9)]), _while_below)
    begin = listing([_add(9, start, 1), *(_copy(register, origin) for register, origin in pointers)])
    return repeated(".Lpass", begin.then(inner, _NEXT), _while_not_zero)


def step_bytes(size: int) -> int:
    """Bytes per iteration of the loops over arrays."""
    return size * _UNROLLED


ADDITIONS = 64


def count_loop() -> Listing:
    """int64 f(int64 iterations, int64 step), as of `x86_64`."""
    body = listing([_add(2, 2, 1)] * ADDITIONS).then(_NEXT)
    zero = Instruction("mov x2, xzr", _copy(2, 31).code)
    return listing([zero]).then(repeated(".Lagain", body, _while_not_zero), listing([_copy(0, 2), _RETURN]))
