"""Does `verify` over two workers find the causes that it finds alone, and in which part of the time?

    python evaluation/overhead/spread_verification.py [FAULTS] [SEARCH_SECONDS]

Both sides verify the same seeded faults (default 6), with a search of SEARCH_SECONDS (default 20) for each: one
campaign at a time here, and one at a time on each of two workers on loopback. The workers have names of machines, homes
and temporary folders of their own, and one half of the CPUs each. Dask's scheduler is started before. The time of each
side is that of the whole command. Leaves with 1 where one side catches a fault that the other does not. Searches draw
other questions, so failures may be grouped otherwise; without a search causes are the same. What differs is printed.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mutation"))
from fleet_of_processes import FleetOfProcesses, fleet_of
from installed_faults import install

MACHINES = ("north", "south")


def chosen(count: int) -> list[str]:
    """So many of the seeded faults, from all families."""
    import faults

    names = [backend.name for backend in faults.BACKENDS if getattr(backend, "fault", None) is not None]
    return names[:: max(1, len(names) // count)][:count]


def timed(fleet: FleetOfProcesses, words: list[str], cpus: set[int]) -> tuple[float, dict[str, list[tuple[str, str]]]]:
    """The seconds of a command on these CPUs, and the causes of each backend: what is asked, and the check."""
    before = os.sched_getaffinity(0)
    start = time.monotonic()
    os.sched_setaffinity(0, cpus)
    try:
        done = fleet.convbench(*words)
    finally:
        os.sched_setaffinity(0, before)
    seconds = time.monotonic() - start
    assert done.returncode in (0, 1), done.stderr
    rows = map(json.loads, done.stdout.splitlines())
    return seconds, {row["backend"]: sorted((f["case"], f["check"]) for f in row["failures"]) for row in rows}


def main(count: int, search_s: float) -> int:
    names = chosen(count)
    cpus = sorted(os.sched_getaffinity(0))
    halves = set(cpus[: max(1, len(cpus) // 2)]), set(cpus[len(cpus) // 2 :])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        install(folder / "site", names)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")]))
        words = ["verify", *(word for name in names for word in ("--backend", name)), "--json", "--jobs", "1"]
        words += ["--search-time", f"{search_s:g}"]
        with fleet_of(folder) as fleet:
            for machine, half in zip(MACHINES, halves, strict=True):
                (folder / "tmp" / machine).mkdir(parents=True)
                os.sched_setaffinity(0, half)
                fleet.start_worker(machine, TMPDIR=str(folder / "tmp" / machine))
            os.sched_setaffinity(0, set(cpus))
            fleet.wait_for_workers(2)
            alone_s, alone = timed(fleet, [*words, "--results", "alone"], halves[0])
            spread_s, spread = timed(fleet, [*words, "--results", "spread", "--cluster", fleet.address], set(cpus))
    print(f"{len(names)} seeded faults, {search_s:g} s of search for each")
    for side, seconds, causes in (("alone", alone_s, alone), ("on two workers", spread_s, spread)):
        caught = sum(bool(causes[name]) for name in names)
        print(f"{side:<15} {seconds:6.1f} s: {caught} of the faults, {sum(map(len, causes.values()))} causes")
    same = all(bool(alone[name]) == bool(spread[name]) for name in names)
    print(f"{spread_s / alone_s:.2f} of the time, {'the same' if same else 'not the same'} faults")
    for name in names:
        if alone[name] != spread[name]:
            print(f"  {name}\n    alone  {alone[name]}\n    spread {spread[name]}")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 6, float(sys.argv[2]) if len(sys.argv) > 2 else 20.0))
