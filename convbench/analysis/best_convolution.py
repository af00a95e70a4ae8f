"""The recorded convolution that came closest to the machine's peak, for each number of threads and dtype."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convbench.analysis.roofline import limit, may_pass
from convbench.errors import ProblemError, ResultsError
from convbench.measurement.ceilings.figures import Ceilings
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.store.frame import load

_COLUMNS = ("status", "median_s", "gflops", "threads", "dtype", "backend", "case_id", "declared", "cpu")


@dataclass(frozen=True)
class BestConvolution:
    """A recorded convolution, with GFLOP/s as in the tables and its share of the roofline limit."""

    threads: int
    dtype: str
    backend: str
    case_id: str
    gflops: float
    share: float


def best_convolutions(folder: Path, ceilings: Sequence[Ceilings]) -> list[BestConvolution]:
    """For each of the `ceilings` and each operand dtype, the recorded convolution with the largest share of its limit.
    Winograd and FFT are left out, because they multiply less often than the limit counts."""
    if not ceilings:
        return []
    try:
        frame = load(folder, columns=_COLUMNS)
    except ResultsError:
        return []
    timed = frame[(frame["status"] == Status.OK) & (frame["median_s"] > 0)]
    if timed.empty:
        return []
    shortest = timed.loc[timed.groupby(["cpu", "threads", "backend", "case_id"])["median_s"].idxmin()]
    known = {(c.cpu, c.threads): c for c in ceilings}
    best: dict[tuple[int, str], BestConvolution] = {}
    for row in shortest.to_dict("records"):
        candidate = _candidate(row, known.get((row["cpu"], row["threads"])))
        if candidate is not None:
            key = candidate.threads, candidate.dtype
            best[key] = max(candidate, best.get(key, candidate), key=lambda convolution: convolution.share)
    return [best[key] for key in sorted(best)]


def _candidate(row: Mapping[Hashable, Any], ceilings: Ceilings | None) -> BestConvolution | None:
    declared = row["declared"] or {}
    if ceilings is None or declared.get("device") != "cpu" or may_pass(declared):
        return None
    try:
        problem = ConvProblem.parse(row["case_id"])
    except ProblemError:
        return None
    least = limit(problem, declared, ceilings)
    if least is None:
        return None
    dtype = declared.get("operand") or row["dtype"]
    share = least.share(row["median_s"])
    return BestConvolution(row["threads"], dtype, row["backend"], row["case_id"], row["gflops"], share)
