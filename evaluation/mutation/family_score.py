"""How many seeded faults of one family `convbench verify` catches: what the scores of families have in common.

Each fault is verified alone, by the command, until its first failure or the end; so is each correct control.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any

from mutants_judged import Verified, verified


def judged(
    description: str, file: str, backends: Sequence[Any], options_for: Callable[[Any], Sequence[str]]
) -> list[tuple[Any, Verified]]:
    """Read the command line, verify the backends of `file` that it chooses, each with its own further options, and
    print a line for each. Controls have no `fault`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", default="*", metavar="GLOB", help=f"only these backends of {file}")
    parser.add_argument("--search-time", type=float, default=10.0, metavar="S", help="of the search after the sweep")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="faults judged at once")
    options = parser.parse_args()
    chosen = [backend for backend in backends if fnmatchcase(backend.name, options.only)]

    def judge(backend: Any) -> Verified:
        return verified(backend.name, options.search_time, False, file, options_for(backend))

    answers = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for backend, said in zip(chosen, pool.map(judge, chosen), strict=True):
            found = f"{said.check} after {said.questions} questions, by {said.question}" if said.caught else "passed"
            print(f"{backend.name:40} {said.status:8} {found}, {said.seconds:.0f} s", flush=True)
            answers.append((backend, said))
    return answers


def exit_code(answers: Sequence[tuple[Any, Verified]]) -> int:
    """Print how many faults were caught and how many controls passed; 1 unless that was all of them."""
    faults = [said.caught for backend, said in answers if backend.fault is not None]
    controls = [said.status == "ok" for backend, said in answers if backend.fault is None]
    print(f"{sum(faults)} of {len(faults)} faults caught; {sum(controls)} of {len(controls)} controls passed")
    return int(not all(faults) or not all(controls))
