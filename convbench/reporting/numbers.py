"""Numbers as people read them: sensible digits, units, aligned decimal points, intervals and ranges."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from convbench.reporting.terminal_text import printable


def significant(value: float, digits: int = 3) -> str:
    """`value` to that many significant digits, without an exponent: 0, 0.0123, 1.23, 123, 12,346."""
    return f"{value + 0.0:,.{_decimals(value, digits)}f}" if math.isfinite(value) else str(value)


def _decimals(value: float, digits: int) -> int:
    """How many decimals give `value` that many significant digits, after rounding: 9.996 is 10.0."""
    if value == 0 or not math.isfinite(value):
        return 0
    return max(0, digits - 1 - int(f"{value:.{digits - 1}e}".partition("e")[2]))


def interval_text(low: float, high: float, covers: bool = True, digits: int = 3) -> str:
    """A 95 % interval as `[1.02, 1.13]`; the range of too few samples for one (not `covers`) as `(1.02 … 1.13)`.

    Both ends have the same number of decimals: enough for `digits` significant digits of each, one more than the larger
    end needs at most, and up to two more where the ends would look alike.
    """
    return " ".join(_interval_parts(low, high, covers, digits))


def interval_column(intervals: Iterable[tuple[float, float, bool]], digits: int = 3) -> list[str]:
    """`interval_text` of each (low, high, covers), padded to one width with the separators under one another."""
    parts = [_interval_parts(*interval, digits) for interval in intervals]
    before, after = (max((len(part[side]) for part in parts), default=0) for side in (0, 1))
    return [f"{low.rjust(before)} {high.ljust(after)}" for low, high in parts]


def _interval_parts(low: float, high: float, covers: bool, digits: int) -> tuple[str, str]:
    fewer, more = sorted(_decimals(end, digits) for end in (low, high))
    decimals = min(more, fewer + 1) if low and high else more
    texts = [[f"{end:,.{decimals + further}f}" for end in (low, high)] for further in range(3)]
    low_text, high_text = next((ends for ends in texts if ends[0] != ends[1]), texts[0])
    return (f"[{low_text},", f"{high_text}]") if covers else (f"({low_text} …", f"{high_text})")


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


def times(value: float) -> str:
    """How many times as large: `1.52x`, `12.3x`."""
    return f"{value:.2f}x" if value < 10 else f"{significant(value)}x"


def percent(fraction: float) -> str:
    """A fraction as a percentage, without the sign: 100, 83, 4.1, 0.03."""
    value = fraction * 100
    return f"{value:.0f}" if value >= 9.95 else significant(value, 2)


def mebibytes(count: float) -> str:
    """Bytes as MiB, without the unit: 0.0, 12.3, 1,234.5. A page is less than a tenth."""
    return f"{round(count / 2**20, 1) + 0.0:,.1f}"  # adding 0.0 turns -0.0 into 0.0


def flops(count: float) -> str:
    """Floating-point operations with the unit that fits: 231 MFLOP."""
    for unit, scale in (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)):
        if count >= scale:
            return f"{significant(count / scale)} {unit}"
    return f"{count:.0f} FLOP"


def aligned(texts: Sequence[str]) -> list[str]:
    """The texts, padded on the right, so that right alignment puts their decimal points under one another."""
    fractions = [len(text) - text.index(".") if "." in text else 0 for text in texts]
    widest = max(fractions, default=0)
    return [text + " " * (widest - fraction) for text, fraction in zip(texts, fractions, strict=True)]


def in_columns(rows: Sequence[Sequence[str]], right: Collection[int] = (), gap: str = "   ") -> list[str]:
    """A line for each row, indented by two, its cells under those of the others; the columns `right` flush right."""
    columns = []
    for index, texts in enumerate(zip(*rows, strict=True)):
        cells = list(map(printable, texts))
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if index in right else cell.ljust(width) for cell in cells])
    return [("  " + gap.join(cells)).rstrip() for cells in zip(*columns, strict=True)]


def count(number: int, singular: str, plural: str = "") -> str:
    """`1 step`, `2 steps`, `1,234 steps`; the plural is the singular with an s unless it is given."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
