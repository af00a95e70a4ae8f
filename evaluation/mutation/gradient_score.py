"""How many seeded faults of the gradients `convbench verify` catches.

    python evaluation/mutation/gradient_score.py [--only 'fault-dw-*'] [--search-time 10] [--jobs 2]

Each fault of `gradient_faults.py` is verified alone, by the command, in its direction, until its first failure or the
end; the correct control is verified in all. Leaves with 1 when a fault was missed, or the control failed.
"""

from __future__ import annotations

import sys

from family_score import exit_code, judged
from gradient_faults import BACKENDS
from seeded_faults.gradient import SeededGradient

EVERY = "input_gradient,weight_gradient,bias_gradient"


def directions(backend: SeededGradient) -> tuple[str, str]:
    return "--direction", backend.fault.direction if backend.fault else EVERY


def main() -> int:
    answers = judged((__doc__ or "").splitlines()[0], "gradient_faults.py", BACKENDS, directions)
    for direction in EVERY.split(","):
        caught = [said.caught for backend, said in answers if backend.fault and backend.fault.direction == direction]
        if caught:
            print(f"{direction}: {sum(caught)} of {len(caught)} faults caught")
    return exit_code(answers)


if __name__ == "__main__":
    sys.exit(main())
