"""Several processes of a backend on one working set, sampled by turns: what settling, processes and noise hide.

The smallest difference is by the rule that `run` uses: the interval of a ratio holds the noise of the
rounds and the between-process variation that is known of the machine (`convbench.stats.process_variation`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

from convbench.measurement.hazards.catalogue import Hazard, Kind
from convbench.measurement.outcome import Outcome
from convbench.measurement.settings import Settings
from convbench.stats.estimates import FEWEST_FOR_INTERVAL, NORMAL_QUANTILE
from convbench.stats.minimum_detectable_effect import Spread, detected_beyond, spread_of_few_rounds
from convbench.stats.process_groups import two_groups
from convbench.stats.process_variation import ProcessVariation
from convbench.store.records import process_groups

_SLOW_SWITCH_S = 4 * Settings().sample_s
"""A way back longer than this takes most of a visit."""
_NOTABLE_EXCESS = 0.05  # noise alone makes calls look a little slower before some call than after it
_NOTABLE_VARIATION = Settings().precision
_NOTABLE_NOISE, _MUCH_NOISIER = 0.03, 3.0
_NO_FASTER = 1.3  # than the memory behind it


@dataclass(frozen=True, kw_only=True)
class Processes:
    """What the processes of one `backend` show, in which a call takes `call_s` seconds by turns."""

    backend: str
    operand_bytes: int
    call_s: float
    alone_s: float | None
    """A call while no other process ran; None where that was not measured, as for long calls."""
    settle_s: float | None
    """From the switch until calls are steady; likewise."""
    settle_calls: int | None
    excess: float | None
    """By how much calls take longer until then, on average; likewise."""
    is_steady: bool
    """Whether most of them became steady within the longest visit."""
    visit_s: float
    """A turn of one process, the calls that are discarded included."""
    speeds: tuple[float, ...]
    """By process: the logarithm of its time over the mean of them."""
    pairs: tuple[float, ...]
    """Logarithms of the ratios of two processes, each process in one pair."""
    spread: Spread
    """Of the ratio of two of them."""

    @classmethod
    def of(cls, backend: str, outcomes: Sequence[Outcome]) -> Processes:
        """From the outcomes of one process each, at least two, all with samples."""
        logs = [{s.round: math.log(max(s.sample.wall_s, 1e-12)) for s in outcome.samples} for outcome in outcomes]
        rounds = sorted(set.intersection(*(set(each) for each in logs)))
        ratios = [[a[r] - b[r] for r in rounds] for a, b in combinations(logs, 2)]
        levels = [median(each.values()) for each in logs]
        call_s = math.exp(fmean(levels))
        settlings = [outcome.settling for outcome in outcomes if outcome.settling is not None]
        calls = round(median(s.calls for s in settlings)) if settlings else None
        sampled = median(s.sample.calls for outcome in outcomes for s in outcome.samples)
        alone = [s.alone_s for s in settlings if s.alone_s is not None]
        excess = [s.excess for s in settlings if s.excess is not None]
        paired = range(0, len(logs) - 1, 2)
        return cls(
            backend=backend,
            operand_bytes=outcomes[0].case.problem.bytes,
            call_s=call_s,
            alone_s=median(alone) if alone else None,
            settle_s=None if calls is None else calls * call_s,
            settle_calls=calls,
            excess=median(excess) if excess else None,
            is_steady=2 * sum(s.reached for s in settlings) >= len(settlings),
            visit_s=((calls or 0) + sampled) * call_s,
            speeds=tuple(level - fmean(levels) for level in levels),
            pairs=tuple(median(logs[i][r] - logs[i + 1][r] for r in rounds) for i in paired),
            spread=spread_of_few_rounds(ratios),
        )

    @property
    def variation(self) -> float:
        """The standard deviation by which single processes differ, as a share, beyond what noise explains."""
        return self.spread.between_processes / math.sqrt(2)

    @property
    def noise(self) -> float:
        """The standard deviation of one process's rounds, as a share."""
        return self.spread.noise / math.sqrt(2)

    def rounds(self, seconds: float) -> int:
        """Rounds of two backends that fit into `seconds`."""
        return int(seconds / (2 * self.visit_s))

    def rounds_of_run(self, settings: Settings) -> int:
        """Rounds that a run takes with `settings`."""
        affordable = int(settings.budget_s / self.visit_s)
        return max(FEWEST_FOR_INTERVAL, min(settings.most_rounds, affordable))

    def smallest_difference(self, rounds: int, variation: ProcessVariation) -> float | None:
        """The smallest share that so many rounds tell apart in 80 % of the cases; None where they are too few for an
        interval."""
        if rounds < FEWEST_FOR_INTERVAL:
            return None
        noise = self.spread.noise / math.sqrt(rounds)
        half_width = math.hypot(variation.half_width_of_ratio, NORMAL_QUANTILE * noise)
        return detected_beyond(half_width, math.hypot(variation.scale, noise))


