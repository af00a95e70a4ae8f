"""Records of machines in the files that asv has of this checkout: each machine has its series there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from convbench.fleet.machine_run import MachineRun
from convbench.runner.run import Request
from convbench.store.asv.results import Written, write_asv_results
from convbench.store.locations import find_checkout, results_folder

_AT_ONCE = 50
"""So many machines' records are in memory at once, and stored by one process of asv."""


def store_runs_in_asv(
    request: Request, runs: Sequence[MachineRun], commit: str | None, say: Callable[[str], object]
) -> Written | None:
    """Store what was measured at `commit`; None when that is not requested, or nothing is new. `say` is called with
    what is waited for."""
    if request.no_asv or not request.keep or not any(run.written for run in runs):
        return None
    kept = [run for run in runs if run.journals]
    parts = [_stored(request, kept[start : start + _AT_ONCE], commit, say) for start in range(0, len(kept), _AT_ONCE)]
    refusal = next((part.refusal for part in parts if part.refusal is not None), None)
    return replace(
        parts[0],
        values=sum(part.values for part in parts),
        refusal=refusal,
        left_out="; ".join(dict.fromkeys(part.left_out for part in parts if part.left_out)) or None,
        machine="; ".join(part.machine for part in parts if part.machine) or None,
    )


def _stored(request: Request, runs: Sequence[MachineRun], commit: str | None, say: Callable[[str], object]) -> Written:
    # A resumed campaign may have measured earlier records at another commit, which stored them then.
    records = [record for run in runs for record in run.measurements().records if record.get("commit") == commit]
    results, checkout = results_folder(request.results), find_checkout(Path.cwd())
    return write_asv_results(records, results, checkout, allow_dirty=request.allow_dirty, say=say)
