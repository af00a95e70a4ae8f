"""The options of `convbench choose`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convbench.measurement.scheduling.race import FEWEST_ROUNDS
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.suite import Suite

_PRECISION = 0.01
_MOST_ROUNDS, _MOST_ROUNDS_FOR_PRECISION = 28, 10_000
_MAX_REGRET = 0.05  # a choice may be that much slower than the fastest before a noisy machine gets more rounds


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options, with one of `suite`, `model` and `problems`. Without `keep` the journal is a temporary file."""

    suite: str | Suite | None = None
    model: Any = None
    problems: tuple[str | ConvProblem, ...] = ()
    backends: tuple[str, ...] = ()
    threads: int = 1
    batch: int | None = None
    input_shape: tuple[int, ...] | None = None
    dtype: str | None = None
    where: str | None = None
    plan: Path | None = None
    from_results: bool = False
    machine: str | None = None
    processes: int | None = None
    budget: float = 0.5
    precision: float | None = None
    tie: float = 0.02
    time_limit: float = 30.0
    lower_precision: bool = False
    plugins: tuple[Path, ...] = ()
    results: Path | None = None
    keep: bool = True

    @property
    def measures(self) -> bool:
        return not self.from_results and self.machine is None

    @property
    def max_regret(self) -> float:
        """How much slower than the fastest a choice may be when a race ends; nothing when a precision was asked for."""
        return _MAX_REGRET if self.precision is None else 0.0

    def settings(self) -> Settings:
        return Settings(
            threads=self.threads,
            precision=self.precision or _PRECISION,
            sample_s=0.004,
            fewest_rounds=FEWEST_ROUNDS,
            most_rounds=_MOST_ROUNDS if self.precision is None else _MOST_ROUNDS_FOR_PRECISION,
            budget_s=self.budget,
            processes=self.processes or 1,
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
