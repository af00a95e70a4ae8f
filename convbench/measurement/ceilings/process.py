"""Ceilings measured in a process of their own, whose libraries keep to one thread each: the threads are convbench's."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from convbench.errors import NothingMeasuredError
from convbench.installation import VERSION
from convbench.measurement.ceilings.executable import FORBIDDEN
from convbench.measurement.ceilings.figures import Ceilings
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.workers.process_environment import worker_environment

_LIMIT_S = 180.0


def measure_ceilings(threads: int, watch: Callable[[str], None] = lambda what: None, seconds: float = 0.3) -> Ceilings:
    """What `threads` threads of this machine reach, sampled for `seconds` a figure, of which there are some twenty;
    `watch` is told what is being measured.

    Raises `NothingMeasuredError` when the process that measures does not come to an end.
    """
    asked = {"threads": threads, "seconds": seconds}
    found, trouble = _found(asked, watch, {})
    notes = []
    if found is None:  # as where a CPU says that it has instructions that it does not let be used
        notes.append(f"no machine code: the process that ran it {trouble}")
        found, trouble = _found(asked, watch, {FORBIDDEN: "1"})
    if found is None:
        raise NothingMeasuredError(f"the ceilings were not measured: the process for --threads {threads} {trouble}.")
    of_here = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": machine_facts()["cpu"],
        "convbench": VERSION,
        "notes": [*notes, *(note for note in found["notes"] if not (notes and FORBIDDEN in note))],
    }
    return msgspec.convert(found | of_here, Ceilings)


def _found(
    asked: dict[str, Any], watch: Callable[[str], None], more: dict[str, str]
) -> tuple[dict[str, Any] | None, str]:
    """What a fresh process found, or None and, in words, how it ended."""
    environment = worker_environment(1, "steady") | more
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-m", "convbench.measurement.ceilings.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        ) as process,
    ):
        limit = threading.Timer(_LIMIT_S, process.kill)
        limit.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(OSError), process.stdin as asking:  # one that died is found out below
                asking.write(json.dumps(asked))
            found = _last(process.stdout, watch)
            code = process.wait()
        finally:
            limit.cancel()
            process.kill()
        errors.seek(0)
        last_words = errors.read()[-2000:].decode(errors="replace").strip().splitlines()[-1:]
    if found is not None and code == 0:
        return found, ""
    ended = f"was ended by signal {-code}" if code < 0 else f"left with exit code {code}"
    return None, ": ".join([ended, *last_words])


def _last(lines: Iterable[str], watch: Callable[[str], None]) -> dict[str, Any] | None:
    found = None
    for line in lines:
        with contextlib.suppress(ValueError):  # half a line, as of a process that was ended
            said = json.loads(line)
            if "doing" in said:
                watch(said["doing"])
            found = said.get("found", found)
    return found
