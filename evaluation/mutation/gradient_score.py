"""How many seeded faults of the gradients `convbench verify` catches.

    python evaluation/mutation/gradient_score.py [--only 'fault-dw-*'] [--search-time 10] [--jobs 2]

Each fault of `gradient_faults.py` is verified alone, by the command, in its direction, until its first failure or the
end; the correct control is verified in all. Leaves with 1 when a fault was missed, or the control failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase

from gradient_faults import BACKENDS
from mutants_judged import Verified, verified
from seeded_faults.gradient import SeededGradient


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="*", metavar="GLOB", help="only these backends of gradient_faults.py")
    parser.add_argument("--search-time", type=float, default=10.0, metavar="S", help="of the search after the sweep")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="faults judged at once")
    options = parser.parse_args()
    chosen = [backend for backend in BACKENDS if fnmatchcase(backend.name, options.only)]

    def judge(backend: SeededGradient) -> Verified:
        directions = backend.fault.direction if backend.fault else "input_gradient,weight_gradient,bias_gradient"
        more = ("--direction", directions)
        return verified(backend.name, options.search_time, False, "gradient_faults.py", more)

    caught: Counter[str] = Counter()
    total: Counter[str] = Counter()
    mistaken = False
    with ThreadPoolExecutor(options.jobs) as pool:
        for backend, said in zip(chosen, pool.map(judge, chosen), strict=True):
            found = f"{said.check} after {said.questions} questions, by {said.question}" if said.caught else "passed"
            print(f"{backend.name:40} {said.status:8} {found}, {said.seconds:.0f} s", flush=True)
            if backend.fault is None:
                mistaken = said.status != "ok"
            else:
                total[backend.fault.direction] += 1
                caught[backend.fault.direction] += said.caught
    for direction, faults in total.items():
        print(f"{direction}: {caught[direction]} of {faults} faults caught ({caught[direction] / faults:.0%})")
    print(f"all: {caught.total()} of {total.total()} caught; the control {'failed' if mistaken else 'passed'}")
    return int(mistaken or caught.total() < total.total())


if __name__ == "__main__":
    sys.exit(main())
