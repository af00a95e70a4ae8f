"""Why a backend won, in plain words: how it computes, what it made ready beforehand, how near it comes to the limit.

These are what the backend declares and what was measured, not a proof: what a library picks inside, it does not say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from convbench.analysis.choice import LayerChoice, Timed
from convbench.analysis.roofline import Limits
from convbench.store.journal import Record

_ALGORITHMS = {"direct": "direct", "gemm": "matrix product", "winograd": "Winograd", "fft": "FFT", "auto": "own pick"}


def reason(timed: Timed, limits: Limits) -> str:
    """Such as "direct; packed weights, own layout; 83 % of the compute limit"."""
    if timed.record is None:
        return f"like {timed.neighbours[0]}" if timed.neighbours else ""
    found = limits.of(timed.record)
    share = f"{found.share(timed.call_s) * 100:.0f} % of the {found.bound} limit" if found else ""
    return "; ".join(part for part in (manner(timed.record), share) if part)


def manner(record: Record) -> str:
    """How the backend of `record` computes, as it declares: such as "Winograd; packed weights, own layout"."""
    return "; ".join(part for part in (_algorithm(record), _packing(record)) if part)


def _algorithm(record: Record) -> str:
    algorithm = (record.get("declared") or {}).get("algorithm")
    if algorithm == "winograd" and not _suits_winograd(record):
        return ""  # a backend declares the best that it has, and computes the rest in other ways
    return _ALGORITHMS.get(str(algorithm), "")


def _packing(record: Record) -> str:
    packed = set((record.get("declared") or {}).get("prepacks") or ())
    told = ["packed weights"] if "weight" in packed else []
    return ", ".join(told + (["own layout"] if packed & {"input", "output"} else []))


def _suits_winograd(record: Record) -> bool:
    problem = record.get("problem") or {}
    kernel, stride = problem.get("kernel_size") or [3, 3], problem.get("stride") or [1, 1]
    return bool(min(kernel) > 1 and max(stride) == 1 and problem.get("groups", 1) == 1)


def reasons_of_winner(choices: Sequence[LayerChoice], limits: Limits) -> str:
    """Why the backend that won all of `choices` did: "3 pointwise and 1 dense: direct; 61 to 83 % of the limit"."""
    kinds = Counter(choice.case.problem.kind for choice in choices)
    where = " and ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    records = [timed.record for choice in choices if (timed := choice.ranked[0]).record is not None]
    if not records:
        return f"{where}, predicted"
    shares = [share for record in records if (share := limits.share(record)) is not None]
    algorithms = dict.fromkeys(_algorithm(record) or "otherwise" for record in records)
    parts = ["" if list(algorithms) == ["otherwise"] else " or ".join(algorithms), _packing(records[0])]
    if shares:
        low, high = (f"{share * 100:.0f}" for share in (min(shares), max(shares)))
        parts.append(f"{low} % of the machine's limit" if low == high else f"{low} to {high} % of the machine's limit")
    return f"{where}: {'; '.join(part for part in parts if part)}"
