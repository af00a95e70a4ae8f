"""What times vary by on this machine, as earlier runs and this one show it: from process to process, and from session
to session."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median

from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.revisits import Revisit
from convbench.measurement.settings import Settings
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.stats.learned_scale import is_near
from convbench.stats.process_groups import Groups, two_groups_by_pairs
from convbench.stats.process_variation import ProcessVariation, variation_at
from convbench.stats.session_drift import Deviation, SessionDrift, deviations, drift_at
from convbench.store.process_pairs import ProcessPair, keep_pairs, kept_pairs, pair_here
from convbench.store.records import process_groups
from convbench.store.session_times import CaseTimes, case_times, keep_times, kept_times, marked
from convbench.verification.timed_data import NORMAL


@dataclass
class _Known:
    """What is known under some settings. What earlier sessions show of one another is worked out once; what this one
    shows of them counts in the next."""

    pairs: list[ProcessPair]
    earlier: Sequence[CaseTimes]
    own: list[CaseTimes] = field(default_factory=list)
    _drifts: dict[int, SessionDrift] = field(default_factory=dict)

    def process_variation(self, operand_bytes: int) -> ProcessVariation:
        return variation_at(operand_bytes, [(pair.operand_bytes, pair.log_ratio) for pair in self.pairs])

    def drift(self, operand_bytes: int) -> SessionDrift:
        if operand_bytes not in self._drifts:
            process_scale = self.process_variation(operand_bytes).scale
            (revisits, sessions), (own_revisits, _) = self._moves_before, _moves(self.own)
            self._drifts[operand_bytes] = drift_at(operand_bytes, [*revisits, *own_revisits], sessions, process_scale)
        return self._drifts[operand_bytes]

    @cached_property
    def _moves_before(self) -> tuple[list[Deviation], list[Deviation]]:
        return _moves(self.earlier)

    def groups(self, operand_bytes: int) -> Groups | None:
        """Two groups of processes, by the pairs on operands of nearly this size."""
        return two_groups_by_pairs([p.log_ratio for p in self.pairs if is_near(operand_bytes, p.operand_bytes)])

    def add(self, times: CaseTimes) -> None:
        self.own.append(times)
        self._drifts.clear()


@dataclass
class LearnedVariation:
    """Knows what the folder `machine` has of earlier runs, learns from the session named `session`, and keeps that in
    the folder `kept_in`; None where there is no such folder."""

    session: str
    machine: Path | None = None
    kept_in: Path | None = None
    code_may_change: Collection[str] = ()
    """Backends whose code may be another in the next session although their versions are the same."""
    _under: dict[Settings, _Known] = field(default_factory=dict)
    _marks: dict[str, str] = field(default_factory=dict)
    _drifts: list[SessionDrift] = field(default_factory=list)

    def included(self, outcome: Outcome) -> Outcome:
        """The outcome with what is known of the machine."""
        known, operand_bytes = self._known(outcome.settings), outcome.case.problem.bytes
        drift = known.drift(operand_bytes)
        return dataclasses.replace(outcome, variation=known.process_variation(operand_bytes), drift=drift)

    def learn_pair(self, outcome: Outcome) -> None:
        """Learn from the run's own pair of processes on the case of this outcome."""
        ratio, settings = outcome.self_ratio, outcome.settings
        if ratio is None or ratio.value <= 0:
            return
        pair = pair_here(settings, outcome.case.problem.bytes, math.log(ratio.value))
        self._known(settings).pairs.append(pair)
        if self.kept_in is not None:
            keep_pairs(self.kept_in, [pair])

    def learn_times(self, outcomes: Sequence[Outcome]) -> None:
        """Learn from the outcomes of a case, those whose times have an interval."""
        timed = [outcome for outcome in outcomes if len(outcome.samples) >= FEWEST_FOR_INTERVAL]
        for outcome in timed:
            mark = self.session if outcome.backend in self.code_may_change else ""
            self._marks[outcome.backend] = marked(
                outcome.backend, {**outcome.versions, "": mark, **_held_to(outcome.settings)}
            )
        if timed:
            seconds = {outcome.backend: _seconds(outcome) for outcome in timed}
            self._learn(timed[0].settings, timed[0].case.problem.case_id, timed[0].case.problem.bytes, seconds)

    def learn_revisits(self, revisits: Sequence[Revisit]) -> None:
        """Learn from one case that the run came back to."""
        if revisits:
            first, problem = revisits[0], revisits[0].case.problem
            seconds = {revisit.backend: revisit.seconds for revisit in revisits}
            self._learn(first.settings, problem.case_id, problem.bytes, seconds, first.number)

    def hazards(self) -> list[Hazard]:
        """Drift and groups of processes that are known to move the times of this session by more than the precision
        asked for."""
        hazards = (hazard for settings in self._under for hazard in self._hazards_under(settings))
        return in_order(hazards)

    def _hazards_under(self, settings: Settings) -> list[Hazard]:
        known, precision = self._known(settings), settings.precision
        sizes = sorted({times.operand_bytes for times in known.own})
        groups = [hazard for size in sizes if (hazard := process_groups(known.groups(size), precision)) is not None]
        drifts = [known.drift(size) for size in sizes]
        moves = [drift.half_width_of_ratio for drift in drifts if drift.exceeds(precision)]
        drift = [Hazard(Kind.DRIFT, {"drift": median(moves), "precision": precision})] if moves else []
        return [*groups[:1], *drift]

    def _known(self, settings: Settings) -> _Known:
        if settings not in self._under:
            pairs = kept_pairs(self.machine, settings) if self.machine else []
            times = kept_times(self.machine, settings) if self.machine else []
            self._under[settings] = _Known(pairs, times)
        return self._under[settings]

    def _learn(
        self,
        settings: Settings,
        case_id: str,
        operand_bytes: int,
        seconds: Mapping[str, float],
        visit: int = 0,
    ) -> None:
        by_mark = {self._marks[backend]: each for backend, each in seconds.items() if backend in self._marks}
        times = case_times(settings, self.session, case_id, operand_bytes, by_mark, visit)
        self._known(settings).add(times)
        if self.kept_in is not None:
            keep_times(self.kept_in, [times])


def _held_to(settings: Settings) -> dict[str, str]:
    """What makes a library other code, or its work another; nothing for what older files have."""
    held: dict[str, str] = {} if settings.isa is None else {"isa": settings.isa}
    return held if settings.data == NORMAL else held | {"data": settings.data}


def _moves(times: Sequence[CaseTimes]) -> tuple[list[Deviation], list[Deviation]]:
    return deviations(timed for of_case in times for timed in of_case.timed())


def _seconds(outcome: Outcome) -> float:
    """As a later visit states it: the median of the first process."""
    return median(sample.sample.wall_s for sample in outcome.samples if sample.process == 0)
