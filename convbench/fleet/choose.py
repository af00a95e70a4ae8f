"""`convbench choose --cluster`: the model measured on the machines, and which of them to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from convbench.errors import NothingMeasuredError
from convbench.fleet.gathering import FleetOptions
from convbench.fleet.run import FleetRun, run_on_fleet
from convbench.runner.choose.answer import Request
from convbench.runner.choose.choose import requested_layers
from convbench.runner.choose.hardware import HardwareAnswer, answer_for_machines
from convbench.runner.observer import Observer
from convbench.runner.run import Request as RunRequest
from convbench.suite import Suite


def choose_on_fleet(
    request: Request,
    options: FleetOptions,
    prices: Mapping[str, float],
    currency: str | None,
    observer: Observer,
    *,
    resume: bool = False,
) -> tuple[HardwareAnswer, FleetRun]:
    """Measure the layers of the model on the machines, and answer from the records; with `resume`, what an earlier such
    command has measured counts. `prices` and `currency` come before those of the cluster file. Raises `ConvbenchError`
    where that is impossible."""
    suite = requested_layers(request, observer)
    measured = run_on_fleet(replace(_measuring(request, suite), resume=resume), options, observer)
    names = sorted(run.machine.name for run in measured.runs if run.journals)
    if not names:
        raise NothingMeasuredError("no machine of the cluster has measured anything.")
    known = {**prices, **{glob: price for glob, price in options.cluster.prices.items() if glob not in prices}}
    answer = answer_for_machines(request, names, known, currency or options.cluster.currency, observer)
    return answer, measured


def _measuring(request: Request, suite: Suite) -> RunRequest:
    return RunRequest(
        suites=(suite,),
        backends=request.backends,
        threads=request.threads,
        processes=request.processes,
        cache=request.cache,
        pass_bytes=request.pass_bytes,
        budget=request.budget,
        precision=request.precision,
        time_limit=request.time_limit,
        lower_precision=request.lower_precision,
        quick=request.quick,
        self_check=False,
        plugins=request.plugins,
        results=request.results,
        no_asv=True,
    )
