"""Records as a suite of pyperf's: `pyperf stats`, `pyperf hist` and `pyperf compare_to` work on it.

Version 1.0 of pyperf's JSON: a benchmark per suite, case and backend, with one run whose values are the raw samples,
seconds per call; of several records of one such pair the last counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from convbench.errors import NothingMeasuredError, ResultsError
from convbench.status import Status
from convbench.store.readings import table, time_of, walls
from convbench.store.schema import Record


def write_pyperf(path: Path, records: Callable[[], Iterable[Record]]) -> int:
    """Write those that were timed; gives how many. Raises `NothingMeasuredError` where none was, and `ResultsError`
    where they are of several machines, whose times under one name would say nothing."""
    timed = {_name(record): record for record in records() if record["status"] == Status.OK and walls(record)}
    machines = {str(table(record, "machine").get("machine")) for record in timed.values()}
    if len(machines) > 1:
        raise ResultsError(
            f"these records are of {len(machines)} machines ({', '.join(sorted(machines)[:5])}), and a file for pyperf "
            "is of one; name one of them, or a journal."
        )
    if not timed:
        raise NothingMeasuredError("there is nothing to write for pyperf: no record has a time.")
    benchmarks = [_benchmark(name, record) for name, record in timed.items()]
    path.write_text(json.dumps({"version": "1.0", "metadata": {}, "benchmarks": benchmarks}), encoding="utf-8")
    return len(benchmarks)


def _name(record: Record) -> str:
    threads = record.get("threads") or 1
    names = [str(record.get("suite") or "-"), record["case"], record["backend"]]
    return "/".join(names if threads == 1 else [*names, f"{threads} threads"])


def _benchmark(name: str, record: Record) -> dict[str, Any]:
    run: dict[str, Any] = {"values": [float(wall_s) for wall_s in walls(record)]}
    if time := time_of(record):
        run["metadata"] = {"date": time.replace(tzinfo=None).isoformat(" ")}  # as pyperf writes it: without the zone
    return {"metadata": {"name": name, "unit": "second"} | _metadata(record), "runs": [run]}


def _metadata(record: Record) -> dict[str, Any]:
    machine, problem = table(record, "machine"), table(record, "problem")
    values = {
        "hostname": machine.get("machine"),
        "cpu_model_name": machine.get("cpu"),
        "platform": machine.get("os"),
        "python_version": machine.get("python"),
        "convbench_version": record.get("convbench"),
        "convbench_commit": record.get("commit"),
        "case_id": record.get("case_id"),
        "dtype": problem.get("dtype"),
        "threads": record.get("threads"),
        "flops_per_call": record.get("flops"),
    }
    texts = {key: " ".join(str(value).split()) for key, value in values.items() if value is not None}
    count = machine.get("num_cpu")
    counts = {"cpu_count": count} if isinstance(count, int) and count > 0 else {}
    return {key: text for key, text in texts.items() if text} | counts
