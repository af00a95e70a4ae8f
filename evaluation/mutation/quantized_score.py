"""How many seeded faults of quantised convolutions `convbench verify --dtype int8` catches.

    python evaluation/mutation/quantized_score.py [--only 'fault-*'] [--search-time 10] [--jobs 2]

Each fault of `quantized_faults.py` is verified alone, by the command, until its first failure or the end; the correct
controls, one for each declared rounding, are verified to the end. Leaves with 1 when a fault was missed, or a control
failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase

from mutants_judged import Verified, verified
from quantized_faults import BACKENDS
from seeded_faults.quantized import SeededQuantized


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="*", metavar="GLOB", help="only these backends of quantized_faults.py")
    parser.add_argument("--search-time", type=float, default=10.0, metavar="S", help="of the search after the sweep")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="faults judged at once")
    options = parser.parse_args()
    chosen = [backend for backend in BACKENDS if fnmatchcase(backend.name, options.only)]

    def judge(backend: SeededQuantized) -> Verified:
        return verified(backend.name, options.search_time, False, "quantized_faults.py", ("--dtype", "int8"))

    faults = caught = mistaken = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for backend, said in zip(chosen, pool.map(judge, chosen), strict=True):
            found = f"{said.check} after {said.questions} questions, by {said.question}" if said.caught else "passed"
            print(f"{backend.name:36} {said.status:8} {found}, {said.seconds:.0f} s", flush=True)
            if backend.fault is None:
                mistaken += said.status != "ok"
            else:
                faults, caught = faults + 1, caught + said.caught
    controls = len(chosen) - faults
    print(f"{caught} of {faults} faults caught; {controls - mistaken} of {controls} controls passed")
    return int(bool(mistaken) or caught < faults)


if __name__ == "__main__":
    sys.exit(main())
