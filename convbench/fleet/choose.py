"""`convbench choose --cluster`: the model measured on the machines, and which of them to use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convbench.errors import FleetError, NothingMeasuredError
from convbench.fleet.gathering import FleetOptions
from convbench.fleet.run import run_on_fleet
from convbench.runner.choose.answer import Request
from convbench.runner.choose.choose import requested_layers
from convbench.runner.choose.hardware import HardwareAnswer, answer_for_machines
from convbench.runner.observer import Observer
from convbench.runner.run import Request as RunRequest
from convbench.suite import Suite


def choose_on_fleet(
    request: Request, options: FleetOptions, prices: Mapping[str, float], observer: Observer
) -> HardwareAnswer:
    """Measure the layers of the model on the machines, and answer from the records. `prices` come before those of the
    cluster file. Raises `ConvbenchError` where that is impossible."""
    if request.purpose is not None or request.plan is not None:
        raise FleetError("--for and --plan are for one machine; leave out --cluster, or --for and --plan.")
    suite = requested_layers(request, observer)
    measured = run_on_fleet(_measuring(request, suite), options, observer)
    names = sorted(run.machine.name for run in measured.runs if run.journals)
    if not names:
        raise NothingMeasuredError("no machine of the cluster has measured anything.")
    known = {**prices, **options.cluster.prices}
    return answer_for_machines(request, names, known, options.cluster.currency, observer)


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
    )


def prices_of(words: Sequence[str]) -> dict[str, float]:
    """From `NAME=0.25`. Raises `FleetError` for what is no price."""
    prices = {}
    for word in words:
        name, _, price = word.rpartition("=")
        try:
            prices[name] = float(price)
        except ValueError:
            prices[name] = 0.0
        if not name or not prices[name] > 0:
            raise FleetError(f"--price is {word!r}; it should be NAME=P, with a number above 0, such as server=0.25.")
    return prices
