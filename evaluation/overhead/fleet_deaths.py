"""Deaths in a fleet, at random moments: is a record lost, does one come twice, does a process stay behind?

    python evaluation/overhead/fleet_deaths.py [--kills 20] [--ledger FILE] [--only 'a worker'] [--stop-after SECONDS]

Four fleets work side by side: two machines each, on loopback, with TLS. In each another victim is killed (SIGKILL): a
worker, all workers, the scheduler, the coordinator. A campaign is killed up to five times, each time at a random moment
of a command that resumes it: half of the time from its first second on, else after a new record. What died is started
again, half of the time while the command still runs. At last the command ends undisturbed, with every record once.
Every record that a machine had kept at any death has to be among them. A ledger holds a line for each campaign; a later
call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from convbench.fleet.collection import record_id

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from fleet_of_processes import FleetOfProcesses, fleet_of

PROBLEMS = [f"n1c{c}h{h}w{h}_o2k1" for c in range(1, 101) for h in (3, 4, 5)]
MACHINES = ("north", "south")
VICTIMS = ("a worker", "all workers", "the scheduler", "the coordinator")
KILLS_A_CAMPAIGN, LATEST_S, AFTER_RECORD_S = 5, 15.0, 5.0


@dataclass
class Outcome:
    """What came of the campaigns of one victim."""

    victim: str
    kills: int = 0
    midway: int = 0
    """Deaths while records came."""
    records: int = 0
    lost: int = 0
    twice: int = 0
    left: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        numbers = {name: getattr(self, name) + getattr(other, name) for name in asdict(self) if name != "victim"}
        return Outcome(self.victim, **numbers)

    def __str__(self) -> str:
        killed = f"{self.victim:<16} killed {self.kills} times, {self.midway} midway, {self.records:,} records"
        return f"{killed}: {self.lost} lost, {self.twice} twice, {self.left} processes left behind"


@dataclass
class Campaign:
    """A command on a fleet that is killed and resumed. `seen` has the ids of the records that a machine ever had."""

    fleet: FleetOfProcesses
    outcome: Outcome
    draw: random.Random
    seen: set[str] = field(default_factory=set)

    def strike(self) -> bool:
        """Begin or resume, and kill at a random moment; False where the command had ended before."""
        self._wait_for_machines()
        before = len(self._kept())
        running = self.fleet.begin(*self._words())
        if self.draw.random() < 0.5:
            time.sleep(self.draw.uniform(0, LATEST_S))
        else:
            self.fleet.wait_until(lambda: len(self._kept()) > before or running.poll() is not None)
            time.sleep(self.draw.uniform(0, AFTER_RECORD_S))
        if running.poll() is not None:
            return False
        self.outcome.midway += len(self._kept()) > before
        victims = self._victims(f"command {running.pid}")
        for name in victims:
            self.fleet.kill(name)
        self.outcome.kills += 1
        self._see()
        is_restarted = self.draw.random() < 0.5
        if is_restarted:
            self._restart(victims)
        running.communicate(timeout=400)
        self.outcome.left += left_behind(self.fleet)
        self._see()
        if not is_restarted:
            self._restart(victims)
        return True

    def finish(self) -> None:
        """The command once more, undisturbed: every record has to be there, and once."""
        self._wait_for_machines()
        done = self.fleet.convbench(*self._words())
        assert done.returncode == 0, done.stderr
        self._see()
        records = list(whole_records(self.fleet.folder.glob("results/*/*.jsonl")))
        pairs = Counter((r["machine"]["machine"], r["case"], r["backend"]) for r in records)
        self.outcome.records += len(pairs)
        missing = len(MACHINES) * len(PROBLEMS) - len(pairs)
        self.outcome.lost += missing + len(self.seen.difference(map(record_id, records)))
        self.outcome.twice += sum(pairs.values()) - len(pairs)

    def _words(self) -> list[str]:
        quickly = ["--quick", "--budget", "0.05", "--pin", "none", "--processes", "1", "--no-self-check"]
        words = ["run", *(word for problem in PROBLEMS for word in ("--problem", problem)), "--backend", "numpy-gemm"]
        words += [*quickly, "--results", "results", "--machines", ",".join(MACHINES), "--resume"]
        return [*words, "--cluster", self.fleet.address]

    def _wait_for_machines(self) -> None:
        """A worker that was started again is not at the scheduler at once, and a machine without one is no machine."""
        words = ("cluster", "--json", self.fleet.address)
        self.fleet.wait_until(lambda: all(f'"{name}"' in self.fleet.convbench(*words).stdout for name in MACHINES))

    def _victims(self, command: str) -> list[str]:
        of_workers = {"a worker": [self.draw.choice(MACHINES)], "all workers": list(MACHINES)}
        return of_workers.get(self.outcome.victim, ["scheduler" if "scheduler" in self.outcome.victim else command])

    def _restart(self, dead: list[str]) -> None:
        if "scheduler" in dead:  # its workers end by themselves
            self.fleet.start_scheduler()
        for machine in MACHINES if "scheduler" in dead else sorted({*MACHINES} & {*dead}):
            start(self.fleet, machine)

    def _see(self) -> None:
        self.seen.update(map(record_id, self._kept()))

    def _kept(self) -> list[dict[str, Any]]:
        return list(whole_records(self.fleet.folder.glob("homes/*/convbench/fleet/*/*/*.jsonl")))


def start(fleet: FleetOfProcesses, machine: str) -> None:
    """Its worker, with a temporary folder of its own: a machine has a lock there."""
    temporary = fleet.folder / "tmp" / machine
    temporary.mkdir(parents=True, exist_ok=True)
    fleet.start_worker(machine, TMPDIR=str(temporary))


def whole_records(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Those that were written to their end."""
    for file in files:
        lines = file.read_text().splitlines(keepends=True)
        yield from (json.loads(line) for line in lines if line.endswith("\n"))


