"""Whether the difference that `convbench doctor` states as detectable is detected.

The doctor runs first; then fresh pairs of worker processes of the same backend, each for `--seconds`. A pair is called
different by the doctor's threshold: at most 5 % of them should be, because they are the same. Then the times of one
side are made longer by the stated difference: 80 % of the pairs should be called different.

    python evaluation/accuracy/doctor_accuracy.py [--pairs 40] [--seconds 1] [--backend numpy-gemm]
"""

from __future__ import annotations

import argparse
import math
from statistics import median

from convbench.measurement.scheduling.aa_test import compare_with_itself, settings_for
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.reporting.machine.doctor import verdict
from convbench.runner.doctor import WHOLE, examine
from convbench.suite import Case


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=40, help="fresh pairs of worker processes after the doctor")
    parser.add_argument("--seconds", type=float, default=1.0, help="of rounds in each of them")
    parser.add_argument("--backend", default="numpy-gemm")
    parser.add_argument("--problem", default="n1c64h28w28_o64k3_p1")
    options = parser.parse_args()
    (entry,) = discover().select([options.backend])
    case = Case(ConvProblem.parse(options.problem))

    examined = examine(entry, case, 1, WHOLE)
    print(verdict(examined) + "\n")
    answers: dict[str, list[tuple[float, int]]] = {name: [] for name, _ in examined.clocks}
    for number in range(options.pairs):
        twins = compare_with_itself(entry, case, settings_for(options.seconds / 2, seed=1000 + number))
        for name, logs in zip(answers, (twins.wall, twins.cpu), strict=False):
            if logs is not None:
                answers[name].append((median(logs), len(logs)))

    print(f"{'clock':12}{'stated':>10}{'told apart':>14}{'false':>12}")
    for name, clock in examined.clocks:
        told = false = 0
        stated = clock.spread.minimum_detectable_effect(clock.rounds(options.seconds)) or math.inf
        for answer, rounds in answers[name]:
            told += clock.spread.is_detected(answer + math.log1p(stated), rounds)
            false += clock.spread.is_detected(answer, rounds)
        count = len(answers[name])
        print(f"{name:12}{stated:10.2%}{f'{told} of {count}':>14}{f'{false} of {count}':>12}")


if __name__ == "__main__":
    main()
