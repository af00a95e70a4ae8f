"""Did it change? Two sets of records, pair by pair: ratio with interval, and a verdict that allows for many pairs.

Each pair has a rank test (`stats.two_sample`), and an allowance for drift of the machine if the records are of two runs
(`drift`); Benjamini and Hochberg's control of the false discovery rate follows. A test needs at least 6 samples per
side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from convbench.analysis.drift import Drift, drifts, p_value_of
from convbench.analysis.paired_ratio import compare_processes
from convbench.stats.change_points import FALSE_DISCOVERY_RATE
from convbench.stats.ragged import Ragged
from convbench.stats.rank_sum import q_values
from convbench.stats.ratio import Ratio
from convbench.stats.two_sample import TwoSample, independent, paired
from convbench.status import Status
from convbench.store.readings import (
    HARDWARE_FIELDS,
    Hardware,
    cache_of,
    data_of,
    half_width_between_processes,
    hardware_of,
    implementation,
    isa_of,
    paired_walls,
    ragged_walls,
    table,
)
from convbench.store.schema import Record

FIELDS = (
    "suite", "case", "backend", "threads", "status", "reason", "median_s", "session", "commit", "dtype",
    "settings.allocator", "settings.cache", "settings.pass_bytes", "settings.isa", "settings.data",
    "machine.machine", "declared.device", "versions",
    "samples.round", "samples.wall_s", "samples.process", "process_variation", "session_drift", "implementation",
    *HARDWARE_FIELDS,
)  # fmt: skip
"""The fields of a record that this module, and those that show its results, look at."""

Pair = tuple[Any, ...]
"""(suite, case, backend, threads, ...): what has to be equal for two records to be compared."""


class ChangeVerdict(StrEnum):
    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    UNCLEAR = "unclear"


class Again(NamedTuple):
    """A pair that was measured again in fresh processes, because it seemed slower. It `holds` if it is a regression
    there, too. `side_by_side`: with the base; else against the base's record. `own_ratio` is the time of the new one
    now over its time then, which is what the machine did meanwhile."""

    ratio: Ratio
    holds: bool
    side_by_side: bool
    own_ratio: float | None = None


class Change(NamedTuple):
    """One pair in both sets. `ratio` is new over base, without the machine's `drift`: above 1 the new one is slower."""

    suite: str
    case: str
    backend: str
    base: Record
    new: Record
    ratio: Ratio
    q_value: float
    """The smallest false discovery rate at which this pair would count as changed."""
    verdict: ChangeVerdict
    paired: bool = False
    """Whether the two were measured side by side, and compared round by round."""
    drift: float | None = None
    """How many times slower the machine was in the new run, by other libraries on the same case, if known."""
    again: Again | None = None
    """If it was measured again."""

    @property
    def implementations(self) -> tuple[str | None, str | None]:
        """Which kernel ran, in the base and in the new."""
        return implementation(self.base), implementation(self.new)

    @property
    def changed(self) -> bool:
        return self.verdict in (ChangeVerdict.SLOWER, ChangeVerdict.FASTER)

    def regressed(self, threshold: float) -> bool:
        """Slower beyond doubt, and by more than `threshold` (0.05 is 5 %)."""
        holds = self.again is None or self.again.holds
        return holds and self.verdict is ChangeVerdict.SLOWER and self.ratio.value > 1 + threshold


@dataclass(frozen=True)
class Comparison:
    """All pairs that both sets timed, slowest first; those that were right before and are not now; and the rest."""

    changes: tuple[Change, ...]
    broken: tuple[Record, ...]
    only_base: int
    only_new: int
    told_apart_by: tuple[str, ...] = ()
    """What a pair has to be equal in besides, as one set has several of it: one of machine, hardware, allocator, cache,
    dtype, isa, data."""
    machines: tuple[tuple[str, str], ...] = ()
    """The two machines, name and hardware, of pairs that were measured on different hardware."""
    not_compared: int = 0
    """Pairs that both sets have and that were measured on different hardware, unless that was asked for."""

    def regressions(self, threshold: float) -> list[Change]:
        return [change for change in self.changes if change.regressed(threshold)]

    @property
    def geometric_mean(self) -> float | None:
        """Of the ratios of all pairs; None without pairs."""
        if not self.changes:
            return None
        return math.exp(sum(math.log(change.ratio.value) for change in self.changes) / len(self.changes))


