"""How many seeded faults of epilogues `convbench verify` catches.

    python evaluation/mutation/epilogue_score.py [--only 'fault-sum-*'] [--search-time 10] [--jobs 2]

Each fault of `epilogue_faults.py` is verified alone, by the command with `--epilogue all`, until its first failure or
the end; so is the correct control. Leaves with 1 when a fault was missed, or the control failed.
"""

from __future__ import annotations

import sys

from epilogue_faults import BACKENDS
from family_score import exit_code, judged


def main() -> int:
    description = (__doc__ or "").splitlines()[0]
    return exit_code(judged(description, "epilogue_faults.py", BACKENDS, lambda backend: ("--epilogue", "all")))


if __name__ == "__main__":
    sys.exit(main())
