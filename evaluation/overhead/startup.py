"""How long the commands take that compute nothing: the median of fresh processes.

python evaluation/overhead/startup.py [--runs 9]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median

COMMANDS = (("--help",), ("run", "--help"), ("suites",), ("backends",), ("show", "n1c64h56w56_o64k3_p1"))


def seconds(words: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "convbench", *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9, help="of each command, after one that is not counted")
    options = parser.parse_args()
    print(f"{'command':40} {'median s':>9} {'slowest s':>10}")
    for words in COMMANDS:
        seconds(words)
        found = [seconds(words) for _ in range(options.runs)]
        print(f"convbench {' '.join(words):30} {median(found):9.3f} {max(found):10.3f}")


if __name__ == "__main__":
    main()
