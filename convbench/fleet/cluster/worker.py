"""`convbench worker`: a Dask worker that announces this machine and leaves it alone while something is timed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from convbench.cuda_driver import cuda_device_count
from convbench.errors import FleetError
from convbench.fleet.cluster.connection import checked_address, dask
from convbench.fleet.cluster.quiet import GPU_RESOURCE, QUIET, RESOURCE, resource_of
from convbench.measurement.machine.facts import machine_name

_CONNECTING_S = 60


def announced() -> dict[str, float]:
    """What a worker of this machine offers: one unit of the machine, also under its name, and one for each GPU."""
    units: dict[str, float] = {RESOURCE: 1, resource_of(machine_name()): 1}
    if gpus := cuda_device_count():
        units[GPU_RESOURCE] = gpus
    return units


def work_for(
    address: str, *, insecure: bool = False, resources: Mapping[str, float] | None = None, name: str | None = None
) -> None:
    """Offer this machine to the scheduler at `address` until that ends, or an interrupt. `resources` is what the worker
    announces, `announced()` by default. Raises `FleetError` where there is no scheduler."""
    dask("dask").config.set(QUIET)
    distributed = dask()
    where = checked_address(address, insecure=insecure)

    async def serve() -> None:
        worker = distributed.Worker(
            where,
            nthreads=1,
            name=name or f"{machine_name()}-{os.getpid()}",
            resources=dict(announced() if resources is None else resources),
            memory_limit=0,
            dashboard=False,
            death_timeout=_CONNECTING_S,
        )
        async with worker:
            await worker.finished()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        raise
    except (OSError, TypeError, TimeoutError, RuntimeError) as error:
        raise FleetError(f"there is no scheduler at {where}, or it does not answer: {error}.") from None
