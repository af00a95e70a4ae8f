"""How near a time is to what the machine can do: the roofline of Williams, Waterman and Patterson (CACM 52(4), 2009).

No call can be shorter than its multiply-adds at the measured peak, nor than its bytes at the measured bandwidth. Only
what no direct computation can do without is counted: taps on padding with zeros are no work, pixels that no tap meets
are not read, every operand is moved once. With warm caches, through each level goes at least what the caches inside it
do not hold; with cold ones all comes from memory. Arithmetic and bytes are assumed to overlap perfectly. Winograd and
FFT need fewer multiplications and may be faster than their limit, as may libraries that pick an algorithm themselves.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from convbench.errors import ProblemError, ResultsError
from convbench.measurement.ceilings.figures import Ceilings, Level
from convbench.problem import ITEMSIZE_BYTES, ConvProblem
from convbench.status import Status
from convbench.store.frame import load
from convbench.store.readings import hardware_of, number, problem_of, table
from convbench.store.schema import Record

COMPUTE = "compute"
IMPLAUSIBLE = 1.1
"""A share of the limit above which a direct computation is not believed: more than the ceilings' own error explains."""
_EVERY_MULTIPLICATION = ("direct", "gemm")
_HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Limit:
    """The least seconds that a call can take, and what sets them: "compute", or the cache or memory that bytes pass."""

    seconds: float
    bound: str
    assumed: str | None = None
    """What had to be assumed, as a clause."""

    def share(self, seconds: float) -> float:
        """How much of what the machine can do a call of `seconds` is: 1 at the limit."""
        return self.seconds / seconds


class Limits:
    """The limits of records, by the ceilings of the machines that they were measured on."""

    def __init__(self, ceilings: Sequence[Ceilings]) -> None:
        self._ceilings: dict[tuple[Any, Any], Ceilings] = {(one.cpu, one.threads): one for one in ceilings}

    def of(self, record: Record) -> Limit | None:
        """None without ceilings for its CPU, number of threads or precision, and for other devices than the CPU."""
        ceilings = self._ceilings.get((hardware_of(table(record, "machine")).cpu, record.get("threads")))
        declared = table(record, "declared")
        if ceilings is None or declared.get("device", "cpu") != "cpu" or (problem := problem_of(record)) is None:
            return None
        return limit(problem, declared, ceilings, cold=table(record, "settings").get("cache") == "cold")

    def share(self, record: Record) -> float | None:
        """The share of its limit that a record's median is; None if either is not known."""
        median_s = number(record, "median_s")
        limit = self.of(record) if median_s else None
        return limit.share(median_s) if limit and median_s else None

    def undeclared(self, record: Record) -> str | None:
        """The dtype of a record's problem, if computing in it explains why the record is faster than the wider
        precision that its backend declares can be: a CPU's matrix unit may have computed. None otherwise."""
        declared, problem = table(record, "declared"), problem_of(record)
        if problem is None or problem.dtype not in _HALVES or declared.get("operand") in (None, problem.dtype):
            return None
        share = self.share({**record, "declared": {**declared, "operand": None}})
        return problem.dtype if share is None or share <= IMPLAUSIBLE else None


def may_pass(declared: Mapping[str, Any]) -> bool:
    """Whether an algorithm, as it is declared, can be faster than the limit and right all the same."""
    return declared.get("algorithm") not in _EVERY_MULTIPLICATION


def limit(problem: ConvProblem, declared: Mapping[str, Any], ceilings: Ceilings, cold: bool = False) -> Limit | None:
    """The limit for a backend that declares `operand` and `accumulate` precisions and what it `prepacks`, if known."""
    peak, assumed = _peak(problem, declared, ceilings)
    if peak is None:
        return None
    least = [(flops_needed(problem) / peak, COMPUTE)]
    least += _passing(bytes_needed(problem, declared), ceilings.levels, cold)
    seconds, bound = max(least, key=lambda one: one[0])
    return Limit(seconds, bound, assumed)


def _peak(problem: ConvProblem, declared: Mapping[str, Any], ceilings: Ceilings) -> tuple[float | None, str | None]:
    """Floating-point operations a second at most, and what that assumes."""
    # What is declared of operands holds for numbers in floating point.
    precision = "int8" if problem.quantization else declared.get("operand") or problem.dtype
    peak = ceilings.peak(precision)
    if peak is not None:
        return peak.value, None
    if precision not in _HALVES or precision in ceilings.unmeasured or not ceilings.multiply_adds:
        return None, None
    # No arithmetic of its own: it is widened to float32, where sums are declared to be.
    widened = ceilings.peak("float32")
    if widened is None or (declared.get("accumulate") or "float32") != "float32":
        return None, None
    return widened.value, f"{precision} is computed in float32, since this CPU does not multiply it"


