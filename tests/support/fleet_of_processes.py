"""A fleet on this machine: a real scheduler and real workers, each a process, on loopback with TLS.

The workers have names of machines of their own. The certificates in `tls/` are for these tests alone; they hold until
2126.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from places import CHECKOUT, SUPPORT

LONG_S = 900.0
_TLS = SUPPORT / "tls"
_PREFIX = "DASK_DISTRIBUTED__COMM__TLS__"
CERTIFICATES = {
    f"{_PREFIX}CA_FILE": str(_TLS / "ca.pem"),
    **{
        f"{_PREFIX}{role}__{part}": str(_TLS / f"node.{ending}")
        for role in ("SCHEDULER", "WORKER", "CLIENT")
        for part, ending in (("CERT", "pem"), ("KEY", "key"))
    },
}

_WITHOUT_CONVBENCH = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name == "convbench":
            raise ModuleNotFoundError("No module named 'convbench'")

if "convbench-shipped-" not in sys.prefix:
    sys.meta_path.insert(0, Without())
"""


@dataclass
class FleetOfProcesses:
    """The scheduler is at `address`. Everything lies in `folder`: each machine's home, and the coordinator's."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=lambda: dict(CERTIFICATES))
    address: str = ""

    def start_scheduler(self, **environment: str) -> None:
        """The scheduler, at a port that the system chooses."""
        file = self.folder / f"scheduler-{len(self.processes)}.json"
        scheme = "tls" if self.certificates else "tcp"
        words = ["--host", f"{scheme}://127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        self._start("scheduler", ["-m", "distributed.cli.dask_scheduler", *words], environment)
        self.wait_until(lambda: file.exists() and file.read_text(encoding="utf-8").strip().endswith("}"))
        self.address = json.loads(file.read_text(encoding="utf-8"))["address"]

    def start_worker(self, machine: str, process: str = "", **environment: str) -> None:
        """A worker of convbench on a machine of that name; `process` names a further one of the same machine."""
        variables = {"CONVBENCH_MACHINE": machine, "XDG_DATA_HOME": str(self.folder / "homes" / machine), **environment}
        self._start(process or machine, ["-m", "convbench", "worker", self.address], variables)

    def start_plain_worker(self, machine: str, *words: str, **environment: str) -> None:
        """A worker of Dask alone, on a machine of that name that has no convbench."""
        own = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", machine, *words]
        home = str(self.folder / "homes" / machine)
        variables = {"CONVBENCH_MACHINE": machine, "XDG_DATA_HOME": home, **self.without_convbench(), **environment}
        self._start(machine, ["-m", "distributed.cli.dask_worker", self.address, *own], variables)

    def start_container(self, name: str, words: list[str], variables: Mapping[str, str]) -> None:
        """What a container with these words, `dask worker` at first, would be; `$(NAME)` is a variable, as there."""
        own = {**variables, "DASK_SCHEDULER_ADDRESS": self.address, "CONVBENCH_MACHINE": name}
        own["XDG_DATA_HOME"] = str(self.folder / "homes" / name)
        expanded = [re.sub(r"\$\((\w+)\)", lambda found: own[found[1]], word) for word in words[2:]]
        assert words[:2] == ["dask", "worker"]
        self._start(name, ["-m", "distributed.cli.dask_worker", *expanded], own)

    def without_convbench(self) -> dict[str, str]:
        """Variables of an environment in which `import convbench` fails, as where it is not installed."""
        site = self.folder / "without"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(_WITHOUT_CONVBENCH, encoding="utf-8")
        return {"PYTHONPATH": str(site)}

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many workers, all in all, have come to the scheduler."""
        log = self.folder / "scheduler.log"
        self.wait_until(lambda: log.read_text(encoding="utf-8").count("Register worker") >= count)

    def environment(self, **more: str) -> dict[str, str]:
        """Of the coordinator."""
        path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
        return {**os.environ, **self.certificates, "PYTHONPATH": path, "COLUMNS": "200", **more}

    def convbench(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of the coordinator."""
        command = [sys.executable, "-m", "convbench", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(**environment), capture_output=True, text=True,
            timeout=LONG_S, check=False,
        )  # fmt: skip

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """A command of the coordinator that goes on."""
        process = subprocess.Popen(
            [sys.executable, "-m", "convbench", *words], cwd=self.folder, env=self.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.processes[f"command {process.pid}"] = process  # type: ignore[assignment]
        return process

    def kill(self, name: str) -> None:
        """As `kill -9`, of this process alone."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    @staticmethod
    def wait_until(happens: object, limit_s: float = 600.0) -> None:
        """Wait for a condition; an assertion fails after a limit that no healthy machine reaches."""
        assert callable(happens)
        until_s = time.monotonic() + limit_s
        while not happens():
            assert time.monotonic() < until_s, "waited in vain"
            time.sleep(0.1)

    def _start(self, name: str, words: list[str], variables: Mapping[str, str]) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, *words], cwd=self.folder, env=self.environment(**variables), stdout=log, stderr=log
        )

    def end(self) -> None:
        """End everything that was started, with what it started."""
        for process in self.processes.values():
            for one in [*_descendants(process.pid), process.pid]:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(one, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)


def _descendants(pid: int) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


@contextlib.contextmanager
def fleet_of(folder: Path, *machines: str, encrypted: bool = True) -> Iterator[FleetOfProcesses]:
    """A scheduler and a worker on each of these machines."""
    fleet = FleetOfProcesses(folder, certificates=dict(CERTIFICATES) if encrypted else {})
    try:
        fleet.start_scheduler()
        for machine in machines:
            fleet.start_worker(machine)
        yield fleet
    finally:
        fleet.end()
