"""What `convbench choose` was asked, and the answer that choices make to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convbench.analysis.choice import LayerChoice
from convbench.analysis.model_total import add_up
from convbench.analysis.roofline import Limits
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.scheduling.race import FEWEST_ROUNDS
from convbench.measurement.settings import Settings
from convbench.runner.choose.answer import Answer

_PRECISION = 0.01
_MOST_ROUNDS, _MOST_ROUNDS_FOR_PRECISION = 28, 10_000
_STAKE = 0.05  # what a choice may cost, about, before a noisy machine is given more rounds


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given; of `suite`, `model` and `problem` there is one."""

    suite: str | None = None
    model: str | None = None
    problem: str | None = None
    backends: tuple[str, ...] = ()
    threads: int = 1
    batch: int | None = None
    input_shape: tuple[int, ...] | None = None
    dtype: str | None = None
    where: str | None = None
    plan: Path | None = None
    from_results: bool = False
    machine: str | None = None
    processes: int = 1
    budget: float = 0.5
    precision: float | None = None
    tie: float = 0.02
    time_limit: float = 30.0
    lower_precision: bool = False
    plugins: tuple[Path, ...] = ()
    results: Path | None = None
    as_json: bool = False

    @property
    def measures(self) -> bool:
        return not self.from_results and self.machine is None

    @property
    def max_regret(self) -> float:
        """What may be lost by a choice without going on; nothing where a precision was asked for."""
        return _STAKE if self.precision is None else 0.0

    def settings(self) -> Settings:
        return Settings(
            threads=self.threads,
            precision=self.precision or _PRECISION,
            sample_s=0.004,
            fewest_rounds=FEWEST_ROUNDS,
            most_rounds=_MOST_ROUNDS if self.precision is None else _MOST_ROUNDS_FOR_PRECISION,
            budget_s=self.budget,
            processes=self.processes,
            settle_s=0.01,
            time_limit_s=self.time_limit,
        )

    def answered(self, choices: Sequence[LayerChoice], limits: Limits, machine: str) -> Answer:
        """The answer that `choices` make, on `machine` with its `limits`."""
        records = (timed.record for choice in choices for timed in choice.ranked if timed.record is not None)
        cpus = ((record.get("machine") or {}).get("cpu") for record in records)
        return Answer(
            asked=self.model or self.problem or self.suite or "",
            choices=tuple(choices),
            model=add_up(choices),
            threads=self.threads,
            tie=self.tie,
            limits=limits,
            machine=machine,
            cpu=next(filter(None, cpus), None) or machine_facts()["cpu"],
            allocator=self.settings().allocator,
            is_recorded=not self.measures,
        )
