"""What `convbench doctor` costs and sees, on the machine as it is and beside other work.

    python evaluation/overhead/doctor_cost.py [--busy 0 2 4]

For each number of processes that do nothing but count, it runs `convbench doctor` and prints how long that took, what
it had time for, the smallest difference by its verdict, and the hazards.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from convbench.measurement.machine.facts import load_average, machine_facts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2, 4], help="processes beside it")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['usable_cpus']} CPUs, load {load_average():.1f}\n")
    for count in options.busy:
        with busy(count):
            row, elapsed_s = examined(options.quick)
        print_row(count, row, elapsed_s)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def examined(quick: bool) -> tuple[dict[str, Any], float]:
    """What the doctor says, and the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "convbench", "doctor", "--json", "--results", folder]
        begin = time.monotonic()
        done = subprocess.run([*command, *["--quick"] * quick], capture_output=True, text=True, check=True)
        return json.loads(done.stdout), time.monotonic() - begin


def print_row(count: int, row: dict[str, Any], elapsed_s: float) -> None:
    levels = ", ".join(level["level"] for level in row["working_sets"])
    seen = f"{len(row['rounds'])} pairs, working sets in {levels or 'nothing'}"
    print(f"beside {count} processes: {elapsed_s:.0f} s, {seen}")
    for level in row["working_sets"]:
        speed = f"{level['read_bytes_per_s'] / 1e9:6.0f} GB/s" if level["read_bytes_per_s"] else ""
        for p in level["backends"]:
            settle = f"{1e3 * p['settle_s']:6.1f} ms" if p["settle_s"] is not None else "        -"
            smallest = f"{100 * (p['smallest_difference']['in_10_s'] or float('nan')):6.1f} %"
            print(
                f"  {level['level']:8}{speed:>12}  {p['backend']:12} {1e3 * p['call_s']:8.3f} ms a call, steady after "
                f"{settle}, processes {100 * p['variation']:5.2f} %, noise {100 * p['noise']:5.1f} %, 10 s {smallest}"
            )
    print(f"  {row['verdict']}")
    for hazard in row["hazards"]:
        print(f"  - {hazard['sentence']}")
    print()


if __name__ == "__main__":
    main()
