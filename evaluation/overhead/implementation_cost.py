"""What does asking which kernel ran cost the times? Two copies of a backend side by side, of which one is asked.

    python evaluation/overhead/implementation_cost.py [--backend torch] [--layers 20] [--sessions 10] [--rounds 15]

A session has two processes, in every round of every layer of zoo-100 that is drawn. All layers are timed three times:
in the first pass nobody is asked, in the second one process says after each layer which kernel ran, and in the third
nobody is asked. Whatever asking leaves behind in a process is in its times of the third pass, and in part in those of
the second. Printed is by how much the ratio of both processes, asked over not asked, moved from the first pass to a
later one: a geometric mean over layers, and Student's interval over sessions. What the two processes differ by from
the start cancels out.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
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

NAME, FLAG = "IMPLEMENTATION_COST_OF", "IMPLEMENTATION_COST_FLAG"
"""Environment variables: the backend, and a file that exists while the one process is asked."""
MOST_FLOPS = 2e8
PASSES, ASKED_IN = 3, 1


class Copy(Backend):
    """The backend that the environment names. Its process is asked while there is the flag, or never."""

    def __init__(self, name: str, asked: bool) -> None:
        self.name, self.asked = name, asked
        (entry,) = discover([]).select([os.environ.get(NAME, "torch")])
        self.of: Any = entry.backend
        for attribute in ("requires", "supports", "arithmetic", "prepacks", "kept_caches"):
            setattr(self, attribute, getattr(self.of, attribute))

    def unsupported(self, problem: ConvProblem) -> str | None:
        return str(reason) if (reason := self.of.unsupported(problem)) else None

    def limit_threads(self, n: int) -> None:
        self.of.limit_threads(n)

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        ready: Ready = self.of.prepare(problem, x, w, b)
        explain = ready.explain

        def explain_while_flagged() -> str | None:
            return explain() if explain and Path(os.environ[FLAG]).exists() else None

        return replace(ready, explain=explain_while_flagged if self.asked else None, kernel=None)


BACKENDS = (Copy("asked", True), Copy("not-asked", False))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    os.environ[NAME] = options.backend
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}; {options.backend}, {options.layers} layers")
    small = [case for case in load_suite("zoo-100").cases if case.problem.flops < MOST_FLOPS]
    cases = random.Random(0).sample(small, min(options.layers, len(small)))
    with tempfile.TemporaryDirectory() as folder:
        flag = Path(folder, "asked")
        os.environ[FLAG] = str(flag)
        sessions = [_session(cases, options.rounds, flag) for _ in range(options.sessions)]
    for label, number in (("while it is asked", ASKED_IN), ("after it was asked", PASSES - 1)):
        moves = [logs[number] - logs[0] for logs in sessions]
        print(f"asked over not asked, {label}: {math.exp(fmean(moves)):.5f}{_interval(moves)}")


def _session(cases: list[Case], rounds: int, flag: Path) -> list[float]:
    """The logarithm of asked over not asked in each pass, as a mean over the layers that were timed in all."""
    settings = Settings(precision=0.0, fewest_rounds=rounds, most_rounds=rounds, budget_s=60.0)
    entries = discover([Path(__file__)]).select(["asked", "not-asked"])
    logs: list[dict[str, float]] = []
    named = [0] * PASSES
    with Engine(settings) as engine:
        for number in range(PASSES):
            logs.append({})
            flag.touch() if number == ASKED_IN else flag.unlink(missing_ok=True)
            for case in cases:
                outcomes = {o.backend: o for o in engine.measure("cost", case, entries)}
                asked, silent = (record_of(outcomes[n], "", "", CheckoutState()) for n in ("asked", "not-asked"))
                named[number] += asked.get("implementation") is not None
                if (times := ratio(asked, silent)) is not None:
                    logs[number][case.name] = math.log(times.value)
    timed = set.intersection(*(set(each) for each in logs))
    means = [fmean(each[case] for case in timed) for each in logs]
    words = ", ".join(f"{math.exp(mean):.5f} ({count} kernels named)" for mean, count in zip(means, named, strict=True))
    print(f"{len(timed)} layers, asked over not asked by pass: {words}", flush=True)
    return means


def _interval(sessions: list[float]) -> str:
    from scipy.stats import t

    if len(sessions) < 2:
        return ""
    half = t.ppf(0.975, len(sessions) - 1) * stdev(sessions) / math.sqrt(len(sessions))
    low, high = (math.exp(fmean(sessions) + sign * half) for sign in (-1, 1))
    return f"  [{low:.5f}, {high:.5f}]"


if __name__ == "__main__":
    main()