@dataclass(frozen=True, kw_only=True)
class Level:
    """A working set: the level it lies in, its bytes, bytes read per second there (None if unknown), and the processes
    of each backend."""

    name: str
    case: str
    bytes: int
    read_per_s: float | None
    backends: tuple[Processes, ...]


def hazards_of_levels(levels: Sequence[Level], disturbed: bool) -> list[Hazard]:
    """What was seen on the working sets, each kind where it is worst. Only the caches are judged where the machine is
    `disturbed` by other work, which takes the core away now and then."""
    seen = [(level.name, processes) for level in levels for processes in level.backends]
    of_calls = [] if disturbed else [_two_groups(seen), _processes_differ(seen), _slow_switch(seen), _noise(seen)]
    return [hazard for hazard in [*of_calls, _slow_cache(levels)] if hazard is not None]


_Seen = Sequence[tuple[str, Processes]]


def _slow_switch(seen: _Seen) -> Hazard | None:
    slow = [(p.is_steady, -(p.settle_s or 0.0), name, p) for name, p in seen if p.settle_s is not None]
    slow = [each for each in slow if not each[0] or -each[1] > _SLOW_SWITCH_S]
    slow = [each for each in slow if (each[3].excess or 0.0) > _NOTABLE_EXCESS]
    if not slow:
        return None
    is_steady, _, name, p = min(slow, key=lambda each: each[:2])
    after = f"for {1e3 * (p.settle_s or 0):.0f} ms ({p.settle_calls} calls)" if is_steady else "in all of a visit"
    figures = {"backend": p.backend, "level": name, "after": after, "settle_ms": 1e3 * (p.settle_s or 0.0)}
    return Hazard(Kind.SLOW_SWITCH, figures)


def _processes_differ(seen: _Seen) -> Hazard | None:
    def explained(p: Processes) -> float:
        return p.spread.noise / math.sqrt(FEWEST_FOR_INTERVAL)

    varied = [(p.variation, name, p) for name, p in seen if p.variation > max(_NOTABLE_VARIATION, explained(p))]
    if not varied:
        return None
    variation, name, p = max(varied, key=lambda each: each[0])
    return Hazard(Kind.PROCESSES_DIFFER, {"variation": variation, "level": name, "backend": p.backend})


def _two_groups(seen: _Seen) -> Hazard | None:
    """Two groups of processes, where they are furthest apart."""
    every = [two_groups(p.speeds) for _, p in seen]
    furthest = max((groups for groups in every if groups), key=lambda groups: groups.apart, default=None)
    return process_groups(furthest, _NOTABLE_VARIATION)


def _noise(seen: _Seen) -> Hazard | None:
    if not seen:
        return None
    noise = {(name, p.backend): p.noise for name, p in seen}
    noisiest, quietest = max(noise, key=noise.__getitem__), min(noise, key=noise.__getitem__)
    if noise[noisiest] < max(_NOTABLE_NOISE, _MUCH_NOISIER * noise[quietest]):
        return None
    figures = {"noise": noise[noisiest], "level": noisiest[0], "backend": noisiest[1]}
    return Hazard(Kind.NOISY_LEVEL, figures | {"quiet": noise[quietest], "quiet_level": quietest[0]})


def _slow_cache(levels: Sequence[Level]) -> Hazard | None:
    """A last cache that is hardly faster than memory: others use it, too."""
    read = {level.name: level.read_per_s for level in levels if level.read_per_s}
    if "memory" not in read or len(read) < 2:
        return None
    name = list(read)[-2]
    if read[name] >= _NO_FASTER * read["memory"]:
        return None
    inner = list(read)[-3] if len(read) > 2 else name
    figures = {"level": name, "gbytes": read[name] / 1e9, "memory_gbytes": read["memory"] / 1e9, "inner": inner}
    return Hazard(Kind.SLOW_CACHE, figures)