def compare(
    base: Iterable[Record],
    new: Iterable[Record],
    threshold: float,
    beside: tuple[Sequence[Record], Sequence[Record]] = ((), ()),
    *,
    across_machines: bool = False,
    across: str | None = None,
) -> Comparison:
    """Compare two sets of records; of several records of one pair the last counts. An interval that lies within
    `threshold` to either side is `same`. Records `beside` them, of both runs, help to tell what the machine did. Pairs
    that were measured on different hardware are compared only if `across_machines`, and those that differ in `isa` or
    `data` only `across` that."""
    before, after = list(base), list(new)
    kinds, new_kinds = set(map(_kind, before)), set(map(_kind, after))
    several = {*_several(kinds), *_several(new_kinds)} - {across}
    apart = tuple(sorted(several - {"hardware"} if across_machines else several))
    base_pairs, new_pairs = _by_pair(before, apart), _by_pair(after, apart)
    both = _in_both(base_pairs, new_pairs)
    elsewhere = _on_other_hardware(both, base_pairs, new_pairs, apart)
    refused = set() if across_machines else {id(later) for _, later in elsewhere}
    shared = [pair for pair in both if id(pair[2]) not in refused]
    measured = [*shared, *_in_both(*(_by_pair(side, apart) for side in beside))]
    was = ragged_walls([earlier for _, earlier, _ in measured])
    now = ragged_walls([later for _, _, later in measured])
    timed = np.flatnonzero((was.sizes > 0) & (now.sizes > 0))
    kinds |= new_kinds.union(*(map(_kind, side) for side in beside))
    compared = _compared([measured[i] for i in timed.tolist()], was[timed], now[timed], of_one_kind=len(kinds) == 1)
    pairs = [shared[index] for index in timed.tolist() if index < len(shared)]
    was_timed = [shared[index] for index in np.flatnonzero(was.sizes[: len(shared)]).tolist()]
    return Comparison(
        tuple(_changes(pairs, compared[: len(pairs)], threshold)),
        tuple(later for _, _, later in was_timed if later["status"] in _FAILURES),
        only_base=len(base_pairs) - len(shared) - len(refused),
        only_new=len(new_pairs) - len(shared) - len(refused),
        told_apart_by=apart,
        machines=tuple(dict.fromkeys((_machine(earlier), _machine(later)) for earlier, later in elsewhere)),
        not_compared=len(refused),
    )


_FAILURES = frozenset(str(status) for status in Status if status.is_failure)
_APART = ("machine", "hardware", "allocator", "cache", "dtype", "isa", "data")
_Shared = tuple[Pair, Record, Record]
_Compared = tuple[TwoSample, bool, float | None]
"""The result, whether the samples are paired, and the machine's drift where it is known."""


def _changes(pairs: Sequence[_Shared], compared: Sequence[_Compared], threshold: float) -> list[Change]:
    """The changes, slowest first."""
    # Too few samples are no test, and must not make the others' false discoveries look fewer.
    rates = iter(q_values([result.p_value for result, _, _ in compared if result.ratio.covers]))
    changes = []
    for ((suite, case, backend, *_), earlier, later), (result, side_by_side, drift) in zip(
        pairs, compared, strict=True
    ):
        q_value = next(rates) if result.ratio.covers else 1.0
        verdict = _verdict(result.ratio, q_value, threshold)
        changes.append(
            Change(suite, case, backend, earlier, later, result.ratio, q_value, verdict, side_by_side, drift)
        )
    return sorted(changes, key=lambda change: -change.ratio.value)


def _verdict(ratio: Ratio, q_value: float, threshold: float) -> ChangeVerdict:
    if not ratio.covers:
        return ChangeVerdict.UNCLEAR
    if q_value < FALSE_DISCOVERY_RATE and not ratio.includes_one:
        return ChangeVerdict.SLOWER if ratio.value > 1 else ChangeVerdict.FASTER
    return ChangeVerdict.SAME if ratio.within(threshold) else ChangeVerdict.UNCLEAR


def _kind(record: Record) -> tuple[str, ...]:
    """The values of `_APART`."""
    settings = table(record, "settings")
    machine = table(record, "machine").get("machine"), _hardware(record)
    held = settings.get("allocator"), cache_of(record), record.get("dtype"), isa_of(record), data_of(record)
    return tuple(map(str, (*machine, *held)))


def _hardware(record: Record) -> Hardware:
    return hardware_of(table(record, "machine"))


def _machine(record: Record) -> str:
    """`bench-1 (AMD EPYC, 2 CPUs, AVX2)`."""
    return f"{table(record, 'machine').get('machine') or 'a machine'} ({_hardware(record)})"


def _several(kinds: Iterable[tuple[str, ...]]) -> list[str]:
    """The names in `_APART` that have several values; records are not compared across these."""
    return [name for name, *values in zip(_APART, *kinds, strict=True) if len(set(values)) > 1]


def _in_both(base: Mapping[Pair, Record], new: Mapping[Pair, Record]) -> list[_Shared]:
    return [(pair, earlier, new[pair]) for pair, earlier in base.items() if pair in new]


