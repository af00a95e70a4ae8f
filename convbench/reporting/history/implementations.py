"""Which kernel ran before and after, in words: `brg_conv:avx512_core -> ref:any` where it is another one now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from convbench.reporting.numbers import count
from convbench.reporting.terminal_text import printable

_MOST_NAMED = 3
Kernels = tuple[str | None, str | None]
"""Before and after; None for what is not known."""


def in_words(kernels: Kernels) -> str:
    """The kernel, or the change of it; what is known of one side only is that kernel alone; empty for nothing."""
    before, after = kernels
    if is_change(kernels):
        return printable(f"{before} -> {after}")
    return printable(after or before or "")


def is_change(kernels: Kernels) -> bool:
    """Whether both are known and differ."""
    before, after = kernels
    return None not in (before, after) and before != after


def in_words_of_all(kernels: Sequence[Kernels]) -> str:
    """The same for several cases: the changes with the number of their cases, else the most frequent kernel."""
    changes = Counter(in_words(pair) for pair in kernels if is_change(pair))
    if changes:
        words, cases = changes.most_common(1)[0]
        more = f", {len(changes) - 1} more" if len(changes) > 1 else ""
        return f"{words} ({count(cases, 'case')}{more})" if len(kernels) > 1 else words
    known = Counter(words for pair in kernels if (words := in_words(pair)))
    if not known:
        return ""
    words, _ = known.most_common(1)[0]
    return words if len(known) == 1 else f"{words}, {len(known) - 1} more"


def sentence(changes: Iterable[tuple[str, Kernels]]) -> str:
    """What computes by another kernel now, of names with their kernels; empty where nothing does."""
    named = [f"{printable(name)} {in_words(kernels)}" for name, kernels in changes if is_change(kernels)]
    if not named:
        return ""
    shown, more = "; ".join(named[:_MOST_NAMED]), len(named) - _MOST_NAMED
    return f"Another implementation ran in {count(len(named), 'pair')}: {shown}{f'; {more} more' if more > 0 else ''}."