def _passing(moved: int, levels: Sequence[Level], cold: bool) -> list[tuple[float, str]]:
    """The least seconds for what has to come through each level, with its name."""
    least, inside = [], 0
    for level in levels:
        through = moved - inside
        if through <= 0:
            break
        if level.fastest is not None and not (cold and level.bytes is not None):
            least.append(((moved if cold else through) / level.fastest.value, level.name))
        inside += 0 if cold else level.bytes or 0
    return least


def flops_needed(problem: ConvProblem) -> int:
    """Two per multiply-add of a tap that meets the input, where padding is zeros; `problem.flops` otherwise. Of a step,
    those of its parts."""
    if problem.direction == "step":
        return sum(map(flops_needed, problem.parts))
    (rows, _, _), (columns, _, _) = _axes(problem)
    channels = problem.in_channels // problem.groups * problem.out_channels
    if problem.padding_mode != "zeros" or problem.direction == "bias_gradient":
        return problem.flops
    return 2 * problem.batch * channels * rows * columns


def bytes_needed(problem: ConvProblem, declared: Mapping[str, Any]) -> int:
    """Bytes of the input that any tap meets, of the weights that meet any input, of bias and output, each once; a
    gradient is written whole. A step moves the output gradient and every gradient as well."""
    (_, tall, rows), (_, wide, columns) = _axes(problem)
    elements = {
        "input": problem.batch * problem.in_channels * rows * columns,
        "weight": problem.out_channels * (problem.in_channels // problem.groups) * tall * wide,
        "output": problem.batch * problem.out_channels * problem.out_height * problem.out_width,
        "bias": problem.out_channels * problem.bias,
    }
    if problem.direction == "step":
        gradients = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
        elements |= {name: elements[name] + prod(shape) for name, shape in gradients.items()}
        elements["bias"] *= 2
    else:
        elements |= {name: prod(shape) for name, shape in _written(problem).items()}
    return sum(count * _itemsize(name, problem, declared) for name, count in elements.items())


def _written(problem: ConvProblem) -> dict[str, tuple[int, ...]]:
    """The shape of the gradient that is computed, by the name of what it is the gradient of; and nothing of what the
    direction does not read."""
    if problem.direction == "forward":
        return {}
    if problem.direction == "bias_gradient":
        return {"input": (0,), "weight": (0,)}
    name = "input" if problem.direction == "input_gradient" else "weight"
    return {name: problem.result_shape, "bias": (0,)}


def _itemsize(operand: str, problem: ConvProblem, declared: Mapping[str, Any]) -> int:
    """Bytes an element, in the precision computed in where it was converted beforehand."""
    if problem.quantization is not None:
        return problem.quantization.itemsizes_bytes[_OPERANDS[operand]]
    itemsize = ITEMSIZE_BYTES[problem.dtype]
    if operand not in (declared.get("prepacks") or ()):
        return itemsize
    return min(itemsize, ITEMSIZE_BYTES.get(declared.get("operand") or problem.dtype, itemsize))


@lru_cache(maxsize=1024)  # a record asks twice, and those of other backends have the same problem
def _axes(problem: ConvProblem) -> list[tuple[int, int, int]]:
    """For each axis how often a tap meets an input position, how many taps meet any, and how many positions are met."""
    p = problem
    sizes, outs = (p.height, p.width), (p.out_height, p.out_width)
    axes = []
    for size, out, kernel, stride, dilation, (before, _) in zip(
        sizes, outs, p.kernel_size, p.stride, p.dilation, p.padding, strict=True
    ):
        met, counts = np.zeros(size, dtype=bool), []
        for tap in range(kernel):
            at = np.arange(out) * stride + tap * dilation - before
            at = at[(at >= 0) & (at < size)]
            met[at] = True
            counts.append(at.size)
        axes.append((sum(counts), sum(map(bool, counts)), int(met.sum())))
    return axes


_OPERANDS = {"input": "x", "weight": "w", "bias": "b", "output": "y"}
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
    dtype = "int8" if problem.quantization else declared.get("operand") or row["dtype"]
    share = least.share(row["median_s"])
    return BestConvolution(row["threads"], dtype, row["backend"], row["case_id"], row["gflops"], share)
