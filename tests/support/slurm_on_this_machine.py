"""Slurm with one node on this machine: munged, slurmctld and slurmd, with a folder, a key and ports of their own.

Debian has all of it: `apt-get install slurm-wlm`. No service of the system is used or changed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
TO_TYPE = "apt-get install --no-install-recommends slurm-wlm"
PARTITION = "all"
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 {size} State=UNKNOWN
PartitionName={partition} Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing_programs() -> list[str]:
    """Those that are not installed here."""
    return [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]


@contextlib.contextmanager
def slurm() -> Iterator[Mapping[str, str]]:
    """The variables for programs that use it, such as sbatch. All jobs and daemons end with it."""
    # munged wants a folder that all may enter, which those of pytest are not.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _PATH}
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        _write_configuration(folder)
        for words in _commands(folder):
            log = (folder / f"{words[0]}.log").open("ab")
            daemons.append(
                subprocess.Popen(words, env={**os.environ, **environment}, stdout=log, stderr=log, cwd=folder)
            )
            if words[0] == "munged":
                _wait_until(lambda: (folder / "munge.socket").exists(), folder)
        _wait_until(lambda: _said(environment, "sinfo", "-h", "-o", "%T") == "idle", folder)
        yield environment
        _said(environment, "scancel", "--partition", PARTITION)
        _wait_until(lambda: jobs(environment) == [], folder)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(30)
            daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)


def jobs(environment: Mapping[str, str]) -> list[str]:
    """The names of the jobs that wait or run."""
    return _said(environment, "squeue", "-h", "-o", "%j").split()


def _said(environment: Mapping[str, str], *words: str) -> str:
    done = subprocess.run(
        words, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout.strip()


def _write_configuration(folder: Path) -> None:
    host = socket.gethostname().partition(".")[0]
    size = subprocess.run(
        ["slurmd", "-C"], env={**os.environ, "PATH": _PATH}, capture_output=True, text=True, check=True
    )
    (folder / "slurm.conf").write_text(
        _CONFIGURATION.format(
            host=host,
            folder=folder,
            ports=_free_ports(),
            user=pwd.getpwuid(os.getuid()).pw_name,
            size=size.stdout.split("\n")[0].partition(" ")[2],
            partition=PARTITION,
        )
    )
    (folder / "cgroup.conf").write_text("")
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    for name in ("state", "spool"):
        (folder / name).mkdir()


def _commands(folder: Path) -> list[list[str]]:
    munged = ["munged", "--foreground", "--key-file", str(folder / "munge.key")]
    for name in ("socket", "pid-file", "log-file", "seed-file"):
        munged += [f"--{name}", str(folder / f"munge.{name.removesuffix('-file')}")]
    host = socket.gethostname().partition(".")[0]
    return [munged, ["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", host]]


def _free_ports() -> list[int]:
    """Two ports that nothing listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until(happens: object, folder: Path, limit_s: float = 300.0) -> None:
    assert callable(happens)
    until_s = time.monotonic() + limit_s
    while not happens():
        logs = "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in folder.glob("*.log"))
        assert time.monotonic() < until_s, f"waited in vain for Slurm\n{logs}"
        time.sleep(0.2)
