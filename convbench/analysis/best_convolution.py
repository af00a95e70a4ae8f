"""The convolution that came nearest to what the machine can do, of all that its journals have."""

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
    """A recorded convolution: by whom, of what, GFLOP/s as tables have them, and its share of its limit."""

    threads: int
    dtype: str
    backend: str
    case_id: str
    gflops: float
    share: float


def best_convolutions(folder: Path, ceilings: Sequence[Ceilings]) -> list[BestConvolution]:
    """For each of the `ceilings` and dtype that is multiplied, the recorded convolution with the largest share of its
    limit, of those that multiply as often as is counted: neither Winograd nor FFT."""
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
    known = {(one.cpu, one.threads): one for one in ceilings}
    best: dict[tuple[int, str], BestConvolution] = {}
    for row in shortest.to_dict("records"):
        found = _judged(row, known.get((row["cpu"], row["threads"])))
        if found is not None:
            key = found.threads, found.dtype
            best[key] = max(found, best.get(key, found), key=lambda one: one.share)
    return [best[key] for key in sorted(best)]


def _judged(row: Mapping[Hashable, Any], ceilings: Ceilings | None) -> BestConvolution | None:
    declared = row["declared"] or {}
    if ceilings is None or declared.get("device") != "cpu" or may_pass(declared):
        return None
    try:
        problem = ConvProblem.parse(row["case_id"])
    except ProblemError:
        return None
    found = limit(problem, declared, ceilings)
    if found is None:
        return None
    dtype = declared.get("operand") or row["dtype"]
    share = found.share(row["median_s"])
    return BestConvolution(row["threads"], dtype, row["backend"], row["case_id"], row["gflops"], share)
