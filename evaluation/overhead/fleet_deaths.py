"""Deaths in a fleet, at random moments: is a record lost, does one come twice, does a process stay behind?

    python evaluation/overhead/fleet_deaths.py [KILLS]

Two machines on loopback, with TLS, measure small cases. A worker, all workers, the scheduler or the coordinator is
killed (SIGKILL), KILLS times each (default 20). Then what died is started again, and the same command with --resume has
to end with every record once, those among them that a machine had kept before.
"""

import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from fleet_of_processes import FleetOfProcesses, fleet_of

PROBLEMS = [f"n1c{n}h4w4_o2k1" for n in range(2, 6)]
BACKENDS = ("numpy-gemm", "numpy-loop")
MACHINES = ("north", "south")
VICTIMS = ("a worker", "all workers", "the scheduler", "the coordinator")


def records(files: list[Path]) -> list[dict]:
    lines = [line for file in files for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def kept(fleet: FleetOfProcesses) -> list[dict]:
    return records(sorted(fleet.folder.glob("homes/*/convbench/fleet/*/*/*.jsonl")))


def left_behind(fleet: FleetOfProcesses) -> int:
    """Processes that a task has started, after what should end them."""
    until_s = time.monotonic() + 60
    while (count := sum(_is_of(process, fleet) for process in psutil.process_iter())) and time.monotonic() < until_s:
        time.sleep(0.5)
    return count


def _is_of(process: psutil.Process, fleet: FleetOfProcesses) -> bool:
    try:
        is_job = any("convbench.fleet.run_job" in word for word in process.cmdline())
        return is_job and process.environ().get("XDG_DATA_HOME", "").startswith(str(fleet.folder))
    except psutil.Error:
        return False


def trial(victim: str, draw: random.Random, folder: Path) -> tuple[int, int, int]:
    """Records lost, records that came twice, and processes left behind."""
    with fleet_of(folder, *MACHINES) as fleet:
        fleet.wait_for_workers(2)
        words = ["run", *(word for problem in PROBLEMS for word in ("--problem", problem)), "--backend", "numpy*"]
        words += ["--quick", "--results", "results", "--machines", ",".join(MACHINES), "--cluster"]
        running = fleet.begin(*words, fleet.address)
        fleet.wait_until(lambda: len(kept(fleet)) >= 1)
        time.sleep(draw.uniform(0, 10))
        dead = {"a worker": [draw.choice(MACHINES)], "all workers": list(MACHINES), "the scheduler": ["scheduler"]}
        for name in dead.get(victim, [f"command {running.pid}"]):
            fleet.kill(name)
        running.communicate(timeout=400)
        orphans = left_behind(fleet)
        before = kept(fleet)
        if victim == "the scheduler":
            fleet.start_scheduler()
        for machine in MACHINES if victim == "the scheduler" else dead.get(victim, ()):
            fleet.start_worker(machine)
        time.sleep(10)
        done = fleet.convbench(*words, fleet.address, "--resume")
        assert done.returncode == 0, done.stderr
        after = records(sorted(folder.glob("results/*/*.jsonl")))
        pairs = Counter((r["machine"]["machine"], r["case"], r["backend"]) for r in after)
        missing = len(MACHINES) * len(PROBLEMS) * len(BACKENDS) - len(pairs)
        return missing + sum(r not in after for r in before), sum(pairs.values()) - len(pairs), orphans


def main(kills: int) -> None:
    draw = random.Random(0)
    for victim in VICTIMS:
        totals = [0, 0, 0]
        for _ in range(kills):
            with tempfile.TemporaryDirectory() as folder:
                totals = [a + b for a, b in zip(totals, trial(victim, draw, Path(folder)), strict=True)]
        print(
            f"{victim:<16} killed {kills} times: {totals[0]} records lost, {totals[1]} twice, {totals[2]} left behind"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
