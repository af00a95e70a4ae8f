"""A/A test: how far the same convolution differs from itself, and whether the stated interval covers that.

Each repeat starts two fresh worker processes of torch on one thread and measures one against the other, in rounds as in
`convbench run`, with its --precision, --budget and --priority if given. With --busy other processes compute at the same
time. For comparison the same through `asv run`, twice, and through two runs of pyperf, in the environment of
convbench's workers: the ratios of their medians, and whether their intervals (asv's of 99 %; pyperf's test) find no
difference. For convbench's ratios there are two intervals: that of the rounds, which holds for these two processes, and
that of a table of backends, which includes between-process variation as the pairs before this one showed it, and
`convbench run` learns it. `--other-repeats 0` leaves asv and pyperf out.

    python evaluation/accuracy/self_agreement.py [--repeats 20] [--busy 1] [--precision 0.003] [--budget 6]
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from other_timers import asv_results, pyperf_samples_s

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, discover
from convbench.runner.run import Request
from convbench.stats.estimates import Estimate, estimate_median
from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ragged import normal_spread
from convbench.stats.ratio import Ratio
from convbench.suite import Case


@dataclass(frozen=True)
class Against:
    """The ratio of two processes' times, by their rounds, and as a table has it for two backends."""

    by_rounds: Estimate
    as_backends: Ratio

    @classmethod
    def of(cls, ratios: Sequence[float], earlier: Sequence[Against]) -> Against:
        found = estimate_median(ratios)
        seen = [math.log(against.by_rounds.median) for against in earlier]
        variation = half_width_of_process_variation(seen, float(normal_spread(np.log(ratios))))
        return cls(found, Ratio(found.median, found.low, found.high).widened(variation))


def once(
    entry: Entry, case: Case, settings: Settings, earlier: tuple[list[Against], list[Against]]
) -> tuple[Against, Against]:
    """Two fresh processes against each other on the wall and on the CPU clock."""
    with Engine(settings) as engine:
        (outcome,) = engine.measure("self-agreement", case, [entry])
    assert outcome.samples and outcome.aa_samples, outcome.reason
    ratios = []
    for clock, before in zip(("wall_s", "cpu_s"), earlier, strict=True):
        one, other = (
            {s.round: getattr(s.sample, clock) for s in samples} for samples in (outcome.samples, outcome.aa_samples)
        )
        ratios.append(Against.of([one[r] / other[r] for r in one.keys() & other.keys() if other[r]], before))
    return ratios[0], ratios[1]


def line(name: str, ratios: Sequence[float], *covered: Sequence[bool]) -> str:
    off = sorted(abs(ratio - 1) for ratio in ratios)
    shares = "".join(f"{sum(one) / len(one):>14.0%}" for one in covered)
    return f"{name:<24}{len(off):>8}{median(off):>10.2%}{off[-1]:>10.2%}{shares}"


def by_asv(problem: ConvProblem, repeats: int) -> str:
    ratios, covered = [], []
    for _ in range(repeats):
        (one, (low, high), _), (other, (low2, high2), _) = asv_results(problem), asv_results(problem)
        ratios.append(one / other)
        covered.append(low <= high2 and low2 <= high)
    return line("asv run, twice", ratios, covered)


def by_pyperf(problem: ConvProblem, repeats: int) -> str:
    from pyperf._utils import is_significant

    ratios, covered = [], []
    for _ in range(repeats):
        one, other = pyperf_samples_s(problem), pyperf_samples_s(problem)
        ratios.append(median(one) / median(other))
        covered.append(not is_significant(one, other)[0])
    return line("pyperf, twice", ratios, covered)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=20, help="pairs of fresh worker processes")
    parser.add_argument("--busy", type=int, default=0, help="so many other processes compute meanwhile")
    parser.add_argument("--priority", choices=("normal", "realtime"), default="normal")
    parser.add_argument("--other-repeats", type=int, default=3, help="pairs of runs of asv and of pyperf")
    parser.add_argument("--precision", type=float, help="share of a time that its interval reaches to either side")
    parser.add_argument("--budget", type=float, help="seconds of sampling for each of the two processes")
    parser.add_argument("--pin", default="auto")
    parser.add_argument("--problem", default="n1c64h56w56_o64k3_p1")
    options = parser.parse_args()
    problem = ConvProblem.parse(options.problem)
    (entry,) = discover().select(["torch"])
    asked = Request(suites=(), precision=options.precision, budget=options.budget, pin=options.pin, self_check=True)
    (settings,) = (replace(each, priority=options.priority) for each in asked.settings())
    facts = machine_facts()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
    try:
        state = f"{len(busy)} other processes busy" if busy else "nothing else at work"
        print(f"{facts['cpu']}, {facts['os']}, torch on {options.problem}, 1 thread, {state}")
        most = f"{settings.budget_s:g} s and {settings.most_rounds} rounds at most"
        print(f"{settings.precision:.1%} asked for, {most}, {settings.priority} priority\n")
        print(f"{'':<24}{'repeats':>8}{'typical':>10}{'worst':>10}{'covers 1':>14}{'as backends':>14}")
        walls: list[Against] = []
        cpus: list[Against] = []
        for seed in range(options.repeats):
            wall, cpu = once(entry, Case(problem), replace(settings, seed=seed), (walls, cpus))
            walls.append(wall)
            cpus.append(cpu)
        for name, found in (("convbench, wall clock", walls), ("convbench, CPU clock", cpus)):
            covered = [f.by_rounds.low <= 1 <= f.by_rounds.high for f in found]
            ratios = [f.by_rounds.median for f in found]
            print(line(name, ratios, covered, [f.as_backends.includes_one for f in found]), flush=True)
        if options.other_repeats:
            print(by_asv(problem, options.other_repeats), flush=True)
            print(by_pyperf(problem, options.other_repeats), flush=True)
    finally:
        for process in busy:
            process.kill()


if __name__ == "__main__":
    main()
