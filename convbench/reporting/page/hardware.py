"""Which hardware: what a pass brings on each machine with each backend, and how far the machines can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.analysis.hardware.differences import differences, kinds, other_versions
from convbench.analysis.hardware.machines import MeasuredMachine, SameKindRatio, measured_machines, same_kind_ratios
from convbench.analysis.hardware.prices import price_of
from convbench.analysis.hardware.throughput import Throughput
from convbench.analysis.ranking import SuiteRanking, rank
from convbench.reporting.numbers import count, interval_text, milliseconds, significant, times
from convbench.reporting.page.rows import Group
from convbench.reporting.page.side_by_side import Total, total_of
from convbench.reporting.run.report import own_error_sentence
from convbench.reporting.terminal_text import printable
from convbench.store.readings import count as times_in_a_pass
from convbench.store.readings import number, problem_of
from convbench.store.schema import Record

_LAST_WORD = "Two machines are two sessions: small differences between them are noise."


@dataclass(frozen=True)
class _Row:
    """A backend that ran every case on a machine, or on several of one kind that had the cases dealt out."""

    kind: str
    machine: str
    settings: str
    total: Total
    brings: Throughput

    @property
    def images_range(self) -> tuple[float, float] | None:
        """Images a second, at the sums of the ends of the cases' intervals."""
        images = self.brings.images
        return (images / self.total.high_s, images / self.total.low_s) if images and self.total.low_s > 0 else None


def which_hardware(groups: Sequence[Group], prices: Mapping[str, float], currency: str) -> dict[str, Any] | None:
    """A table for each suite that several machines ran under like conditions, the fastest first, and sentences; None
    for records of one machine."""
    machines = measured_machines(record for group in groups for record in group.records)
    if len(machines) < 2:
        return None
    kind_of = {machine.name: machine.kind for machine in machines}
    suites = dict.fromkeys(ranking.suite for group in groups for ranking in group.rankings)
    tables, remarks = [], []
    for suite in suites:
        rows, partial = _rows_of(suite, groups, kind_of, prices)
        if len({row.machine for row in rows}) > 1:
            tables.append({"suite": printable(suite), **_table(rows, currency)})
            remarks += partial
    return {"tables": tables, "machines": list(_machines(machines)), "comparable": [*remarks, *_comparable(machines)]}


def _rows_of(
    suite: str, groups: Sequence[Group], kind_of: Mapping[str, str], prices: Mapping[str, float]
) -> tuple[list[_Row], list[str]]:
    """The rows of a suite, the fastest first, and sentences on machines that have no time for all of its cases."""
    of_suite = [(group, ranking) for group in groups for ranking in group.rankings if ranking.suite == suite]
    wanted = frozenset(case.case for _, ranking in of_suite for case in ranking.cases)
    rows, remarks = [], []
    for part in _parts(of_suite, wanted, kind_of):
        if len(part.ranking.cases) < len(wanted):
            have = f"{len(part.ranking.cases)} of {count(len(wanted), 'case')} of {printable(suite)}"
            remarks.append(f"{part.machine} has records of {have}, and is not in its table.")
            continue
        totals = [total_of(part.ranking, score) for score in part.ranking.standings]
        rows += [_row(part, total, prices) for total in totals if total is not None]
    return sorted(rows, key=lambda row: row.total.total_s), remarks


@dataclass(frozen=True)
class _Part:
    """The ranking of one machine, or of several of a kind that have the cases of a suite only together."""

    machines: tuple[str, ...]
    kind: str
    settings: str
    ranking: SuiteRanking

    @property
    def machine(self) -> str:
        return printable(" + ".join(self.machines))


def _parts(
    of_suite: Sequence[tuple[Group, SuiteRanking]], wanted: frozenset[str], kind_of: Mapping[str, str]
) -> Iterator[_Part]:
    by_kind: dict[tuple[str, str], list[tuple[Group, SuiteRanking]]] = {}
    for group, ranking in of_suite:
        by_kind.setdefault((kind_of[group.machine], group.settings), []).append((group, ranking))
    for (kind, settings), members in by_kind.items():
        have = {case.case for _, ranking in members for case in ranking.cases}
        if have == wanted and not any(len(ranking.cases) == len(wanted) for _, ranking in members):
            yield _Part(tuple(g.machine for g, _ in members), kind, settings, _together(members))
        else:
            for group, ranking in members:
                yield _Part((group.machine,), kind, settings, ranking)


def _together(members: Sequence[tuple[Group, SuiteRanking]]) -> SuiteRanking:
    """Of each case the records of the first machine that has it: times of two machines are never mixed in a case."""
    of_case: dict[str, list[Record]] = {}
    for group, ranking in members:
        by_case: dict[str, list[Record]] = {}
        for record in group.records:
            if record.get("suite", "") == ranking.suite:
                by_case.setdefault(record["case"], []).append(record)
        for case, records in by_case.items():
            of_case.setdefault(case, records)
    [ranking] = rank([record for records in of_case.values() for record in records])
    return ranking


