"""How large is a sweep, how long does making it take, how soon has it met every pair, what does a random question cost?

For each strength the sweep of a backend that supports everything, of one that takes float32, zeros and one group alone,
and of one that says no for reasons of its own; then random questions. CPU seconds, on one core.

    python evaluation/mutation/sweeps.py [--strength 2 3 4] [--drawn 2000]
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

from convbench.backend import WHOLE_OF_CONV2D, Backend, Ready, Supports
from convbench.problem import ConvProblem
from convbench.verification.sweep.catalogue import catalogue
from convbench.verification.sweep.covering import Sweep, sweep
from convbench.verification.sweep.search import search


class Whole(Backend):
    name = "supports everything"
    supports = WHOLE_OF_CONV2D
    thread_safe = True

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise NotImplementedError("nothing is computed here")


class Narrow(Whole):
    name = "float32, zeros, one group"
    supports = Supports(groups=False)
    thread_safe = False


class Particular(Whole):
    name = "no groups in bfloat16"

    def unsupported(self, problem: ConvProblem) -> str | None:
        return "no" if problem.dtype == "bfloat16" and problem.groups > 1 else super().unsupported(problem)


def questions_until_every_pair(made: Sweep, pairs: Sweep) -> int:
    """After how many questions of `made` every pair that `pairs` counts was met."""
    return next(n for n in itertools.count(1) if pairs.coverage_of(made.questions[:n]).share == 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strength", type=int, nargs="+", default=[2, 3], choices=(1, 2, 3, 4))
    parser.add_argument("--drawn", type=int, default=2000, help="random questions")
    asked = parser.parse_args()
    start = time.process_time()
    geometries = catalogue().geometries
    print(f"the catalogue: {geometries.columns.shape[1]:,} geometries of {geometries.possible.sum():,} kinds,", end=" ")
    print(f"{time.process_time() - start:.2f} s")
    backends = (Whole(), Narrow(), Particular())
    print(
        f"\n{'backend':28}{'strength':>9}{'questions':>11}{'seconds':>9}{'mean MACs':>11}{'pairs met by':>14}  coverage"
    )
    for backend, strength in itertools.product(backends, asked.strength):
        catalogue(backend.supports, backend.thread_safe)
        start = time.process_time()
        made = sweep(backend, strength)
        seconds = time.process_time() - start
        macs = sum(question.problem.macs for question in made.questions) / len(made.questions)
        everything = made.coverage_of(made.questions)
        reached = f"{everything.reached:,} of {everything.combinations:,} combinations"
        met = questions_until_every_pair(made, sweep(backend, 2)) if strength > 1 else None
        print(
            f"{backend.name:28}{strength:9}{len(made.questions):11,}{seconds:9.2f}{macs:11,.0f}"
            f"{'–' if met is None else met:>14}  {reached}, {len(made.refusals)} refused"
        )
    print()
    for backend in backends:
        next(search(backend))
        start = time.process_time()
        drawn = list(itertools.islice(search(backend, seed=1), asked.drawn))
        each_us = (time.process_time() - start) / len(drawn) * 1e6
        share = sweep(backend, 3).coverage_of(drawn).share
        print(f"{backend.name:28}{len(drawn):,} random questions, {each_us:.0f} µs each: {share:.1%} of triples met")


if __name__ == "__main__":
    main()
