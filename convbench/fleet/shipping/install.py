"""What `--ship` sends to a machine as code: make a virtual environment, install the wheel, and run a worker from it.

The machine need not have convbench, so nothing of convbench is imported here.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

PREFIX = "convbench-shipped-"


def serve(name: str, wheel: bytes, announced: str, worker_name: str) -> None:
    """The task. It ends when it is no longer needed, and removes the environment. Raises `RuntimeError` with a reason
    where the wheel cannot be installed, or its worker ends by itself."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def is_over() -> bool:
        task = worker.state.tasks.get(key)
        return worker.status.name not in ("running", "paused") or task is None or task.state == "cancelled"

    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    try:
        python = _installed(folder, name, wheel)
        if not is_over():
            _run(python, folder, [worker.scheduler.address, announced, worker_name], _variables(worker), is_over)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers() -> None:
    """Environments of workers that were killed together with the worker that they had started."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and os.path.isdir("/proc/self") and not os.path.isdir(f"/proc/{pid}"):  # noqa: PTH112
            shutil.rmtree(folder, ignore_errors=True)


def _installed(folder: Path, name: str, wheel: bytes) -> Path:
    """The interpreter of a new environment that has the wheel, and behind it all that this interpreter can import."""
    environment, file = folder / "environment", folder / name
    file.write_bytes(wheel)
    try:
        venv.EnvBuilder(symlinks=os.name != "nt", with_pip=not _has_pip()).create(environment)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"no virtual environment can be made there ({error}); it needs the module venv") from None
    places = {"base": str(environment), "platbase": str(environment)}
    libraries = Path(sysconfig.get_path("purelib", "venv", places))
    (libraries / "libraries_of_this_machine.pth").write_text("\n".join(_library_folders()))
    python = Path(sysconfig.get_path("scripts", "venv", places)) / "python"
    _pip(python, "--no-deps", "--ignore-installed", str(file))
    _pip(python, str(file))  # what it requires and this machine lacks
    return python


def _has_pip() -> bool:
    """Whether this interpreter has pip, which then serves the new environment. To look for the module would break
    setuptools in this process, which takes that for pip at work."""
    try:
        return bool(importlib.metadata.version("pip"))
    except importlib.metadata.PackageNotFoundError:
        return False


def _library_folders() -> list[str]:
    """What this interpreter searches beside the standard library."""
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    standard |= {os.path.join(path, "lib-dynload") for path in standard}  # noqa: PTH118
    folders = dict.fromkeys(map(os.path.abspath, filter(None, sys.path)))
    return [each for each in folders if each not in standard and Path(each).is_dir()]


def _pip(python: Path, *words: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", *words]
    done = subprocess.run(command, env=_apart(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        remedy = "install there what it requires, or give its pip an index"
        raise RuntimeError(f"pip cannot install the wheel there ({errors[-1].strip()}); {remedy}")


def _apart() -> dict[str, str]:
    """Without what would put other libraries before those of the new environment."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET")}


def _variables(worker: Any) -> dict[str, str]:
    """For the new worker: the certificates that this one has, which may have come by its command line."""
    security, prefix = worker.security, "DASK_DISTRIBUTED__COMM__TLS__"
    named = {
        "CA_FILE": security.tls_ca_file,
        "WORKER__CERT": security.tls_worker_cert,
        "WORKER__KEY": security.tls_worker_key,
    }
    return _apart() | {prefix + name: str(value) for name, value in named.items() if value}


def _run(python: Path, folder: Path, words: list[str], variables: dict[str, str], is_over: Any) -> None:
    """Run the worker until `is_over`. It ends at the end of its input, so also with this process."""
    module = "convbench.fleet.shipping.worker"
    with (folder / "log").open("w+b") as log:
        process = subprocess.Popen(
            [str(python), "-P", "-m", module, str(folder), *words],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, env=variables, start_new_session=True,
        )  # fmt: skip
        try:
            while not is_over():
                if process.poll() is not None:
                    log.seek(0)
                    lines = log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                    raise RuntimeError(f"the worker that was shipped ended ({lines[-1].strip()})")
                time.sleep(1.0)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
        return
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
