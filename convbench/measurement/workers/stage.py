"""What a worker is doing: the backend's method that it has called, to say where it hangs or crashes.

It is a word in a file of the worker's temporary folder, because a message for each call would take longer than many
calls do.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from convbench.verification.adversarial_calls import Stage

_NAME, _WIDTH = "stage", 16
_STAGES: tuple[Stage, ...] = ("prepare", "run", "to_numpy")


class StageFile:
    """The worker's side: calling it notes the method that is called next, or "" for none of the backend's."""

    def __init__(self, folder: str) -> None:
        self._file, self._process = -1, os.getpid()
        with contextlib.suppress(OSError):
            self._file = os.open(Path(folder, _NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __call__(self, stage: Stage) -> None:
        if os.getpid() != self._process:  # a fork that goes on
            return
        with contextlib.suppress(OSError):
            os.pwrite(self._file, stage.ljust(_WIDTH).encode(), 0)


def stage_in(folder: Path) -> Stage | None:
    """What a worker with this temporary folder noted last; None for nothing, or for what is no stage."""
    with contextlib.suppress(OSError), (folder / _NAME).open("rb", buffering=0) as file:
        content = (file.read(_WIDTH) or b"").decode(errors="replace").strip()
        return next((stage for stage in _STAGES if stage == content), None)
    return None
