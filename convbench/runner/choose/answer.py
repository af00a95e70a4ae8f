"""What `convbench choose` answers: the request, the answer, the plan that it makes, and its JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from convbench.analysis.backend_times import BackendTime
from convbench.analysis.choice import LayerChoice
from convbench.analysis.explanation import explanation
from convbench.analysis.model_total import ModelChoice, add_up
from convbench.analysis.roofline import Limits
from convbench.installation import VERSION
from convbench.measurement.cache_choice import Caches
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.machine.priority import Priority
from convbench.measurement.scheduling.race import FEWEST_ROUNDS
from convbench.measurement.settings import Cache, Settings
from convbench.plans.plan import Choice, Lead, Plan
from convbench.problem import ConvProblem
from convbench.runner.choose.layouts import InLayout, by_layout
from convbench.stats.ratio import Ratio
from convbench.store.readings import implementation, table
from convbench.store.schema import Record
from convbench.suite import Suite

_PRECISION = 0.01
_QUICK_S = 0.1
_MOST_ROUNDS, _MOST_ROUNDS_FOR_PRECISION = 28, 10_000


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options, with one of `suite`, `model` and `problems`. Without `keep` the journal is a temporary file."""

    suite: str | Suite | None = None
    model: Any = None
    problems: tuple[str | ConvProblem, ...] = ()
    backends: tuple[str, ...] = ()
    threads: int = 1
    batch: int | None = None
    input_shape: Any = None
    """What `convbench.extraction.inputs.Inputs.of` takes: a shape, or shapes by the names of inputs."""
    dtype: str | None = None
    where: str | None = None
    bare: bool = False
    """Choose by the convolutions of a model alone, without what engines join to them."""
    training: bool = False
    """Choose by a training step of each layer."""
    plan: Path | None = None
    from_results: bool = False
    machine: str | None = None
    processes: int | None = None
    priority: Priority = "normal"
    cache: Cache | None = None
    """None: as in a pass for a model or a suite that stands for one, else warm."""
    pass_bytes: int | None = None
    budget: float = 0.5
    precision: float | None = None
    tie: float = 0.02
    time_limit: float = 30.0
    lower_precision: bool = False
    purpose: Literal["apply"] | None = None
    """`apply`: the choice is among what can compute the layers of a torch model in the model's process."""
    quick: bool = False
    details: bool = False
    plugins: tuple[Path, ...] = ()
    results: Path | None = None
    keep: bool = True

    @property
    def measures(self) -> bool:
        return not self.from_results and self.machine is None

    @property
    def deploys(self) -> bool:
        """Whether the question is for a model's convolutions with what engines join to them, as in inference."""
        trains = self.training or bool(getattr(self.model, "training", False))
        return self.model is not None and not self.bare and not trains

    @property
    def caches(self) -> Caches:
        return Caches(self.cache, self.pass_bytes)

    def settings(self) -> Settings:
        most_rounds = _MOST_ROUNDS if self.precision is None else _MOST_ROUNDS_FOR_PRECISION
        return Settings(
            threads=self.threads,
            precision=self.precision or _PRECISION,
            sample_s=0.002 if self.quick else 0.004,
            fewest_rounds=FEWEST_ROUNDS,
            most_rounds=FEWEST_ROUNDS if self.quick else most_rounds,
            budget_s=min(self.budget, _QUICK_S) if self.quick else self.budget,
            handed_over=self.purpose == "apply",
            processes=self.processes or 1,
            priority=self.priority,
            settle_s=0.01,
            time_limit_s=self.time_limit,
        )

    @property
    def question(self) -> str:
        """What the choice is for, as it was given."""
        if self.model is not None:
            return self.model if isinstance(self.model, str) else type(self.model).__name__
        if self.problems:
            return ", ".join(p if isinstance(p, str) else p.case_id for p in self.problems)
        return self.suite.name if isinstance(self.suite, Suite) else self.suite or ""


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

    @cached_property
    def layouts(self) -> tuple[InLayout, ...]:
        """The choices in each layout of tensors, the fastest first, where they are for a torch model; else empty."""
        return by_layout(self.model.choices) if self.request.purpose == "apply" else ()

    @property
    def planned(self) -> tuple[LayerChoice, ...]:
        """What a plan has: for a torch model choices in one layout, else the fastest backend of each layer."""
        return self.layouts[0].choices if self.layouts else self.model.choices

    @property
    def cpu(self) -> str:
        cpus = (table(record, "machine").get("cpu") for record in self.records)
        return str(next(filter(None, cpus), None) or machine_facts()["cpu"])

    @property
    def days(self) -> tuple[str, ...]:
        """The first and the last day on which its times were measured."""
        days = sorted({str(record.get("time", ""))[:10] for record in self.records} - {""})
        return tuple(dict.fromkeys((days[0], days[-1]))) if days else ()

    @property
    def records(self) -> list[Record]:
        """The records of the times that compete."""
        return [timed.record for choice in self.choices for timed in choice.ranked if timed.record is not None]


def plan_of(answer: Answer) -> Plan:
    """The plan of all layers for which there is a choice."""
    by_problem = {choice.case.problem.case_id: choice for choice in answer.planned}
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
        **({"layouts": list(map(_layout, answer.layouts))} if answer.layouts else {}),
    }


def _layout(each: InLayout) -> dict[str, Any]:
    return {"layout": each.layout, "pass_s": each.pass_s, "backends": list(each.backends), "without": each.without}


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
        row["implementation"] = implementation(timed.record)
    return row | ({"neighbours": list(timed.neighbours)} if timed.neighbours else {})


def _ratio(ratio: Ratio | None) -> dict[str, Any] | None:
    if ratio is None:
        return None
    kind = "interval" if ratio.covers else "range"
    return {"ratio": ratio.value, "low": ratio.low, "high": ratio.high, "interval": kind}
