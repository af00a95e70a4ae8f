"""The time of a layer that was never measured, from measured ones that are like it, with an interval that holds.

What holds is the interval's share of layers that are drawn like the measured ones (`convbench.analysis.time_model` says
how). For a layer that is like none of them there is no prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from convbench.analysis.time_model import Guess, TimeModel
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.store.journal import Record

Key = tuple[str, str, bool]


@dataclass(frozen=True)
class Predicted:
    """What a backend is thought to take, in seconds a call: as likely more than `call_s` as less, and for 90 % of such
    layers in [low_s, high_s]."""

    backend: str
    call_s: float
    low_s: float
    high_s: float
    neighbours: tuple[str, ...]
    """Case ids of the measured layers that it rests on most, the nearest first."""


class Predictor:
    """Predicts from records of one machine, number of threads, and state of caches and allocator, which the caller has
    picked out. Of two records of a backend and a problem the later counts, and only times of right answers do."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._times: dict[Key, dict[ConvProblem, dict[str, float]]] = {}
        for record in records:
            if (timed := _timed(record)) is not None:
                problem, backend, seconds = timed
                self._times.setdefault(_key(problem), {}).setdefault(problem, {})[backend] = seconds
        self._models: dict[Key, TimeModel] = {}

    @property
    def backends(self) -> tuple[str, ...]:
        """Those with a time of anything."""
        layers = (layer for layers in self._times.values() for layer in layers.values())
        return tuple(sorted({backend for times in layers for backend in times}))

    def predict(self, backend: str, problem: ConvProblem) -> Predicted | None:
        """What `backend` takes for `problem`; None where it was timed on fewer than 9 layers, or on none like it."""
        model = self._model(problem)
        guess = None if model is None else model.guess(backend, problem)
        return None if guess is None else _predicted(backend, guess)

    def rank(self, problem: ConvProblem) -> tuple[Predicted, ...]:
        """Every backend of which something can be said, the one to choose first: by the time in the middle, on a
        logarithmic scale, between `call_s` and `high_s`. A library that steps to a slow path is ten times as slow, and
        none is ten times as fast."""
        model = self._model(problem)
        found = [] if model is None else [self.predict(backend, problem) for backend in model.backends]
        return tuple(sorted((p for p in found if p is not None), key=lambda p: (p.call_s * p.high_s, p.backend)))

    def _model(self, problem: ConvProblem) -> TimeModel | None:
        key = _key(problem)
        if key not in self._models and key in self._times:
            self._models[key] = TimeModel(self._times[key])
        return self._models.get(key)


def _key(problem: ConvProblem) -> Key:
    """What has to be equal for one layer to tell of another; libraries have code of its own for depthwise layers."""
    is_depthwise = problem.groups == problem.in_channels == problem.out_channels != 1
    return problem.dtype, problem.direction, is_depthwise


def _timed(record: Record) -> tuple[ConvProblem, str, float] | None:
    seconds, arguments = record.get("median_s"), record.get("problem")
    if record.get("status") != Status.OK or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        return None
    if not isinstance(arguments, Mapping):
        return None
    try:
        return ConvProblem(**arguments), record["backend"], float(seconds)
    except (TypeError, ValueError):  # a journal of other hands may hold anything
        return None


def _predicted(backend: str, guess: Guess) -> Predicted:
    return Predicted(
        backend=backend,
        call_s=math.exp(guess.log),
        low_s=math.exp(guess.log - guess.half),
        high_s=math.exp(guess.log + guess.half),
        neighbours=tuple(layer.case_id for layer in guess.neighbours),
    )
