"""The time of a layer that was never measured, from similar measured layers, with an interval that holds
(`time_model`).

Records of a race tell more than times. A backend with no time on a layer that others were raced on was left out there,
because it was far behind on similar layers. It has times of small layers only, from which nothing good is predicted for
large ones; it is not predicted where it would have been left out as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from convbench.analysis.prediction.time_model import TimeModel
from convbench.problem import ConvProblem
from convbench.store.readings import median_s, problem_of
from convbench.store.schema import Record

Key = tuple[str, str, bool]
_ENDS_OF_A_RACE = ("beaten", "level", "decided")


@dataclass(frozen=True)
class Predicted:
    """The predicted seconds per call of a backend: as likely more than `call_s` as less, and in [low_s, high_s] for
    90 % of such layers. `cautious_s` is what to choose by."""

    backend: str
    call_s: float
    low_s: float
    high_s: float
    neighbours: tuple[str, ...]
    """Case ids of the measured layers that it rests on most, the nearest first."""
    cautious_s: float
    """On a logarithmic scale in the middle between `call_s` and the end of an interval that covers 90 % on average: a
    slow path is ten times as slow, and none ten times as fast."""


class Predictor:
    """Predicts from selected records: of one machine, number of threads, state of caches and allocator. Of two records
    of a backend and a problem the later counts; only times of right answers count."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._times: dict[Key, dict[ConvProblem, dict[str, float]]] = {}
        races = Races()
        for record in records:
            if (problem := problem_of(record)) is None:
                continue
            races.note(problem, record)
            if (seconds := median_s(record)) is not None:
                self._times.setdefault(_key(problem), {}).setdefault(problem, {})[record["backend"]] = seconds
        self._left_out = races.left_out()
        self._models: dict[Key, TimeModel] = {}

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends with any time."""
        layers = (layer for layers in self._times.values() for layer in layers.values())
        return tuple(sorted({backend for times in layers for backend in times}))

    def predict(self, backend: str, problem: ConvProblem) -> Predicted | None:
        """The time of `backend` for `problem`; None with fewer than 9 layers, no similar one, or if left out there."""
        model = self._model(problem)
        if model is None or self._would_be_left_out(backend, problem, model):
            return None
        if (estimate := model.estimate(backend, problem)) is None:
            return None
        return Predicted(
            backend=backend,
            call_s=math.exp(estimate.log),
            low_s=math.exp(estimate.log - estimate.half),
            high_s=math.exp(estimate.log + estimate.half),
            neighbours=tuple(layer.case_id for layer in estimate.neighbours),
            cautious_s=math.exp(estimate.log + estimate.expected_half / 2),
        )

    def rank(self, problem: ConvProblem) -> tuple[Predicted, ...]:
        """Every backend with a prediction, the one to choose first."""
        model = self._model(problem)
        predictions = [] if model is None else [self.predict(backend, problem) for backend in model.backends]
        return tuple(sorted((p for p in predictions if p is not None), key=lambda p: (p.cautious_s, p.backend)))

    def _would_be_left_out(self, backend: str, problem: ConvProblem, model: TimeModel) -> bool:
        """Whether `backend` was left out of most of the measured layers that are similar to `problem`."""
        left_out = timed = 0.0
        for layer, closeness in model.closeness(problem).items():
            if backend in self._times[_key(problem)][layer]:
                timed += closeness
            elif backend in self._left_out.get(layer, ()):
                left_out += closeness
        return left_out > timed

    def _model(self, problem: ConvProblem) -> TimeModel | None:
        key = _key(problem)
        if key not in self._models and key in self._times:
            self._models[key] = TimeModel(self._times[key])
        return self._models.get(key)


class Races:
    """Which backends were left out of which layers, by the records of races: a run's journal has nothing of a backend
    on a layer that others were raced on, and something on another layer."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[ConvProblem, set[str]]] = {}
        self._raced: set[tuple[str, ConvProblem]] = set()

    def note(self, problem: ConvProblem, record: Record) -> None:
        """Take in the next record of `problem`."""
        run = str(record.get("run"))
        self._seen.setdefault(run, {}).setdefault(problem, set()).add(record["backend"])
        if record.get("stopped") in _ENDS_OF_A_RACE:
            self._raced.add((run, problem))

    def left_out(self) -> dict[ConvProblem, set[str]]:
        """By layer, the backends that some race left out of it."""
        left_out: dict[ConvProblem, set[str]] = {}
        for run, layers in self._seen.items():
            everybody = set().union(*layers.values())
            for problem, measured in layers.items():
                if (run, problem) in self._raced:
                    left_out.setdefault(problem, set()).update(everybody - measured)
        return left_out


def _key(problem: ConvProblem) -> Key:
    """What layers have to share to say anything of another. Libraries have separate code for depthwise layers."""
    is_depthwise = problem.groups == problem.in_channels == problem.out_channels != 1
    return problem.dtype, problem.direction, is_depthwise
