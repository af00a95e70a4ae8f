"""What an idle Dask worker takes of a core: by Dask's defaults, and with convbench's settings for a worker.

    python evaluation/overhead/idle_dask_worker.py [SECONDS]

A scheduler and one worker at a time run on loopback, each in a process of its own. A task holds the worker, and does
nothing, as the task of convbench does while its child process measures. The kernel's CPU clock of the worker's process
is read before and after.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from distributed import Client, LocalCluster

from convbench.fleet.cluster.quiet import QUIET, as_environment

VARIANTS = {
    "Dask's defaults, with its nanny": ((), {}),
    "Dask's defaults": (("--no-nanny",), {}),
    "without profiling": (("--no-nanny",), {"distributed.worker.profile.enabled": False}),
    "convbench's settings": (("--no-nanny",), QUIET),
}


def main(seconds: float) -> None:
    cluster = LocalCluster(n_workers=0, dashboard_address=None)
    with cluster, Client(cluster.scheduler_address) as client:
        for name, (options, settings) in VARIANTS.items():
            command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
            command += ["--nthreads", "1", "--no-dashboard", *options]
            worker = subprocess.Popen(command, env=os.environ | as_environment(settings), stderr=subprocess.DEVNULL)
            client.wait_for_workers(1, timeout=60)
            time.sleep(3)  # what it does at its start
            holding = client.submit(time.sleep, seconds + 2, pure=False)
            time.sleep(1)
            before, start = cpu_s(worker.pid), time.monotonic()
            time.sleep(seconds)
            share = (cpu_s(worker.pid) - before) / (time.monotonic() - start)
            print(f"{name:<34} {share:.3%} of a core", flush=True)
            holding.result()
            worker.terminate()
            worker.wait()
            while client.scheduler_info()["workers"]:
                time.sleep(0.1)


def cpu_s(pid: int) -> float:
    """The CPU seconds of a process and of those that it started."""
    every = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(scheduled_s(process.pid) for process in every)


def scheduled_s(pid: int) -> float:
    """Of all threads, to the nanosecond: /proc/PID/stat counts ticks of 10 ms."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
