"""A module of convbench as a process: how it is started, and how all that belongs to it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from convbench.measurement.workers import temporary_folders
from convbench.measurement.workers.lifeline import Lifeline

_ENDING_S = 10.0


class ChildProcess:
    """A module of convbench as a process, in this interpreter or in the `python` of another environment. With
    `own_session` a Ctrl-C in the terminal does not reach it, what it starts ends with it, and it ends with this
    process. The module comes from this installation, whatever lies in the current folder."""

    def __init__(
        self,
        module: str,
        python: str | None,
        environment: Mapping[str, str] | None,
        folder: Path | None = None,
        own_session: bool = False,
    ) -> None:
        bootstrap = str(Path(__file__).with_name("bootstrap.py"))
        self._own_session = own_session
        self._temporary = temporary_folders.new_folder()
        self._lifeline = Lifeline() if own_session else None
        variables = dict(os.environ if environment is None else environment)
        variables |= dict.fromkeys(temporary_folders.VARIABLES, str(self._temporary))
        if python is None:
            variables |= _path_of_this_process(variables)
        if self._lifeline is not None:
            variables |= self._lifeline.environment
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [python or sys.executable, "-P", bootstrap, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=variables,
            cwd=folder,
            start_new_session=own_session,
            pass_fds=self._lifeline.inherited if self._lifeline is not None else (),
        )
        if self._lifeline is not None:
            self._lifeline.passed_on()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def alive(self) -> bool:
        """Whether the process itself runs; what it started may."""
        if self._process.returncode is not None:
            return False
        if not hasattr(os, "waitid"):
            return self._process.poll() is None
        with contextlib.suppress(ChildProcessError):
            # A process that ended and was not waited for keeps its id, so no other process or group gets it.
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        return False

    def end(self) -> None:
        """End the process and whatever it started, and remove its temporary folder."""
        if self._process.returncode is None:
            with contextlib.suppress(OSError):
                if self._own_session and hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # in a system call that does not return
                self._process.wait(_ENDING_S)
        if self._temporary.exists():
            temporary_folders.remove(self._temporary)
        if self._lifeline is not None:
            self._lifeline.cut()

    def _stderr_tail(self, size: int = 4000) -> str:
        self._stderr.flush()
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - size))
        return self._stderr.read().decode(errors="replace")

    @staticmethod
    def _signal_name(number: int) -> str:
        return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _path_of_this_process(variables: Mapping[str, str]) -> dict[str, str]:
    """PYTHONPATH with the current folder where this process looks for modules there, as `python -m` does."""
    here = str(Path.cwd())
    if not {"", here}.intersection(sys.path):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, (here, variables.get("PYTHONPATH"))))}
