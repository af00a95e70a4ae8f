"""What `convbench verify`, or `convbench bisect`, has asked so far: JSON lines beside the journals, for `--resume`.

The first line is the request; each of the others is an event, such as one of a backend's campaign.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from convbench.errors import ResultsError
from convbench.files.user_file import FileKind, read_bytes
from convbench.store.line_file import LineFile

SUFFIX = ".verification"
BISECTION_SUFFIX = ".bisection"
_KINDS = {
    suffix: FileKind(f"a log of a {suffix[1:]}", 2**30, "move it away, or leave out --resume", ResultsError)
    for suffix in (SUFFIX, BISECTION_SUFFIX)
}
Event = dict[str, Any]


class VerificationLog(LineFile):
    """A log open for appending."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, lambda line: isinstance(_parsed(line), dict))

    @classmethod
    def new(cls, folder: Path, request: Mapping[str, Any], suffix: str = SUFFIX) -> VerificationLog:
        """A new log in `folder`, named by the time, that begins with the request."""
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        log = cls(folder / f"{started}-{os.getpid()}{suffix}")
        log.append({"asked": dict(request)}, durable=True)
        return log

    def append(self, event: Mapping[str, Any], *, durable: bool) -> None:
        """Write one line; if `durable` it is on disk when this returns. Raises `ResultsError` if it cannot be."""
        try:
            self.write(json.dumps(event) + "\n", durable=durable)
        except OSError as error:
            raise ResultsError(f"the log {self.path} cannot be written: {error.strerror or error}.") from None


def newest_log(folder: Path, request: Mapping[str, Any], suffix: str = SUFFIX) -> tuple[Path, list[Event]] | None:
    """The newest log of just this request, with its events; lines that are no events are passed over."""
    wanted = json.loads(json.dumps(request))
    return next(((path, events) for path, stored, events in logs(folder, suffix) if stored == wanted), None)


def logs(folder: Path, suffix: str) -> Iterator[tuple[Path, Any, list[Event]]]:
    """Each log of a folder, the newest first: its path, its request and its events; lines that are no events are passed
    over. Raises `ResultsError` for a log that cannot be read."""
    for path in sorted(folder.glob(f"*{suffix}"), reverse=True):
        lines = read_bytes(path, _KINDS[suffix]).splitlines()
        events = [event for line in lines if isinstance(event := _parsed(line), dict)]
        if events:
            yield path, events[0].get("asked"), events[1:]


def _parsed(line: bytes) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(line)
    return None
