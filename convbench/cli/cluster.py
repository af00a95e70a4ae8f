"""Machines of a cluster, and a worker that offers this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from convbench.cli import options

if TYPE_CHECKING:
    from convbench.runner.choose.answer import Request as Choice
    from convbench.runner.run import Request


def run_on_cluster(
    request: Request, cluster: str, machines: tuple[str, ...], shard: bool, ship: bool, insecure: bool
) -> int:
    """`convbench run --cluster`; the exit code."""
    from convbench.fleet.cluster.cluster_file import cluster_description
    from convbench.fleet.gathering import FleetOptions
    from convbench.fleet.run import run_on_fleet
    from convbench.reporting.console import stderr
    from convbench.reporting.fleet.runs import show_fleet_run
    from convbench.reporting.progress import progress

    described = cluster_description(cluster)
    fleet = FleetOptions(cluster=described, machines=machines, shard=shard, ship=ship, insecure=insecure)
    with progress(stderr(), as_json=request.as_json, lower=request.lower_precision) as observer:
        done = run_on_fleet(request, fleet, observer)
    show_fleet_run(done, request)
    return done.exit_code


def choose_hardware(
    request: Choice,
    cluster: str | None,
    machines: tuple[str, ...],
    prices: tuple[str, ...],
    currency: str | None,
    resume: bool,
    ship: bool,
    insecure: bool,
    as_json: bool,
) -> int:
    """`convbench choose --machines` and `--cluster`; the exit code."""
    from convbench.analysis.hardware.prices import CURRENCY, prices_of
    from convbench.api.cluster import HardwareResult
    from convbench.fleet.choose import choose_on_fleet
    from convbench.fleet.cluster.cluster_file import cluster_description
    from convbench.fleet.gathering import FleetOptions
    from convbench.reporting.console import show, stderr
    from convbench.reporting.fleet.runs import show_endings
    from convbench.reporting.progress import progress
    from convbench.runner.choose.hardware import answer_for_machines

    named = prices_of(prices)
    with progress(stderr(), plain=as_json, lower=request.lower_precision) as observer:
        if cluster is None:
            result = HardwareResult(answer_for_machines(request, machines, named, currency or CURRENCY, observer))
        else:
            fleet = FleetOptions(cluster=cluster_description(cluster), machines=machines, ship=ship, insecure=insecure)
            result = HardwareResult(*choose_on_fleet(request, fleet, named, currency, observer, resume=resume))
    show(result, result.records, as_json=as_json)
    if result.fleet is not None:
        show_endings(result.fleet)
    return result.exit_code


@click.command(short_help="Say which machines a cluster has, and how they differ.")
@click.argument("cluster", metavar="ADDRESS|FILE.toml")
@click.option("--doctor", is_flag=True, help="Find out how well each can measure, in some 15 seconds.")
@options.ship
@options.insecure
@options.seconds("--wait", "Wait so long for machines and for their answers.  [default: 60, or as the file says]")
@options.json_lines
def cluster(cluster: str, doctor: bool, ship: bool, insecure: bool, wait: float | None, as_json: bool) -> None:
    """Say which machines a cluster has: hardware, versions, and what differs between machines that should be alike.

    ADDRESS is that of a Dask scheduler, such as tls://host:8786. FILE.toml describes a cluster that is started for this
    command: [local], [ssh], [slurm] or [kubernetes]. Needs the extra convbench[cluster].
    """
    from convbench.fleet.cluster.cluster_file import cluster_description
    from convbench.fleet.gathering import FleetOptions, gathered
    from convbench.reporting.console import show, stderr
    from convbench.reporting.fleet.machines import machine_row, machines_report

    described = cluster_description(cluster)
    remarks: list[str] = []
    fleet = FleetOptions(cluster=described, ship=ship, insecure=insecure, wait=wait)
    with gathered(fleet, remarks.append, doctor=doctor) as (_, there):
        machines = there.machines
    show(machines_report(machines), [machine_row(m, described) for m in machines], as_json=as_json)
    for remark in remarks:
        stderr().print(remark, markup=False, soft_wrap=True)


@click.command(short_help="Offer this machine to a Dask scheduler.")
@click.argument("address", metavar="ADDRESS")
@options.insecure
def worker(address: str, insecure: bool) -> None:
    """Offer this machine to the Dask scheduler at ADDRESS, until that ends or Ctrl-C.

    It is a Dask worker with one thread that announces `convbench=1`, and it leaves the machine alone while something is
    timed. Certificates are those of Dask's configuration. Needs the extra convbench[cluster].
    """
    from convbench.fleet.cluster.worker import work_for

    work_for(address, insecure=insecure)
