"""The answer of `convbench choose`: a value, the plan that it makes, and JSON lines for each layer and the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from convbench.analysis.backend_times import BackendTime
from convbench.analysis.choice import LayerChoice
from convbench.analysis.explanation import explanation
from convbench.analysis.model_total import ModelChoice, add_up
from convbench.analysis.roofline import Limits
from convbench.installation import VERSION
from convbench.measurement.machine.facts import machine_facts
from convbench.plans.plan import Choice, Lead, Plan
from convbench.runner.choose.request import Request
from convbench.stats.ratio import Ratio
from convbench.store.readings import table
from convbench.store.schema import Record


@dataclass(frozen=True)
class Answer:
    """The choices for each layer of `request`, on `machine` with its `limits`."""

    request: Request
    choices: tuple[LayerChoice, ...]
    limits: Limits
    machine: str

    @cached_property
    def model(self) -> ModelChoice:
        """The layers that have a choice, added up."""
        return add_up(self.choices)

    @property
    def cpu(self) -> str:
        cpus = (table(record, "machine").get("cpu") for record in self._records)
        return str(next(filter(None, cpus), None) or machine_facts()["cpu"])

    @property
    def days(self) -> tuple[str, ...]:
        """The first and the last day on which its times were measured."""
        days = sorted({str(record.get("time", ""))[:10] for record in self._records} - {""})
        return tuple(dict.fromkeys((days[0], days[-1]))) if days else ()

    @property
    def _records(self) -> list[Record]:
        return [timed.record for choice in self.choices for timed in choice.ranked if timed.record is not None]


def plan_of(answer: Answer) -> Plan:
    """The plan of all layers for which there is a choice."""
    by_problem = {choice.case.problem.case_id: choice for choice in answer.model.choices}
    dtypes = {choice.case.problem.dtype for choice in by_problem.values()}
    versions = {"convbench": VERSION}
    for choice in by_problem.values():
        if (record := choice.ranked[0].record) is not None:
            versions |= {str(name): str(version) for name, version in table(record, "versions").items()}
    single = answer.model.single
    return Plan(
        machine=answer.machine,
        cpu=answer.cpu,
        threads=answer.request.threads,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        choices=tuple(_planned(choice, answer) for choice in by_problem.values()),
        dtype=dtypes.pop() if len(dtypes) == 1 else None,
        versions=versions,
        allocator=answer.request.settings().allocator,
        default=single.backend if single else None,
    )


def _planned(choice: LayerChoice, answer: Answer) -> Choice:
    winner, second = choice.ranked[0], choice.runner_up
    return Choice(
        case_id=choice.case.problem.case_id,
        backend=winner.backend,
        basis=winner.basis,
        call_s=winner.call_s,
        low_s=min(winner.low_s, winner.call_s),
        high_s=max(winner.high_s, winner.call_s),
        runner_up=second.time.backend if second else None,
        lead=Lead(second.ratio.value, second.ratio.low, second.ratio.high) if second else None,
        count=choice.case.count,
        layer=choice.case.layer,
        reason=explanation(winner, answer.limits),
    )


def answer_lines(answer: Answer) -> Iterator[dict[str, Any]]:
    """JSON-ready: `type` is "layer" or "summary"; times are seconds per call, totals seconds per pass."""
    for choice in answer.choices:
        yield _layer(choice, answer)
    model, single = answer.model, answer.model.single
    yield {
        "type": "summary",
        "asked": answer.request.question,
        "machine": answer.machine,
        "cpu": answer.cpu,
        "threads": answer.request.threads,
        "layers": len(answer.choices),
        "chosen": len(model.choices),
        "single": single.backend if single else None,
        "best_s": model.best_s if model.choices else None,
        "totals": [
            {
                "backend": total.backend,
                "layers": total.layers,
                "total_s": total.known_s if total.is_whole else None,
                "expected_s": total.expected_s,
                "over_single": _ratio(model.lead(total.backend, single.backend)) if single and total.is_whole else None,
                "over_best": _ratio(model.lead(total.backend)) if total.is_whole else None,
                "first_answers_s": total.first_s,
                "peak_bytes": total.peak_bytes,
            }
            for total in model.totals
        ],
        "differences": [{"case": d.choice.case.name, "saved_s": d.saved_s} for d in model.differences()],
        "tie": answer.request.tie,
        "measured": list(answer.days),
    }


def _layer(choice: LayerChoice, answer: Answer) -> dict[str, Any]:
    winner, lead = choice.winner, choice.lead
    return {
        "type": "layer",
        "case": choice.case.name,
        "case_id": choice.case.problem.case_id,
        "layer": choice.case.layer,
        "count": choice.case.count,
        "choice": _timed(winner) | {"reason": explanation(winner, answer.limits)} if winner else None,
        "level": list(choice.level),
        "lead": {"over": lead.time.backend} | (_ratio(lead.ratio) or {}) if lead else None,
        "rivals": [
            _timed(rival.time) | {"over_choice": _ratio(rival.ratio), "level": rival.level} for rival in choice.rivals
        ],
        "untimed": [{key: record.get(key) for key in ("backend", "status", "reason")} for record in choice.untimed],
        "left_out": dict(choice.left_out),
    }


def _timed(timed: BackendTime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "backend": timed.backend,
        "basis": timed.basis,
        "call_s": timed.call_s,
        "low_s": timed.low_s,
        "high_s": timed.high_s,
        "interval": "interval" if timed.covers else "range",
    }
    if timed.record is not None:
        row["stopped"] = timed.record.get("stopped")
    return row | ({"neighbours": list(timed.neighbours)} if timed.neighbours else {})


def _ratio(ratio: Ratio | None) -> dict[str, Any] | None:
    if ratio is None:
        return None
    kind = "interval" if ratio.covers else "range"
    return {"ratio": ratio.value, "low": ratio.low, "high": ratio.high, "interval": kind}
