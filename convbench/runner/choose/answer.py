"""The answer of `convbench choose`, as a value, and as JSON lines: one for each layer, and one for the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.analysis.backend_times import BackendTime
from convbench.analysis.choice import LayerChoice, Rival
from convbench.analysis.explanation import explanation
from convbench.analysis.model_total import ModelChoice
from convbench.analysis.roofline import Limits
from convbench.stats.ratio import Ratio


@dataclass(frozen=True)
class Answer:
    """The choices for each layer; `model` adds up those of layers that have one. `question` is what they are for."""

    question: str
    choices: tuple[LayerChoice, ...]
    model: ModelChoice
    threads: int
    tie: float
    limits: Limits
    machine: str
    cpu: str
    allocator: str
    is_recorded: bool

    @property
    def is_predicted(self) -> bool:
        """Whether a choice rests on a prediction."""
        return any(choice.ranked[0].basis == "predicted" for choice in self.model.choices)

    @property
    def without(self) -> tuple[LayerChoice, ...]:
        """The layers without a choice."""
        return tuple(choice for choice in self.choices if not choice.ranked)

    @property
    def days(self) -> tuple[str, ...]:
        """The first and the last day on which its times were measured."""
        records = [timed.record for choice in self.model.choices for timed in choice.ranked if timed.record is not None]
        days = sorted({str(record.get("time", ""))[:10] for record in records} - {""})
        return tuple(dict.fromkeys((days[0], days[-1]))) if days else ()


def answer_lines(answer: Answer) -> Iterator[dict[str, Any]]:
    """JSON-ready: `type` is "layer" or "summary"; times are seconds per call, totals seconds per pass."""
    for choice in answer.choices:
        yield _layer(choice, answer)
    model, single = answer.model, answer.model.single
    yield {
        "type": "summary",
        "asked": answer.question,
        "machine": answer.machine,
        "cpu": answer.cpu,
        "threads": answer.threads,
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
        "tie": answer.tie,
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
        "rivals": [_rival(rival) for rival in choice.rivals],
        "untimed": [{key: record.get(key) for key in ("backend", "status", "reason")} for record in choice.untimed],
        "left_out": dict(choice.left_out),
    }


def _rival(rival: Rival) -> dict[str, Any]:
    return _timed(rival.time) | {"over_choice": _ratio(rival.ratio), "level": rival.level}


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
    return {
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "interval": "interval" if ratio.covers else "range",
    }


def names(backends: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(backends[:-1]), *backends[-1:])))
