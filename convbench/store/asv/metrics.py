"""What asv keeps of a record: the metrics, and the names under which asv knows suites.

Names are for ever: asv matches stored results by their text. It reads every number as lower-is-better, so throughput is
derived from time and never stored there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convbench.status import Status

MODULE = "track"
SlimRecord = dict[str, Any]
"""The fields of a record that asv's files are made from."""
_ABSENT = (Status.UNSUPPORTED, Status.UNAVAILABLE)


@dataclass(frozen=True)
class Metric:
    """One asv benchmark per suite: how asv shows it, and where its value is in a record."""

    name: str
    type: str
    unit: str
    read: Callable[[SlimRecord], Any]

    def value(self, record: SlimRecord) -> Any:
        """What asv takes as the result: a number, samples, NaN where the pair does not apply. Raises `LookupError` with
        the reason when the pair failed."""
        status = Status(record["status"])
        if status in _ABSENT:
            return math.nan
        if status is not Status.OK:
            raise LookupError(f"{status}: {record['reason']}")
        value = self.read(record)
        return math.nan if value is None else value


def _samples(record: SlimRecord) -> dict[str, Any]:
    samples = record["samples"]
    return {"samples": samples["wall_s"], "number": samples["calls"][0]}


METRICS = (
    Metric("time", "time", "seconds", _samples),
    Metric("first_call", "time", "seconds", lambda record: record["first_call_s"]),
    Metric("prepare", "time", "seconds", lambda record: record["prepare_s"]),
    Metric("peak_memory", "memory", "bytes", lambda record: record["peak_bytes"]),
)


def class_name(suite: str) -> str:
    """The asv class of a suite: `mobilenet-v2` is `MobilenetV2`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", suite))


def benchmark_name(suite: str, metric: Metric) -> str:
    """asv's name of a metric of a suite: `track.Sizes.track_time`."""
    return f"{MODULE}.{class_name(suite)}.track_{metric.name}"


def benchmark_version(suite: str) -> str:
    """Raised by hand when what a suite measures changes its meaning; adding cases does not."""
    return f"{suite}-1"