def left_behind(fleet: FleetOfProcesses) -> int:
    """Processes of a task whose worker has died, and workers whose scheduler has, a minute after the death."""
    until_s = time.monotonic() + 60
    while (count := len(_strays(fleet))) and time.monotonic() < until_s:
        time.sleep(0.5)
    return count


def _strays(fleet: FleetOfProcesses) -> list[int]:
    own = {process.pid for process in fleet.processes.values() if process.poll() is None}
    return [process.pid for process in psutil.process_iter() if process.pid not in own and _is_of(process, fleet)]


def _is_of(process: psutil.Process, fleet: FleetOfProcesses) -> bool:
    try:
        return process.environ().get("XDG_DATA_HOME", "").startswith(f"{fleet.folder}{os.sep}")
    except psutil.Error:
        return False


def campaign(victim: str, draw: random.Random, most: int) -> Outcome:
    """One campaign, killed so many times at most."""
    with tempfile.TemporaryDirectory() as folder, fleet_of(Path(folder)) as fleet:
        for machine in MACHINES:
            start(fleet, machine)
        fleet.wait_for_workers(len(MACHINES))
        killed = Campaign(fleet, Outcome(victim), draw)
        while killed.outcome.kills < most and killed.strike():
            pass
        killed.finish()
        return killed.outcome


def counted(victim: str, ledger: Path) -> Outcome:
    """What the ledger says of a victim."""
    lines = map(json.loads, ledger.read_text().splitlines()) if ledger.is_file() else ()
    return sum((Outcome(**line) for line in lines if line["victim"] == victim), start=Outcome(victim))


def killed_until(kills: int, victim: str, ledger: Path, until_s: float) -> None:
    """Campaigns until the victim was killed so many times, as the ledger counts them, or there is no more time."""
    while (before := counted(victim, ledger).kills) < kills and time.monotonic() < until_s:
        outcome = campaign(victim, random.Random(f"{victim}, {before}"), min(KILLS_A_CAMPAIGN, kills - before))
        with ledger.open("a") as lines:
            lines.write(json.dumps(asdict(outcome)) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="of each victim")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="where campaigns are noted, by default a new file")
    parser.add_argument("--only", action="append", choices=VICTIMS, help="repeatable; by default all of them")
    parser.add_argument("--stop-after", type=float, default=float("inf"), metavar="SECONDS", help="begin no more then")
    options = parser.parse_args()
    until_s = time.monotonic() + options.stop_after
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(VICTIMS)) as pool:
        ledger = options.ledger or Path(folder) / "ledger.jsonl"
        victims = options.only or VICTIMS
        for done in [pool.submit(killed_until, options.kills, victim, ledger, until_s) for victim in victims]:
            done.result()
        outcomes = [counted(victim, ledger) for victim in victims]
    print(*outcomes, sep="\n")
    return int(any(o.kills < options.kills or o.lost or o.twice or o.left for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
