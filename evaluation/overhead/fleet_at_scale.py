"""What grows with the number of machines: a scheduler, fake machines that send records, and a real coordinator.

    python evaluation/overhead/fleet_at_scale.py [MACHINES] [RECORDS]

One process is Dask's scheduler. One has all machines: Dask workers, each with a task that sends records as
`convbench.fleet` does. Another one is the coordinator, with its own client, tasks and journals. The CPU seconds of each
say which of them would be the limit if each had a core of its own: on the machines' side that is not convbench's.
"""

import asyncio
import json
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dask
import psutil

from convbench.fleet.cluster.quiet import QUIET, RESOURCE, resource_of
from convbench.fleet.collection import Collection, record_id
from convbench.fleet.machines.machine import Machine
from convbench.fleet.tasks import Tasks
from convbench.store.journal import line_of

MIB = 2**20
SAMPLES = 30


def record(machine: str, number: int) -> dict[str, Any]:
    """As large as a record of a run with 30 rounds."""
    columns = "round load calls wall_s cpu_s system_s minor_faults".split()
    samples = {name: [number + 0.123456789 * sample for sample in range(SAMPLES)] for name in columns}
    return {
        "format": 1, "run": f"20261130T000000Z-{machine}", "session": f"session-{machine}", "suite": "fake",
        "case": f"n1c{number}h8w8_o8k3", "backend": "numpy-gemm", "status": "ok", "median_s": 1e-3 + number,
        "samples": samples, "machine": {"machine": machine, "cpu": "a fake CPU", "num_cpu": 2},
    }  # fmt: skip


def send_records(kind: str, request: str, topic: str, sender: str) -> str:
    """The task of a fake machine."""
    from distributed import get_worker

    ids = []
    for number in range(json.loads(request)["records"]):
        made = record(sender, number)
        ids.append(record_id(made))
        get_worker().log_event(topic, json.dumps({"sender": sender, "type": "record", "record": made}))
    return json.dumps({"type": "done", "ids": ids, "clock_s": 0.0})


def scheduler_process(ready: Connection) -> None:
    """Send the address, and then, whenever asked, the memory in bytes and the CPU seconds so far."""
    from distributed import Scheduler

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            ready.send(scheduler.address)
            while True:
                if ready.poll():
                    if ready.recv() == "end":
                        os._exit(0)
                    ready.send(own_use())
                await asyncio.sleep(0.05)

    _keep_silent()
    with dask.config.set(QUIET):
        asyncio.run(serve())


def machines_process(count: int, address: str, ready: Connection) -> None:
    """The same for the machines; the first message says that all have come."""
    from distributed import Worker

    async def serve() -> None:
        workers = []
        for first in range(0, count, 50):
            few = [
                Worker(
                    address, nthreads=1, name=f"m{number}", memory_limit=0, dashboard=False,
                    resources={RESOURCE: 1, resource_of(f"m{number}"): 1},
                )
                for number in range(first, min(first + 50, count))
            ]  # fmt: skip
            workers += await asyncio.gather(*few)
        ready.send("ready")
        while True:
            if ready.poll():
                if ready.recv() == "end":
                    os._exit(0)  # closing so many workers takes minutes
                ready.send(own_use())
            await asyncio.sleep(0.05)

    _keep_silent()
    sys.setswitchinterval(2e-4)  # a thousand threads that compute leave the event loop nothing with 5 ms
    with dask.config.set(QUIET):
        asyncio.run(serve())


def _keep_silent() -> None:
    for name in ("distributed", "distributed.worker", "distributed.scheduler", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def own_use() -> tuple[int, float]:
    """Memory of this process in bytes, and its CPU seconds."""
    times = psutil.Process().cpu_times()
    return psutil.Process().memory_info().rss, times.user + times.system


class Part:
    """A process of the experiment."""

    def __init__(self, target: Any, *words: Any) -> None:
        self.pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=target, args=(*words, theirs))
        self.process.start()

    def use(self) -> tuple[int, float]:
        self.pipe.send("use")
        use: tuple[int, float] = self.pipe.recv()
        return use

    def end(self) -> None:
        self.pipe.send("end")
        self.process.join()


def main(count: int, records: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scheduler = Part(scheduler_process)
    address = scheduler.pipe.recv()
    empty = scheduler.use()
    machines = Part(machines_process, count, address)
    machines.pipe.recv()
    full, machines_before = scheduler.use(), machines.use()
    from distributed import Client

    size = len(line_of(record("m0", 0)))
    with Client(address) as client, tempfile.TemporaryDirectory() as folder, Collection(Path(folder)) as collection:
        before, most = own_use(), 0
        tasks = Tasks(client, "scale", silent_s=3600.0, work=send_records)
        start = time.monotonic()
        for number in range(count):
            tasks.start("run", Machine(name=f"m{number}", addresses=(), replaceable=True), {"records": records})
        new, ids = 0, set()
        for _, message in tasks.messages():
            if message["type"] == "record":
                new += collection.add(message["record"])
            elif message["type"] == "ended":
                ids.update(message["answer"].get("ids", ()))
                most = max(most, own_use()[0])
        seconds = time.monotonic() - start
        after, scheduler_after, machines_after = own_use(), scheduler.use(), machines.use()
    print(f"{count} machines, {count * records} records of {size / 1024:.1f} KiB in {seconds:.0f} s")
    print(f"{new} records arrived: {new / seconds:.0f}/s; missing {len(ids - collection.ids)} of {len(ids)} ids")
    for name, was, now, peak in (
        ("coordinator", before, after, most),
        ("scheduler", full, scheduler_after, scheduler_after[0]),
        ("machines", machines_before, machines_after, machines_after[0]),
    ):
        cpu_s = now[1] - was[1]
        print(
            f"{name:<12} {was[0] / MIB:5.0f} MiB before, {peak / MIB:5.0f} MiB at most, {cpu_s:6.1f} s of CPU", end=""
        )
        print(f": at most {new / cpu_s:,.0f} records/s")
    print(f"scheduler: {(full[0] - empty[0]) / 1024 / count:.0f} KiB for each machine")
    machines.end()
    scheduler.end()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 100)
