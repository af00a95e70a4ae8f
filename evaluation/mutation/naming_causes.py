"""How often the true cause of failures is named: simulated bugs over parameter classes, one or two at a time.

    python evaluation/mutation/naming_causes.py [--trials 200] [--questions 450]

A bug is a random combination of one to three classes that fails at most 30 % of the questions. "Named" means that the
bug's very combination is given, alone or among those that tell as much; "told apart", that the first one given holds
for just the questions that fail by the bug, be it another; "one cause each", that there are as many causes as bugs;
"asked to shrink" is the median number of questions that a trial asks to shrink failures.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from naming import class_bug, trial
from simulated_bugs import varied_questions

from convbench.verification.question import Question

HEADS = ("bugs at once", "shrinking", "named", "told apart", "one cause each", "asked to shrink", "s/trial")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--questions", type=int, default=450)
    arguments = parser.parse_args()
    swept = varied_questions(random.Random(0), arguments.questions)
    print(f"{arguments.trials} trials of {len(swept)} questions\n")
    rows = [row(swept, bugs, shrinking, arguments.trials) for bugs in (1, 2) for shrinking in (True, False)]
    widths = [max(map(len, column)) for column in zip(HEADS, *rows, strict=True)]
    for cells in (HEADS, *rows):
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))


def row(swept: Sequence[Question], bugs: int, shrinking: bool, trials: int) -> tuple[str, ...]:
    """The cells of one line."""
    named = told_apart = one_each = 0
    asked: list[int] = []
    start = time.perf_counter()
    for seed in range(trials):
        rng = random.Random(1000 * bugs + seed)
        seeded = [class_bug(rng, swept) for _ in range(bugs)]
        done = trial(seeded, swept, shrinking)
        named += sum(map(done.is_named, seeded))
        told_apart += sum(map(done.is_told_apart, seeded))
        one_each += len(done.causes) == bugs
        asked.append(done.asked_to_shrink)
    of = bugs * trials
    return (
        str(bugs),
        "yes" if shrinking else "no",
        f"{named} of {of}",
        f"{told_apart} of {of}",
        f"{one_each} of {trials}",
        f"{statistics.median(asked):.0f}",
        f"{(time.perf_counter() - start) / trials:.2f}",
    )


if __name__ == "__main__":
    main()
