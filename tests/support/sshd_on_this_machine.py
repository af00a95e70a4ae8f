"""An SSH server on loopback, with host key, user key and port of its own. Debian: `apt-get install openssh-server`."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TO_TYPE = "apt-get install openssh-server"
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_PRIVILEGE_SEPARATION = Path("/run/sshd")  # where Debian's sshd of root wants a folder
_CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/pid
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
SetEnv {variables}
"""


def missing_programs() -> list[str]:
    return [name for name in ("sshd", "ssh-keygen") if shutil.which(name, path=_PATH) is None]


@contextlib.contextmanager
def sshd(folder: Path, variables: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What a client needs, in asyncssh's words. What is started over it has `variables`."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host_key = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host_key}")
    words = " ".join(f'{name}="{value}"' for name, value in variables.items())
    (folder / "sshd_config").write_text(_CONFIGURATION.format(port=port, folder=folder, variables=words))
    if os.getuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    program = shutil.which("sshd", path=_PATH)
    assert program is not None
    log = (folder / "sshd.log").open("ab")
    server = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log)
    try:
        _wait_for(port, server, folder / "sshd.log")
        yield {
            "port": port,
            "username": getpass.getuser(),
            "client_keys": [str(folder / "user")],
            "known_hosts": str(folder / "known"),
        }
    finally:
        server.terminate()
        server.wait(60)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + 300
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        assert server.poll() is None and time.monotonic() < until_s, log.read_text()
        time.sleep(0.2)
