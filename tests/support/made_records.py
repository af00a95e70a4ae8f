"""Records as a run makes them, without a run."""

from __future__ import annotations

import json
from typing import Any

from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of
from convbench.store.schema import Record
from convbench.suite import Case

PROBLEM = ConvProblem(in_channels=4, height=8, width=9, out_channels=6, kernel_size=(3, 5), padding=((0, 1), (2, 2)))


def made(backend: str = "torch", times: tuple[float, ...] = (0.5, 0.25, 0.75), **more: Any) -> Record:
    """A record as a run makes it, as it stands in a journal."""
    samples = tuple(RoundSample(i, 0.5, Sample(3, s, 2 * s, s / 4, i)) for i, s in enumerate(times))
    status = Status.OK if times else Status.UNSUPPORTED
    outcome = Outcome(
        suite="sizes", case=Case(PROBLEM), backend=backend, status=status, settings=Settings(), samples=samples
    )
    record: Record = json.loads(json.dumps(record_of(outcome, "run", "session", CheckoutState()) | more))
    return record
