"""The way to the machines: a client of a scheduler that runs, or of a cluster that is started for the command.

Dask starts the workers, carries the messages and encrypts them, by its own configuration. Here is decided only what is
refused: a connection that others could read and write.
"""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
from collections.abc import Iterator
from typing import Any

from convbench.errors import FleetError
from convbench.fleet.cluster.cluster_file import ClusterDescription
from convbench.fleet.cluster.kubernetes import kube_cluster
from convbench.fleet.cluster.quiet import QUIET, RESOURCE, as_environment, resource_of
from convbench.installation import pip_line
from convbench.measurement.machine.facts import machine_name
from convbench.runner.interrupts import handlers_stay

Client = Any
"""`distributed.Client`, of an optional package."""

_CONNECTING_S = 30.0
_ENCRYPTED = ("tls", "wss")
_CERTIFICATES = "docs/fleet.md says how certificates are made and named"


def dask(module: str = "distributed") -> Any:
    """A module of Dask. Raises `FleetError` with what to type where it is not installed."""
    try:
        with handlers_stay():  # dask_jobqueue ends the program at an interrupt, from its import on
            return importlib.import_module(module)
    except ImportError as error:
        if module == "distributed":
            line = pip_line("'convbench[cluster]'")
        else:
            line = f"pip install {module.partition('.')[0].replace('_', '-')}"
        raise FleetError(f"this needs {module.partition('.')[0]} ({error}): {line}") from None


@contextlib.contextmanager
def connected(
    cluster: ClusterDescription, *, insecure: bool = False, wait_s: float = _CONNECTING_S
) -> Iterator[Client]:
    """A client, within `wait_s`. What was started for it ends with it. Raises `FleetError` where there is no
    connection, and for one that is neither encrypted nor within this machine, unless `insecure`."""
    distributed = dask()
    dask("dask").config.set(QUIET)  # for the workers that are started from here
    _keep_silent()
    if cluster.address is not None:
        with _client(distributed, checked_address(cluster.address, insecure=insecure), wait_s) as client:
            yield client
        return
    with _started(cluster, insecure) as running, _client(distributed, running, wait_s) as client:
        yield client


def checked_address(address: str, *, insecure: bool) -> str:
    """The address with its scheme. Raises `FleetError` for one that is not encrypted and leaves this machine."""
    scheme, has_scheme, rest = address.rpartition("://")
    if not has_scheme:
        scheme = str(dask("dask").config.get("distributed.comm.default-scheme"))
    if scheme not in _ENCRYPTED and not insecure and not is_loopback(rest):
        raise FleetError(
            f"{scheme}://{rest} is not encrypted: others on the network could read what is sent, and run programs on "
            f"the machines. Give tls://{rest} ({_CERTIFICATES}), or type --insecure."
        )
    return f"{scheme}://{rest}"


def is_loopback(host_and_port: str) -> bool:
    """Whether an address such as `127.0.0.1:8786` stays within this machine."""
    host = host_and_port.rpartition(":")[0].strip("[]") or host_and_port
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@contextlib.contextmanager
def _client(distributed: Any, where: Any, wait_s: float) -> Iterator[Client]:
    try:
        client = distributed.Client(where, timeout=wait_s, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:
        # A TypeError and a ValueError are Dask's own for missing certificates and for what is no address.
        raise FleetError(f"there is no scheduler at {where}, or it does not answer: {error or 'no answer'}.") from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):  # of many kinds, where the scheduler is gone
            client.close(timeout=5)


@contextlib.contextmanager
def _started(cluster: ClusterDescription, insecure: bool) -> Iterator[Any]:
    """The cluster that a file describes, by the class that Dask has for it."""
    options = dict(cluster.options)
    try:
        match cluster.kind:
            case "local":
                running = _local(options)
            case "ssh":
                running = _ssh(options, _security(insecure))
            case "slurm":
                running = _slurm(options, _security(insecure))
            case _:
                operator = dask("dask_kubernetes.operator")
                running = kube_cluster(operator, dask("dask").config, options, insecure=insecure)
    except FleetError:
        raise
    except Exception as error:  # of the kinds of Dask's and of what it uses for each kind of cluster
        raise FleetError(f"the [{cluster.kind}] cluster did not start: {_in_one_line(error)}") from None
    try:
        yield running
    finally:
        _close(running)


def _close(cluster: Any) -> None:
    with contextlib.suppress(Exception):  # such as an AssertionError, where a worker did not start
        cluster.close(timeout=15)


def _in_one_line(error: Exception) -> str:
    """The message of an error; of one that quotes a command with all its output, what it wrote to standard error."""
    return " ".join(str(error).rpartition("stderr:")[2].split()) or type(error).__name__


def _security(insecure: bool) -> Any:
    """Dask's certificates. Raises `FleetError` without them, unless `insecure`."""
    if dask("dask").config.get("distributed.comm.tls.ca-file") is not None:
        return dask().Security(require_encryption=True)
    if insecure:
        return None
    raise FleetError(
        f"Dask's configuration names no certificates (distributed.comm.tls.ca-file), and messages to other machines "
        f"would not be encrypted; {_CERTIFICATES}. Or type --insecure."
    )


def _local(options: dict[str, Any]) -> Any:
    return dask().LocalCluster(
        n_workers=options.get("workers", 1),
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        resources={RESOURCE: 1, resource_of(machine_name()): 1},
        silence_logs=50,
        security=None,
    )


def _ssh(options: dict[str, Any], security: Any) -> Any:
    dask("asyncssh")
    return dask().SSHCluster(
        [options.get("scheduler", "localhost"), *options["hosts"]],
        connect_options=options.get("connect", {}),
        worker_class="distributed.Worker",
        worker_options={"nthreads": 1, "resources": {RESOURCE: 1}},
        scheduler_options={"dashboard": False} | ({"protocol": "tls://"} if security is not None else {}),
        remote_python=options.get("python"),
        security=security,
    )


def _slurm(options: dict[str, Any], security: Any) -> Any:
    variables = [f"export {name}={value}" for name, value in as_environment().items() if "[" not in value]
    cluster = dask("dask_jobqueue").SLURMCluster(
        queue=options["partition"],
        cores=options.get("cores", 1),
        processes=1,
        memory=options.get("memory", "4GB"),
        walltime=options.get("walltime", "01:00:00"),
        job_extra_directives=["--exclusive", *options.get("directives", ())],
        job_script_prologue=[*variables, *options.get("prologue", ())],
        worker_extra_args=["--resources", f"{RESOURCE}=1", "--nthreads", "1", "--no-dashboard"],
        nanny=False,
        security=security,
        scheduler_options={"dashboard": False},
        **{
            name: options[name]
            for name in ("python", "interface", "local_directory", "log_directory")
            if name in options
        },
    )
    cluster.scale(jobs=options["nodes"])
    try:
        cluster.sync(_submitted, cluster)
    except BaseException:
        _close(cluster)
        raise
    return cluster


async def _submitted(cluster: Any) -> None:
    """Wait until Slurm has the jobs. Dask only logs what it refuses; to await each worker raises it."""
    await cluster
    for worker in cluster.workers.values():
        await worker


def _keep_silent() -> None:
    """What Dask has to say of lost connections is said by convbench, in sentences."""
    import logging

    for name in ("distributed", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
