"""How many seeded faults of the gradients and of training steps `convbench verify` catches.

    python evaluation/mutation/gradient_score.py [--only 'fault-dw-*'] [--search-time 10] [--jobs 2]

Each fault of `gradient_faults.py` is verified alone, by the command, in its direction, until its first failure or the
end; so is the correct control, in every direction. Leaves with 1 when a fault was missed, or the control failed.
"""

from __future__ import annotations

import sys

from family_score import exit_code, judged
from gradient_faults import BACKENDS
from seeded_faults.training import SeededTraining

from convbench.problem import DIRECTIONS


def directions(backend: SeededTraining) -> tuple[str, str]:
    computed = backend.supports.directions if backend.fault is None else {backend.fault.direction}
    return "--direction", ",".join(each for each in DIRECTIONS if each in computed)


def main() -> int:
    answers = judged((__doc__ or "").splitlines()[0], "gradient_faults.py", BACKENDS, directions)
    for direction in DIRECTIONS:
        caught = [said.caught for backend, said in answers if backend.fault and backend.fault.direction == direction]
        if caught:
            print(f"{direction}: {sum(caught)} of {len(caught)} faults caught")
    return exit_code(answers)


if __name__ == "__main__":
    sys.exit(main())
