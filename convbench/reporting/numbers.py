"""Figures as people read them: sensible digits, units, decimal points under one another."""

from __future__ import annotations

import math
from collections.abc import Sequence


def significant(value: float, digits: int = 3) -> str:
    """`value` to that many significant digits, without an exponent: 0.0123, 1.23, 123, 12,346."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 9.996 is 10.0
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def milliseconds(seconds: float, digits: int = 3) -> str:
    """Seconds as milliseconds, without the unit."""
    return significant(seconds * 1e3, digits)


def duration(seconds: float) -> str:
    """Seconds with the unit that fits: 12.3 us, 4.56 ms, 1.23 s, 2 min 05 s."""
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{significant(seconds / scale)} {unit}"
    return f"{significant(seconds / 1e-9)} ns" if seconds else "0 s"


def percent(share: float) -> str:
    """A share as a percentage, without the sign: 100, 83, 4.1, 0.03."""
    value = share * 100
    return f"{value:.0f}" if value >= 9.95 else significant(value, 2)


def mebibytes(count: float) -> str:
    """Bytes as MiB, without the unit: 0.0, 12.3, 1,234.5. A page is less than a tenth."""
    return f"{round(count / 2**20, 1) + 0.0:,.1f}"  # adding it, minus nothing is nothing


def flops(count: float) -> str:
    """Floating-point operations with the unit that fits: 231 MFLOP."""
    for unit, scale in (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)):
        if count >= scale:
            return f"{significant(count / scale)} {unit}"
    return f"{count:.0f} FLOP"


def aligned(texts: Sequence[str]) -> list[str]:
    """The texts padded so that, set flush right, their decimal points stand under one another."""
    fractions = [len(text) - text.index(".") if "." in text else 0 for text in texts]
    widest = max(fractions, default=0)
    return [text + " " * (widest - fraction) for text, fraction in zip(texts, fractions, strict=True)]


def count(number: int, one: str, many: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number:,} {one if number == 1 else many}"
