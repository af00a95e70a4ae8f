"""What more threads, wider instruction sets and narrower numbers give: speed-ups over the fewest threads, the narrowest
set and the widest dtype.

Times with different numbers of threads, sets or dtypes are not from the same rounds: their independent
half-widths add up as their squares do, between-process variation is included once, and drift of the machine is in no
interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from convbench.analysis.backend_times import BackendTime, time_by
from convbench.isa import NATIVE, by_width
from convbench.problem import ALL_DTYPES
from convbench.stats.ratio import Ratio
from convbench.store.readings import half_width_not_included, isa_of, table
from convbench.store.schema import Record

_Value = TypeVar("_Value")
_Apart = TypeVar("_Apart")


@dataclass(frozen=True)
class Scaling:
    """One backend with `threads` instead of `fewest` threads: the geometric mean of its speed-ups over `cases`, with a
    95 % interval, or a range where a time has none."""

    suite: str
    backend: str
    fewest: int
    threads: int
    cases: int
    speedup: Ratio
    isa: str = ""
    """The instruction set that it was held to; empty where it was not."""

    @property
    def efficiency(self) -> float:
        """The speed-up as a share of the largest that so many more threads could give."""
        return self.speedup.value / (self.threads / self.fewest)


def scalings(records: Iterable[Record]) -> list[Scaling]:
    """One for each backend and each number of threads beyond the fewest it was timed with, in the order of records."""
    timed = _timed(records, lambda record: record["threads"], isa_of)
    return [
        Scaling(suite, backend, fewest, threads, count, speedup, isa)
        for (suite, backend, isa), cases in timed.items()
        for fewest, threads, count, speedup in _over_least(cases, sorted)
    ]


@dataclass(frozen=True)
class WiderIsa:
    """One backend with the instructions up to `isa` instead of up to `narrowest`; `native` is all that the CPU has. The
    geometric mean of its speed-ups over `cases`, with a 95 % interval, or a range where a time has none."""

    suite: str
    backend: str
    threads: int
    narrowest: str
    isa: str
    cases: int
    speedup: Ratio


def wider_isas(records: Iterable[Record]) -> list[WiderIsa]:
    """One for each backend, number of threads and instruction set beyond the narrowest, in the order of records."""
    timed = _timed(records, lambda record: isa_of(record) or NATIVE, lambda record: record["threads"])
    return [
        WiderIsa(suite, backend, threads, narrowest, isa, count, speedup)
        for (suite, backend, threads), cases in timed.items()
        for narrowest, isa, count, speedup in _over_least(cases, by_width)
    ]


@dataclass(frozen=True)
class OtherDtype:
    """One backend in `dtype` instead of the `widest` one that it was timed in: the geometric mean of its speed-ups over
    `cases`, with a 95 % interval, or a range where a time has none, and the seconds of all these cases together, each
    as often as its suite runs it."""

    suite: str
    backend: str
    threads: int
    isa: str
    widest: str
    dtype: str
    cases: int
    speedup: Ratio
    widest_s: float
    dtype_s: float


def other_dtypes(records: Iterable[Record]) -> list[OtherDtype]:
    """One for each backend, number of threads, instruction set and dtype but the widest, in the order of records. Cases
    belong together if they are the same convolution but for the numbers."""
    timed = _timed(
        records,
        lambda record: str(record["dtype"]),
        lambda record: (record["threads"], isa_of(record) or ""),
        _geometry,
    )
    results = []
    for (suite, backend, (threads, isa)), cases in timed.items():
        for widest, dtype, count, speedup in _over_least(cases, _by_width_of_numbers):
            both = [by_dtype for by_dtype in cases if {widest, dtype} <= {*by_dtype}]
            totals = (sum(_runs(case[name]) * case[name].call_s for case in both) for name in (widest, dtype))
            results.append(OtherDtype(suite, backend, threads, isa, widest, dtype, count, speedup, *totals))
    return results


def _geometry(record: Record) -> str:
    """What records of one convolution have in common, whatever the numbers; the case where a record has no problem."""
    problem = table(record, "problem")
    of_all = {name: value for name, value in problem.items() if name not in ("dtype", "quantization")}
    return repr(of_all) if problem else str(record["case"])


def _runs(time: BackendTime) -> int:
    return int(time.record.get("count") or 1) if time.record else 1


def _by_width_of_numbers(dtypes: Iterable[str]) -> list[str]:
    known = list(ALL_DTYPES)
    return sorted(dtypes, key=lambda dtype: known.index(dtype) if dtype in known else len(known))


def _timed(
    records: Iterable[Record],
    axis: Callable[[Record], _Value],
    apart: Callable[[Record], _Apart],
    case_of: Callable[[Record], str] = lambda record: str(record["case"]),
) -> dict[tuple[str, str, _Apart], list[dict[_Value, BackendTime]]]:
    """The times by suite, backend and what else is kept `apart`; a dictionary for each case, by value on the `axis`."""
    timed: dict[tuple[str, str, _Apart], dict[str, dict[_Value, BackendTime]]] = {}
    for record in records:
        if (time := time_by(record)) is not None:
            cases = timed.setdefault((str(record.get("suite", "")), record["backend"], apart(record)), {})
            cases.setdefault(case_of(record), {})[axis(record)] = time
    return {key: list(cases.values()) for key, cases in timed.items()}


def _over_least(
    cases: Sequence[Mapping[_Value, BackendTime]], in_order: Callable[[Iterable[_Value]], list[_Value]]
) -> Iterator[tuple[_Value, _Value, int, Ratio]]:
    """The least value, another one, the number of cases that were timed with both, and the speed-up."""
    least, *more = in_order({value for by_value in cases for value in by_value})
    for value in more:
        pairs = [(by_value[least], by_value[value]) for by_value in cases if {least, value} <= {*by_value}]
        if pairs:
            yield least, value, len(pairs), _speedup(pairs)


def _speedup(pairs: Sequence[tuple[BackendTime, BackendTime]]) -> Ratio:
    """The geometric mean of (least, more) times."""
    times = [time for pair in pairs for time in pair]
    value = math.exp(fmean(math.log(few.call_s / many.call_s) for few, many in pairs))
    half_width = math.sqrt(sum(_half_width(time) ** 2 for time in times)) / len(pairs)
    variation = half_width_not_included((time.record for time in times if time.record), len(pairs))
    plain = Ratio(value, value, value, all(time.covers for time in times))
    return plain.widened(math.hypot(half_width, variation))


def _half_width(time: BackendTime) -> float:
    """The logarithm of a time's ratio to the farther end of its interval."""
    return max(math.log(time.call_s / time.low_s), math.log(time.high_s / time.call_s))
