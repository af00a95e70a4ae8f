"""Whether a problem fits into memory, asked before anything of it is drawn: a run that runs out may be killed."""

from __future__ import annotations

from convbench.measurement.machine.memory import available_memory
from convbench.problem import ConvProblem
from convbench.verification.footprint import footprint

_LITTLE_BYTES = 2**24  # what a process that has come so far will get; asking the system takes a millisecond


def too_large(problem: ConvProblem) -> str | None:
    """Why `problem` cannot be computed and checked in the memory that is free now, in figures; None if it may."""
    needed = footprint(problem)
    if needed.all_bytes <= _LITTLE_BYTES:
        return None
    available = available_memory()
    if needed.all_bytes <= available.bytes:
        return None
    return (
        f"too large: its operands take {_gib(needed.operands_bytes)}, checking its answer takes "
        f"{_gib(needed.all_bytes)} at least, and {_gib(available.bytes)} are free ({available.limit})"
    )


def _gib(size_bytes: int) -> str:
    size = size_bytes / 2**30
    return f"{size:,.0f} GiB" if size >= 100 else f"{size:.3g} GiB"
