"""Records: what an outcome is in the journal, and `load`, which gives the journals as a pandas frame.

A record stands alone: the samples as they were taken, the verdicts, the whole problem, settings, versions and machine.
Names carry units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import convbench
from convbench.errors import ResultsError
from convbench.measurement.machine import machine_facts
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.store.checkout import CheckoutState
from convbench.store.folder import results_folder
from convbench.store.journal import Record, journals, read_records

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1


def record_of(outcome: Outcome, run: str, session: str, checkout: CheckoutState) -> Record:
    """The record of `outcome`, one of those of `run`, found in the process `session` at the commit of `checkout`."""
    problem, estimate = outcome.case.problem, outcome.estimate
    return {
        "format": FORMAT,
        "run": run,
        "session": session,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": outcome.suite,
        "case": outcome.case.name,
        "backend": outcome.backend,
        "status": str(outcome.status),
        "reason": outcome.reason,
        "median_s": estimate.median if estimate else None,
        "low_s": estimate.low if estimate else None,
        "high_s": estimate.high if estimate else None,
        "interval": ("median, 95 %" if estimate.covers else "range") if estimate else None,
        "gflops": problem.flops / estimate.median / 1e9 if estimate and estimate.median > 0 else None,
        "first_call_s": outcome.first_call_s,
        "prepare_s": outcome.prepare_s,
        "max_error_over_bound": outcome.max_error_over_bound,
        "threads": outcome.settings.threads,
        "dtype": problem.dtype,
        "case_id": problem.case_id,
        "count": outcome.case.count,
        "layer": outcome.case.layer,
        "flops": problem.flops,
        "stopped": outcome.stopped,
        "before_bytes": outcome.before_bytes,
        "peak_bytes": outcome.peak_bytes,
        "samples": _columns(outcome.samples),
        "verdicts": [asdict(verdict) for verdict in outcome.verdicts],
        "problem": problem.as_dict(),
        "settings": asdict(outcome.settings),
        "declared": outcome.declared,
        "versions": outcome.versions,
        "convbench": convbench.__version__,
        "commit": checkout.commit,
        "dirty": checkout.dirty,
        "machine": machine_facts(),
        "stderr_tail": outcome.stderr_tail,
    }


def _columns(samples: tuple[RoundSample, ...]) -> dict[str, list[Any]]:
    rows = [{"round": s.round, "load": s.load, **asdict(s.sample)} for s in samples]
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def records(path: str | PathLike[str] | None = None) -> Iterator[Record]:
    """Every record in a journal, or in all journals of a results folder; by default of the folder that runs write to.

    Raises `ResultsError` when there is no such place.
    """
    place = Path(path) if path is not None else results_folder()
    if place.is_file():
        yield from read_records(place)
    elif place.is_dir():
        for journal in journals(place):
            yield from read_records(journal)
    else:
        raise ResultsError(f"there are no results at {place}; it should be a journal (.jsonl) or a results folder.")


_SETTINGS_KEPT = ("allocator", "seed")
_COLUMNS_OF_NOTHING = ("suite", "case", "backend", "status", "reason", "median_s", "low_s", "high_s", "gflops")
_MACHINE_KEPT = ("machine", "cpu", "os", "python")


def load(path: str | PathLike[str] | None = None) -> pd.DataFrame:
    """Records as a frame, one row each, the newest last; `path` as for `records`.

    Scalars are columns under their own names; of the problem, settings and machine those that one groups by are too
    (`in_channels`, `kernel_size`, ..., `allocator`, `machine`, `cpu`). Raw samples are in `wall_s`, `cpu_s`,
    `system_s`, `minor_faults`, `calls`, `round`, `load`, a list each, one element per sample; seconds are per call.
    Raises `ResultsError` when there is no such place.
    """
    import pandas as pd

    rows = [_row(record) for record in records(path)]
    return pd.DataFrame(rows, columns=None if rows else list(_COLUMNS_OF_NOTHING))


def _row(record: Record) -> Record:
    nested = ("problem", "settings", "machine", "samples")
    row = {key: value for key, value in record.items() if key not in nested}
    inner = {key: record.get(key) or {} for key in nested}
    row |= {k: tuple(map(_tuple, v)) if isinstance(v, list) else v for k, v in inner["problem"].items()}
    row |= {key: inner["settings"].get(key) for key in _SETTINGS_KEPT}
    row |= {key: inner["machine"].get(key) for key in _MACHINE_KEPT}
    return row | inner["samples"]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
