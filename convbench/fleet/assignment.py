"""Which machine measures what: everything on one machine of each kind, on named machines, or cases dealt out.

Times of two machines are never mixed, so every backend of a case is measured on the machine that has the case. Where
the cases are dealt out over like machines, a few are measured on all of them: they show whether the machines are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from convbench.analysis.hardware.differences import kinds
from convbench.errors import FleetError, did_you_mean
from convbench.fleet.machines.machine import Machine
from convbench.suite import Case, Suite

ANCHORS = 3


@dataclass(frozen=True)
class Assignment:
    """What one machine measures."""

    machine: Machine
    suites: tuple[Suite, ...]

    @property
    def cases(self) -> list[Case]:
        return [case for suite in self.suites for case in suite.cases]


def assignments(
    machines: Sequence[Machine], suites: Sequence[Suite], names: Sequence[str] = (), *, shard: bool = False
) -> list[Assignment]:
    """For each machine that measures. With `names`, which may be globs, every such machine measures everything;
    without, one of each kind. With `shard` the cases are dealt out over those, or over all, that are of one kind.
    Raises `FleetError` for a name that no machine has."""
    chosen = named(machines, names) if names else list(machines)
    by_kind = kinds(chosen)
    if shard:
        return [each for alike in by_kind.values() for each in _dealt_out(alike, suites)]
    measuring = chosen if names else [alike[0] for alike in by_kind.values()]
    return [Assignment(machine, tuple(suites)) for machine in sorted(measuring, key=lambda machine: machine.name)]


def named(machines: Sequence[Machine], names: Sequence[str]) -> list[Machine]:
    """The machines whose names match. Raises `FleetError` for a name that no machine has."""
    known = [machine.name for machine in machines]
    for name in names:
        if not any(fnmatchcase(machine, name) for machine in known):
            raise FleetError(
                f"--machines names {name!r}, and the cluster has {', '.join(known)}.{did_you_mean(name, known)}"
            )
    return [machine for machine in machines if any(fnmatchcase(machine.name, name) for name in names)]


def _dealt_out(machines: Sequence[Machine], suites: Sequence[Suite]) -> list[Assignment]:
    """The largest cases first, each to the machine that has the least work by then; the anchors to all."""
    pairs = [(number, case) for number, suite in enumerate(suites) for case in suite.cases]
    ordered = sorted(pairs, key=lambda pair: pair[1].problem.flops, reverse=True)
    anchors = [ordered[place] for place in anchor_places(len(ordered))] if len(machines) > 1 else []
    work = [0.0] * len(machines)
    of_machine: list[set[tuple[int, str]]] = [{(number, case.name) for number, case in anchors} for _ in machines]
    for number, case in ordered:
        if (number, case) not in anchors:
            least = work.index(min(work))
            work[least] += _OVERHEAD_FLOPS + case.problem.flops
            of_machine[least].add((number, case.name))
    return [
        Assignment(machine, _parts(suites, names)) for machine, names in zip(machines, of_machine, strict=True) if names
    ]


_OVERHEAD_FLOPS = 3e8  # verifying a case and a fixed number of samples take time, however small it is


def anchor_places(cases: int) -> list[int]:
    """Where the anchors are among so many cases by size: the ends and the middle."""
    if cases <= ANCHORS:
        return list(range(cases))
    return [0, cases // 2, cases - 1]


def _parts(suites: Sequence[Suite], names: set[tuple[int, str]]) -> tuple[Suite, ...]:
    parts = [
        suite.selection(case for case in suite.cases if (number, case.name) in names)
        for number, suite in enumerate(suites)
    ]
    return tuple(part for part in parts if part.cases)
