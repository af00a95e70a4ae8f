"""The process that measures ceilings with a number of threads, each held to a CPU of its own where that can be done.

Started as `python -m convbench.measurement.ceilings.worker`. JSON comes in on standard input, `{"threads": 2,
"seconds": 0.3}`, and lines of JSON go out: `{"doing": "..."}` as it goes on, and last `{"found": {...}}`, fields of
`Ceilings`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from convbench.measurement.ceilings.cores import choose_cpus


def main() -> None:
    """Measure and tell."""
    asked = json.load(sys.stdin)
    threads = int(asked["threads"])
    cpus = choose_cpus(threads)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    # Only now: a library that starts threads when it is imported starts them where the process then is.
    from convbench.measurement.ceilings.measurement import Measurement

    found = Measurement(threads, cpus, float(asked["seconds"]), lambda what: _tell(doing=what)).everything()
    _tell(found=found)


def _tell(**said: Any) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
