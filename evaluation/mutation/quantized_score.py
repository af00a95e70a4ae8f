"""How many seeded faults of quantised convolutions `convbench verify --dtype int8` catches.

    python evaluation/mutation/quantized_score.py [--only 'fault-*'] [--search-time 10] [--jobs 2]

Each fault of `quantized_faults.py` is verified alone, by the command, until its first failure or the end; the correct
controls, one for each declared rounding, are verified to the end. Leaves with 1 when a fault was missed, or a control
failed.
"""

from __future__ import annotations

import sys

from family_score import exit_code, judged
from quantized_faults import BACKENDS


def main() -> int:
    description = (__doc__ or "").splitlines()[0]
    return exit_code(judged(description, "quantized_faults.py", BACKENDS, lambda backend: ("--dtype", "int8")))


if __name__ == "__main__":
    sys.exit(main())