def _row(part: _Part, total: Total, prices: Mapping[str, float]) -> _Row:
    batches = {problem.batch if (problem := problem_of(record)) else None for record in total.records}
    joules = [number(record, "energy_j") for record in total.records]
    pass_j = None
    if all(joules):
        pass_j = sum(times_in_a_pass(r) * (j or 0.0) for r, j in zip(total.records, joules, strict=True))
    costs = [price_of(machine, prices) for machine in part.machines]
    brings = Throughput(
        pass_s=total.total_s,
        images=batches.pop() if len(batches) == 1 else None,
        pass_j=pass_j,
        price_per_hour=costs[0],
    )
    return _Row(part.kind, part.machine, part.settings, total, brings)


def _table(rows: Sequence[_Row], currency: str) -> dict[str, Any]:
    """Headers, rows whose first four cells are names, and what follows from them."""
    priced = any(row.brings.price_per_hour is not None for row in rows)
    metered = any(row.brings.images_per_j is not None for row in rows)
    headers = ["kind of machine", "machine", "conditions", "backend", "pass ms", "images/s", "range images/s"]
    headers += [f"{currency} per hour", f"images per {currency}"] if priced else []
    headers += ["images per J"] if metered else []
    firsts = {row.machine: row for row in reversed(rows)}
    of_kinds = {row.kind: row for row in reversed(rows)}
    shown = [{"cells": _cells(row, priced, metered, rows[0]), "is_best": firsts[row.machine] is row} for row in rows]
    return {
        "headers": [printable(header) for header in (*headers, "times the fastest")],
        "rows": shown,
        "sentences": list(_answers(sorted(of_kinds.values(), key=lambda row: row.total.total_s), currency)),
    }


def _cells(row: _Row, priced: bool, metered: bool, fastest: _Row) -> list[str]:
    brings, span = row.brings, row.images_range
    cells = [
        printable(row.kind),
        row.machine,
        row.settings,
        printable(row.total.backend),
        milliseconds(row.total.total_s),
    ]
    cells += [_figure(brings.images_per_s), "" if span is None else interval_text(*span, covers=False)]
    cells += [_figure(brings.price_per_hour), _figure(brings.images_per_price)] if priced else []
    cells += [_figure(brings.images_per_j)] if metered else []
    return [*cells, times(row.total.total_s / fastest.total.total_s)]


def _figure(value: float | None) -> str:
    return "–" if value is None else significant(value)


def _answers(best: Sequence[_Row], currency: str) -> Iterator[str]:
    """Which kind is the fastest, brings most for its price, and for its energy; `best` has one row of each kind, the
    fastest first."""
    first, *others = best
    if not others:
        yield f"All are of one kind, {printable(first.kind)}: what differs between them is the session."
        return
    second = others[0]
    lead = times(second.total.total_s / first.total.total_s)
    if first.total.high_s >= second.total.low_s:
        yield f"{_named(first)} and {_named(second)} are level: their ranges overlap."
    else:
        yield f"The fastest is {_named(first)}. Next is {_named(second)}, which takes {lead} as long."
    figures = {f"images per {currency}": "images_per_price", "images per J": "images_per_j"}
    for words, name in figures.items():
        known = [row for row in best if getattr(row.brings, name) is not None]
        if len(known) > 1:
            most = max(known, key=lambda row: getattr(row.brings, name))
            yield f"Most {printable(words)}: {_named(most)}."
        elif known:
            yield f"The {printable(words)} are known of {known[0].machine} alone."


def _named(row: _Row) -> str:
    return f"{row.machine} with {printable(row.total.backend)}"


# --- how comparable they are ------------------------------------------------------------------------------------------


def _machines(machines: Sequence[MeasuredMachine]) -> Iterator[str]:
    for kind, alike in kinds(machines).items():
        yield printable(f"{kind}: {', '.join(machine.name for machine in alike)}")


def _comparable(machines: Sequence[MeasuredMachine]) -> list[str]:
    """What stands in the way of comparing the machines, and how alike those of one kind are; a sentence each."""
    sentences = [_alike(between) for between in same_kind_ratios(machines)]
    sentences += differences(machines)
    sentences += other_versions([alike[0] for alike in kinds(machines).values()])
    sentences += _days(machines)
    for machine in machines:
        own = own_error_sentence(machine.records)
        sentences.append(
            f"{machine.name}: {own or 'it was measured without a self-check, so its own error is unknown.'}"
        )
    return [*map(printable, sentences), _LAST_WORD]


def _alike(between: SameKindRatio) -> str:
    span = f"geometric mean; from {between.least:.3f} to {between.most:.3f}"
    return (
        f"{between.first} and {between.other} are of one kind: over the {count(between.pairs, 'pair')} that both "
        f"timed, {between.other} took {between.ratio:.3f} times as long ({span})."
    )


def _days(machines: Sequence[MeasuredMachine]) -> list[str]:
    """Where machines were measured on different days."""
    days = {machine.name: machine.days for machine in machines if machine.days is not None}
    if len({*days.values()}) < 2:
        return []
    each = "; ".join(f"{name} {' to '.join(dict.fromkeys(span))}" for name, span in days.items())
    return [f"They were measured on different days: {each}."]
