"""What grows with the number of machines: a scheduler, fake machines that send records, and a real coordinator.

    python evaluation/overhead/fleet_at_scale.py [MACHINES] [RECORDS]

One process has Dask's scheduler and all machines: Dask workers, each with a task that sends records as
`convbench.fleet` does. Another one is the coordinator, with its own client, tasks and journals.
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


def machines_process(count: int, ready: Connection) -> None:
    from distributed import Scheduler, Worker

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            empty = psutil.Process().memory_info().rss
            workers = []
            for first in range(0, count, 50):
                few = [
                    Worker(
                        scheduler.address, nthreads=1, name=f"m{number}", memory_limit=0, dashboard=False,
                        resources={RESOURCE: 1, resource_of(f"m{number}"): 1},
                    )
                    for number in range(first, min(first + 50, count))
                ]  # fmt: skip
                workers += await asyncio.gather(*few)
            ready.send((scheduler.address, empty, psutil.Process().memory_info().rss))
            while not ready.poll():
                await asyncio.sleep(0.5)
            ready.send(psutil.Process().memory_info().rss)
            os._exit(0)  # closing so many workers takes minutes

    for name in ("distributed", "distributed.worker", "distributed.scheduler", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(QUIET):
        asyncio.run(serve())


def main(count: int, records: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=machines_process, args=(count, theirs))
    process.start()
    address, empty, full = ours.recv()
    print(f"{count} machines: scheduler and workers take {(full - empty) / MIB / count:.2f} MiB for each", flush=True)
    from distributed import Client

    size = len(line_of(record("m0", 0)))
    with Client(address) as client, tempfile.TemporaryDirectory() as folder, Collection(Path(folder)) as collection:
        before = psutil.Process().memory_info().rss
        tasks = Tasks(client, "scale", silent_s=600.0, work=send_records)
        start = time.monotonic()
        for number in range(count):
            tasks.start("run", Machine(name=f"m{number}", addresses=(), replaceable=True), {"records": records})
        new, ids, most = 0, set(), before
        for _, message in tasks.messages():
            if message["type"] == "record":
                new += collection.add(message["record"])
            elif message["type"] == "ended":
                ids.update(message["answer"].get("ids", ()))
                most = max(most, psutil.Process().memory_info().rss)
        seconds = time.monotonic() - start
        print(f"{new} records of {size / 1024:.1f} KiB in {seconds:.1f} s: {new / seconds:.0f} records/s")
        print(f"missing {len(ids - collection.ids)}, of {count * records} that were sent")
        print(f"coordinator: {before / MIB:.0f} MiB before, {most / MIB:.0f} MiB at most")
    ours.send("end")
    print(f"scheduler and machines: {full / MIB:.0f} MiB before, {ours.recv() / MIB:.0f} MiB after")
    process.join()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 100)
