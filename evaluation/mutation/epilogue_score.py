"""How many seeded faults of epilogues `convbench verify` catches.

    python evaluation/mutation/epilogue_score.py [--only 'fault-sum-*'] [--search-time 10] [--jobs 2]

Each fault of `epilogue_faults.py` is verified alone, by the command with `--epilogue all`, until its first failure or
the end; so is the correct control. Leaves with 1 when a fault was missed, or the control failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase

from epilogue_faults import BACKENDS
from mutants_judged import Verified, verified
from seeded_epilogues.epilogue import SeededEpilogue


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="*", metavar="GLOB", help="only these backends of epilogue_faults.py")
    parser.add_argument("--search-time", type=float, default=10.0, metavar="S", help="of the search after the sweep")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="faults judged at once")
    options = parser.parse_args()
    chosen = [backend for backend in BACKENDS if fnmatchcase(backend.name, options.only)]

    def judge(backend: SeededEpilogue) -> Verified:
        return verified(backend.name, options.search_time, False, "epilogue_faults.py", ("--epilogue", "all"))

    caught = total = 0
    mistaken = False
    with ThreadPoolExecutor(options.jobs) as pool:
        for backend, said in zip(chosen, pool.map(judge, chosen), strict=True):
            found = f"{said.check} after {said.questions} questions, by {said.question}" if said.caught else "passed"
            print(f"{backend.name:40} {said.status:8} {found}, {said.seconds:.0f} s", flush=True)
            if backend.fault is None:
                mistaken = said.status != "ok"
            else:
                total, caught = total + 1, caught + said.caught
    print(f"{caught} of {total} faults caught; the control {'failed' if mistaken else 'passed'}")
    return int(mistaken or caught < total)


if __name__ == "__main__":
    sys.exit(main())
