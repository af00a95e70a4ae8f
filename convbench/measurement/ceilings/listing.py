"""Machine code beside its text: the bytes to run, and assembly that an assembler can check them against."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Instruction:
    """One instruction: its assembly, and its bytes."""

    text: str
    code: bytes


@dataclass(frozen=True)
class Listing:
    """Instructions in order."""

    instructions: tuple[Instruction, ...] = ()

    @property
    def code(self) -> bytes:
        return b"".join(instruction.code for instruction in self.instructions)

    @property
    def text(self) -> str:
        return "\n".join(instruction.text for instruction in self.instructions)

    def then(self, *more: Instruction | Listing) -> Listing:
        """This listing followed by `more`."""
        added = (part.instructions if isinstance(part, Listing) else (part,) for part in more)
        return Listing(self.instructions + tuple(instruction for group in added for instruction in group))


def listing(instructions: Iterable[Instruction]) -> Listing:
    """The instructions as a listing."""
    return Listing(tuple(instructions))


def repeated(label: str, body: Listing, jump_back: Callable[[str, int], Instruction]) -> Listing:
    """`body`, then the jump to its start that `jump_back(label, distance)` gives; the distance in bytes is from the
    start of the jump to the label, so it is negative or 0."""
    return Listing((Instruction(f"{label}:", b""),)).then(body, jump_back(label, -len(body.code)))