def _by_pair(records: Iterable[Record], apart: Sequence[str]) -> dict[Pair, Record]:
    pairs: dict[Pair, Record] = {}
    places = [_APART.index(name) for name in apart]
    for record in records:
        pair = (str(record.get("suite", "")), record["case"], record["backend"], str(record.get("threads") or 1))
        kind = _kind(record) if places else ()
        # A layer in a pass is another thing to time than the same layer in a loop, so that these never pair.
        cache = "pass" if table(record, "settings").get("cache") == "pass" else ""
        pairs[(*pair, cache, *(kind[place] for place in places))] = record
    return pairs


def _on_other_hardware(
    both: Sequence[_Shared], base: Mapping[Pair, Record], new: Mapping[Pair, Record], apart: Sequence[str]
) -> list[tuple[Record, Record]]:
    """The records of pairs that differ in the hardware, whether or not it is a part of their names."""
    others = [(earlier, later) for _, earlier, later in both if _hardware(earlier).is_other_than(_hardware(later))]
    if "hardware" not in apart:
        return others
    place = len(apart) - apart.index("hardware")
    names = [{(*pair[:-place], *pair[len(pair) - place + 1 :]): pair for pair in side} for side in (base, new)]
    shared = {pair for pair, *_ in both}
    alone = [(names[0][name], names[1][name]) for name in names[0] if name in names[1]]
    return others + [(base[old], new[later]) for old, later in alone if not {old, later} & shared]


def _compared(shared: Sequence[_Shared], was: Ragged, now: Ragged, *, of_one_kind: bool) -> list[_Compared]:
    """Compare each two records, whose samples are the rows. For records of two runs the known drift of the machine is
    divided out, and the interval is widened by the unknown drift. `of_one_kind`: all are of one machine, allocator,
    cache and dtype."""
    pairs = [(base, new) for _, base, new in shared]
    results = _two_sample(pairs, was, now)
    apart = np.flatnonzero([not side_by_side for _, side_by_side in results])
    places = apart.tolist()
    machine_drifts = drifts(
        [pairs[place] for place in places],
        # Two machines, say, are meant to differ in more than the code.
        [_same_minutes(*shared[p]) if of_one_kind or len({*map(_kind, pairs[p])}) == 1 else None for p in places],
        was[apart],
        now[apart],
        [results[place][0].ratio.value for place in places],
    )
    compared: list[_Compared] = [(*result, None) for result in results]
    for place, drift in zip(places, machine_drifts, strict=True):
        compared[place] = (_without(drift, results[place][0]), False, drift.factor)
    return compared


def _two_sample(pairs: Sequence[tuple[Record, Record]], was: Ragged, now: Ragged) -> list[tuple[TwoSample, bool]]:
    """Each two records, whose samples are the rows, without drift; and whether they are paired by round."""
    over_processes = [compare_processes(base, new) for base, new in pairs]
    rounds = [None if r else _in_the_same_rounds(*pair) for r, pair in zip(over_processes, pairs, strict=True)]
    both = [walls for walls in rounds if walls is not None]
    side_by_side = iter(paired(Ragged.of([base for base, _ in both]), Ragged.of([new for _, new in both])))
    unpaired = [result is None and walls is None for result, walls in zip(over_processes, rounds, strict=True)]
    alone = np.array(unpaired, dtype=bool)
    apart = iter(independent(was[alone], now[alone]))
    return [
        result or (_with_process_variation(next(apart if walls is None else side_by_side), pair), walls is not None)
        for result, walls, pair in zip(over_processes, rounds, pairs, strict=True)
    ]


def _with_process_variation(result: TwoSample, pair: tuple[Record, Record]) -> TwoSample:
    """Samples of one process each say nothing of between-process variation; the interval has to hold it as well."""
    half_width = half_width_between_processes(pair, result.spread)
    return result._replace(ratio=result.ratio.widened(half_width))


def _in_the_same_rounds(base: Record, new: Record) -> tuple[Any, Any] | None:
    """The samples of the rounds in which both were sampled; None without such or without a session."""
    return next(iter(paired_walls(base, new)), None) if base.get("session") is not None else None


def _same_minutes(pair: Pair, base: Record, new: Record) -> Pair:
    """Equal for pairs whose backends were measured in turn on one device, in both runs."""
    suite, case, _backend, *more = pair
    device = str(table(base, "declared").get("device") or "")
    return (suite, case, *more, device, str(base.get("session")), str(new.get("session")))


def _without(drift: Drift, result: TwoSample) -> TwoSample:
    if drift.factor is None:
        ratio = result.ratio.widened(drift.half_width)
        return TwoSample(ratio, max(result.p_value, p_value_of(ratio)))
    # A rank test asks whether the samples differ, and they do if the machine moved and the code did not.
    ratio = result.ratio.over(drift.factor).widened(drift.half_width)
    return TwoSample(ratio, p_value_of(ratio))
