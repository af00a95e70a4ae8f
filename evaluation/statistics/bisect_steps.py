"""How well `convbench bisect --slower 5%` finds a step, and how often it blames a release where nothing changed.

    python evaluation/statistics/bisect_steps.py [--pairs FOLDER] [--real 6]

First simulated: series of 24 releases with a step of 5 % at a seeded place, and flat ones. What two processes of the
same code differ by is drawn from the pairs of processes that runs on this machine kept in FOLDER (the folder of a
machine in results/); without any, from a normal distribution with the spread that convbench expects of a machine, and
with several times that. Intervals are those that convbench gives, from the same pairs. Then real, with `--real N`: N
series of 8 releases with a step and N flat ones, where a release is a convolution in NumPy, or the same with 5 % more
of the same computation (`slowed_backends.py`), each measurement with fresh processes.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from convbench.analysis.paired_ratio import ratio
from convbench.measurement.machine.facts import machine_facts, machine_name
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.runner.bisect.changed_answer import Skipped
from convbench.runner.bisect.slow_down import Ratios, SlowDownSearch, TimeChange
from convbench.stats.process_variation import EXPECTED, half_width_of_process_variation
from convbench.stats.ratio import Ratio
from convbench.store.locations import CheckoutState, results_folder
from convbench.store.process_pairs import kept_pairs
from convbench.store.records import record_of
from convbench.suite import Case

PLUGIN = Path(__file__).with_name("slowed_backends.py")
STEP = 0.05
RELEASES, FLAT, STEPPING = 24, 50, 20
Draw = Callable[[random.Random], float]


class Simulated:
    """Runs whose processes differ by what `draw` gives for the logarithm of two processes' ratio."""

    def __init__(self, levels: Sequence[float], draw: Draw, half_width: float, seed: int) -> None:
        self.levels, self.draw, self.half_width = levels, draw, half_width
        self.random, self.runs = random.Random(seed), 0

    def __call__(self, members: tuple[int, ...]) -> Ratios:
        self.runs += 1
        logs = {m: math.log(self.levels[m]) + self.draw(self.random) / math.sqrt(2) for m in members}
        pairs = {(a, b): logs[a] - logs[b] for a, b in permutations(members, 2)}
        half = self.half_width
        return Ratios({pair: Ratio.of_logs(log, log - half, log + half) for pair, log in pairs.items()})


class Real:
    """Runs of two backends under the names of releases, each in a worker process of its own."""

    def __init__(self, step: int | None, problem: ConvProblem) -> None:
        self.step, self.case, self.runs = step, Case(problem), 0
        self.registry = discover([PLUGIN])

    def __call__(self, members: tuple[int, ...]) -> Ratios | tuple[int, Skipped]:
        self.runs += 1
        entries = []
        for member in members:
            name = "conv-slowed-more" if self.step is not None and member >= self.step else "conv"
            (entry,) = self.registry.select([name])
            entries.append(replace(entry, name=f"{name}@{member}"))  # type: ignore[type-var]
        settings = Settings(processes=3, budget_s=0.5, seed=self.runs)
        with Engine(settings) as engine:
            outcomes = list(engine.measure("bisect", self.case, entries))
        records = {int(o.backend.partition("@")[2]): record_of(o, "b", "b", CheckoutState()) for o in outcomes}
        pairs = {}
        for one, other in permutations(members, 2):
            if (times := ratio(records[one], records[other])) is None:
                return one, Skipped(str(records[one].get("reason")))
            pairs[one, other] = times
        return Ratios(pairs)


def verdict(result: TimeChange, step: int | None) -> str:
    """In a word, what was answered of a series with a step at `step`, or without one."""
    places = [(s.before, s.after) for s in result.steps]
    if not places:
        return "none" if step is None else "undecided"
    if step is None or not any(before < step <= after for before, after in places):
        return "wrong"
    return "right" if places == [(step - 1, step)] else "range"


def report(label: str, answers: Counter[str], runs: Sequence[int]) -> None:
    words = ", ".join(f"{count} {word}" for word, count in sorted(answers.items()))
    print(f"{label:<58}{words:<40}{sum(runs) / len(runs):6.1f} runs in the mean, {max(runs)} at most", flush=True)


def simulated(label: str, draw: Draw, half_width: float) -> None:
    for name, count in (("a 5 % step", STEPPING), ("flat", FLAT)):
        answers, runs = Counter[str](), []
        for seed in range(count):
            step = 1 + random.Random(seed).randrange(RELEASES - 1) if name != "flat" else None
            levels = [1.0 if step is None or member < step else 1 + STEP for member in range(RELEASES)]
            series = Simulated(levels, draw, half_width, seed)
            answers[verdict(SlowDownSearch(series, STEP).between(0, RELEASES - 1), step)] += 1
            runs.append(series.runs)
        report(f"{label}, {name}", answers, runs)


def real(count: int, problem: ConvProblem) -> None:
    for name in ("a 5 % step", "flat"):
        answers, runs, start = Counter[str](), [], time.monotonic()
        for seed in range(count):
            step = 1 + random.Random(seed).randrange(7) if name != "flat" else None
            series = Real(step, problem)
            answers[verdict(SlowDownSearch(series, STEP).between(0, 7), step)] += 1
            runs.append(series.runs)
        report(f"real, {name}, {(time.monotonic() - start) / count:.0f} s a series", answers, runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=results_folder() / machine_name(), help="folder of a machine")
    parser.add_argument("--real", type=int, default=0, metavar="N")
    parser.add_argument("--problem", default="n1c32h60w60_o32k3_p1")
    options = parser.parse_args()
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['os']}\n")
    pairs = [pair.log_ratio for pair in kept_pairs(options.pairs, Settings())]
    if pairs:
        half = half_width_of_process_variation(pairs)

        def drawn(rng: random.Random) -> float:
            return rng.choice(pairs) * rng.choice((-1, 1))

        simulated(f"noise of {len(pairs)} pairs of processes seen here", drawn, half)
    for times in (1, 3, 5):
        scale = times * EXPECTED
        label = f"noise of {scale:.2%}"
        simulated(label, lambda rng, scale=scale: rng.gauss(0, scale), 1.96 * scale)  # type: ignore[misc]
    if options.real:
        real(options.real, ConvProblem.parse(options.problem))


if __name__ == "__main__":
    main()
