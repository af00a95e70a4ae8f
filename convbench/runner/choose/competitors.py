"""Which backends compete in a choice: those that compute in the dtype and, for a torch model, can be applied to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convbench.analysis.backend_times import lower_precision
from convbench.backend import HAS_OWN_LAYOUT, TAKES_ONE_INPUT
from convbench.measurement.scheduling.case_run import declared
from convbench.problem import ConvProblem
from convbench.registry import Entry
from convbench.runner.choose.answer import Request
from convbench.store.schema import Record

COMPUTES = "computes "
CANNOT_BE_APPLIED = (TAKES_ONE_INPUT, HAS_OWN_LAYOUT)


def reason_against(request: Request, records: Sequence[Record], entry: Entry, problem: ConvProblem) -> str | None:
    """Why a backend does not compete on `problem`, given what was recorded before; None for the others."""
    precision = lower_precision({"declared": declared(entry.backend), "dtype": problem.dtype})
    if precision and not request.lower_precision:
        return computes_in_less(precision)
    if request.purpose is None:
        return None
    if entry.backend.device != (device := device_of(request.model)):
        return f"{COMPUTES}on {entry.backend.device}, and the model is on {device}"
    # What a prepared convolution takes is known once a worker has prepared one.
    reasons = (record.get("reason") for record in records if record["backend"] == entry.name)
    return next((reason for reason in reasons if reason in CANNOT_BE_APPLIED), None)


def computes_in_less(precision: str) -> str:
    """Why a backend that computes in this `precision` does not compete."""
    return f"{COMPUTES}in {precision}, which is less than the layer's dtype"


def device_of(model: Any) -> str:
    """The kind of device that a torch module is on; `cpu` for a model that is only named."""
    parameters = getattr(model, "parameters", None)
    parameter = next(iter(parameters()), None) if callable(parameters) else None
    return "cpu" if parameter is None else str(parameter.device.type)
