"""Machine code beside its text: the bytes to run, and assembly that an assembler can check them against."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

UNROLLED = 8
"""Vectors per iteration of the loops over arrays."""
ADDITIONS = 64
"""Per iteration of the loop that counts cycles."""


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
