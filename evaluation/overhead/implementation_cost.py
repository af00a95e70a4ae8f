"""What does asking which kernel ran cost the times? Two copies of a backend side by side, of which one is asked.

    python evaluation/overhead/implementation_cost.py [--backend torch] [--layers 20] [--sessions 5] [--rounds 30]

Both are in every round of every layer of zoo-100 that is drawn, each in a process of its own. After each layer one says
which kernel ran, so that whatever this leaves behind in the process is in the times of the next layers. Printed is the
ratio of their times, asked over not asked: the median over rounds, a geometric mean over layers, and Student's interval
over sessions, whose processes are fresh.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from convbench.analysis.paired_ratio import ratio
from convbench.backend import Backend, Ready
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of
from convbench.suite import Case, load_suite

VARIABLE, MOST_FLOPS = "IMPLEMENTATION_COST_OF", 2e8


class Copy(Backend):
    """The backend that the environment names, asked or not."""

    def __init__(self, name: str, asked: bool) -> None:
        self.name, self.asked = name, asked
        (entry,) = discover([]).select([os.environ.get(VARIABLE, "torch")])
        self.of: Any = entry.backend
        for attribute in ("requires", "supports", "arithmetic", "prepacks", "kept_caches"):
            setattr(self, attribute, getattr(self.of, attribute))

    def unsupported(self, problem: ConvProblem) -> str | None:
        return str(reason) if (reason := self.of.unsupported(problem)) else None

    def limit_threads(self, n: int) -> None:
        self.of.limit_threads(n)

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        ready: Ready = self.of.prepare(problem, x, w, b)
        return ready if self.asked else replace(ready, explain=None, kernel=None)


BACKENDS = (Copy("asked", True), Copy("not-asked", False))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    os.environ[VARIABLE] = options.backend
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}; {options.backend}, {options.layers} layers")
    small = [case for case in load_suite("zoo-100").cases if case.problem.flops < MOST_FLOPS]
    cases = random.Random(0).sample(small, min(options.layers, len(small)))
    sessions = [_session(cases, options.rounds) for _ in range(options.sessions)]
    for number, log_ratio in enumerate(sessions, 1):
        print(f"session {number}: {math.exp(log_ratio):.5f}")
    print(f"asked over not asked: {math.exp(fmean(sessions)):.5f}{_interval(sessions)}")


def _session(cases: list[Case], rounds: int) -> float:
    """The logarithm of the ratio in one session, as a mean over layers."""
    settings = Settings(precision=0.0, fewest_rounds=rounds, most_rounds=rounds, budget_s=60.0)
    entries = discover([Path(__file__)]).select(["asked", "not-asked"])
    logs, named = [], 0
    with Engine(settings) as engine:
        for case in cases:
            outcomes = {o.backend: o for o in engine.measure("cost", case, entries)}
            asked, silent = (record_of(outcomes[n], "", "", CheckoutState()) for n in ("asked", "not-asked"))
            named += asked.get("implementation") is not None
            if (found := ratio(asked, silent)) is not None:
                logs.append(math.log(found.value))
    print(f"{len(logs)} layers timed, a kernel named for {named}", flush=True)
    return fmean(logs)


def _interval(sessions: list[float]) -> str:
    from scipy.stats import t

    if len(sessions) < 2:
        return ""
    half = t.ppf(0.975, len(sessions) - 1) * stdev(sessions) / math.sqrt(len(sessions))
    low, high = (math.exp(fmean(sessions) + sign * half) for sign in (-1, 1))
    return f"  [{low:.5f}, {high:.5f}]"


if __name__ == "__main__":
    main()
