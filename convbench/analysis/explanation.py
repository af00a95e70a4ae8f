"""Why a backend won, in plain words: how it computes, what it prepares beforehand, how close it comes to the limit.

These are declarations, measurements, and the kernel that the library says it picked, if it does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from convbench.analysis.backend_times import BackendTime
from convbench.analysis.choice import LayerChoice
from convbench.analysis.roofline import Limits
from convbench.store.readings import implementation, table
from convbench.store.schema import Record

_ALGORITHMS = {"direct": "direct", "gemm": "matrix product", "winograd": "Winograd", "fft": "FFT", "auto": "own pick"}
_MOST_KERNELS = 2


def explanation(time: BackendTime, limits: Limits) -> str:
    """Such as "direct; packed weights, own layout; brg_conv_fwd:avx512_core; 83 % of the compute limit"."""
    if time.record is None:
        return f"like {time.neighbours[0]}" if time.neighbours else ""
    limit = limits.of(time.record)
    share = f"{limit.share(time.call_s) * 100:.0f} % of the {limit.bound} limit" if limit else ""
    return "; ".join(part for part in (method(time.record), implementation(time.record), share) if part)


def method(record: Record) -> str:
    """How the backend of `record` declares that it computes: such as "Winograd; packed weights, own layout"."""
    return "; ".join(part for part in (_algorithm(record), _packing(record)) if part)


def _algorithm(record: Record) -> str:
    algorithm = table(record, "declared").get("algorithm")
    if algorithm == "winograd":
        problem = table(record, "problem")
        kernel, stride = problem.get("kernel_size") or [3, 3], problem.get("stride") or [1, 1]
        if min(kernel) <= 1 or max(stride) > 1 or problem.get("groups", 1) != 1:
            return ""  # a backend declares its best algorithm, and computes other problems in other ways
    return _ALGORITHMS.get(str(algorithm), "")


def _packing(record: Record) -> str:
    packed = set(table(record, "declared").get("prepacks") or ())
    weights = ["packed weights"] if "weight" in packed else []
    return ", ".join(weights + (["own layout"] if packed & {"input", "output"} else []))


def explanation_of_winner(choices: Sequence[LayerChoice], limits: Limits) -> str:
    """Why the backend that won all of `choices` did: "3 pointwise and 1 dense: direct; 61 to 83 % of the limit"."""
    kinds = Counter(choice.case.problem.kind for choice in choices)
    where = " and ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    records = [time.record for choice in choices if (time := choice.ranked[0]).record is not None]
    if not records:
        return f"{where}, predicted"
    shares = [share for record in records if (share := limits.share(record)) is not None]
    algorithms = dict.fromkeys(_algorithm(record) or "otherwise" for record in records)
    kernels = Counter(kernel for record in records if (kernel := implementation(record)) is not None).most_common()
    parts = ["" if list(algorithms) == ["otherwise"] else " or ".join(algorithms), _packing(records[0])]
    named = [kernel for kernel, _ in kernels[:_MOST_KERNELS]] + (["others"] if kernels[_MOST_KERNELS:] else [])
    parts.append(" and ".join(named))
    if shares:
        low, high = (f"{share * 100:.0f}" for share in (min(shares), max(shares)))
        parts.append(f"{low} % of the machine's limit" if low == high else f"{low} to {high} % of the machine's limit")
    return f"{where}: {'; '.join(part for part in parts if part)}"
