"""What `convbench verify` has asked so far: JSON lines beside the journals, for `--resume`.

The first line is the request; each of the others is an event of one backend's campaign.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from convbench.errors import ResultsError

SUFFIX = ".verification"
Event = dict[str, Any]


class VerificationLog:
    """A log open for appending; a context manager. What matters is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    @classmethod
    def new(cls, folder: Path, request: Mapping[str, Any]) -> VerificationLog:
        """A new log in `folder`, named by the time, that begins with the request."""
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        log = cls(folder / f"{started}-{os.getpid()}{SUFFIX}")
        log.append({"asked": dict(request)}, durable=True)
        return log

    def __enter__(self) -> VerificationLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def append(self, event: Mapping[str, Any], *, durable: bool) -> None:
        """Write one line; with `durable` it is on disk when this returns. Raises `ResultsError` if it cannot be."""
        try:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8", errors="backslashreplace")
            self._file.write(json.dumps(event) + "\n")
            if durable:
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            message = f"the log {self.path} cannot be written: {error.strerror or error}."
            raise ResultsError(message) from None


def newest_log(folder: Path, request: Mapping[str, Any]) -> tuple[Path, list[Event]] | None:
    """The newest log of just this request, with its events; lines that are no events are passed over."""
    for path in sorted(folder.glob(f"*{SUFFIX}"), reverse=True):
        lines = [event for line in path.read_bytes().splitlines() if (event := _parsed(line)) is not None]
        if lines and lines[0].get("asked") == json.loads(json.dumps(request)):
            return path, lines[1:]
    return None


def _parsed(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
