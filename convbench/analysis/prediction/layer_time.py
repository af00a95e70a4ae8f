"""The time of a layer that was never measured, from measured ones that are like it, with an interval that holds.

The interval covers its stated share of layers that are drawn like the measured ones; `time_model` says how. There is no
prediction for a layer that is like none of them.

Records of a race tell more than times: who has none on a layer that others were raced on was left out there, because it
was far behind on others like it. Such a backend has times of small layers only, from which nothing good is predicted
for large ones; it is not predicted where it would have been left out, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from convbench.analysis.prediction.time_model import Guess, TimeModel
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.store.journal import Record

Key = tuple[str, str, bool]
_ENDS_OF_A_RACE = ("beaten", "level", "decided")


@dataclass(frozen=True)
class Predicted:
    """What a backend is thought to take, in seconds a call: as likely more than `call_s` as less, and for 90 % of such
    layers in [low_s, high_s]. `cautious_s` is what to choose by."""

    backend: str
    call_s: float
    low_s: float
    high_s: float
    neighbours: tuple[str, ...]
    """Case ids of the measured layers that it rests on most, the nearest first."""
    cautious_s: float
    """In the middle, on a logarithmic scale, between `call_s` and where the interval would end that covers 90 % in the
    mean: a library that steps to a slow path is ten times as slow, and none is ten times as fast."""


class Predictor:
    """Predicts from records of one machine, number of threads, and state of caches and allocator, which the caller has
    picked out. Of two records of a backend and a problem the later counts, and only times of right answers do."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._times: dict[Key, dict[ConvProblem, dict[str, float]]] = {}
        races = Races()
        for record in records:
            if (problem := _problem(record)) is None:
                continue
            races.note(problem, record)
            if (seconds := _seconds(record)) is not None:
                self._times.setdefault(_key(problem), {}).setdefault(problem, {})[record["backend"]] = seconds
        self._left_out = races.left_out()
        self._models: dict[Key, TimeModel] = {}

    @property
    def backends(self) -> tuple[str, ...]:
        """Those with a time of anything."""
        layers = (layer for layers in self._times.values() for layer in layers.values())
        return tuple(sorted({backend for times in layers for backend in times}))

    def predict(self, backend: str, problem: ConvProblem) -> Predicted | None:
        """What `backend` takes for `problem`; None where it was timed on fewer than 9 layers or on none like it, or was
        left out of those that are like it."""
        model = self._model(problem)
        if model is None or self._would_be_left_out(backend, problem, model):
            return None
        guess = model.guess(backend, problem)
        return None if guess is None else _predicted(backend, guess)

    def rank(self, problem: ConvProblem) -> tuple[Predicted, ...]:
        """Every backend of which something can be said, the one to choose first."""
        model = self._model(problem)
        found = [] if model is None else [self.predict(backend, problem) for backend in model.backends]
        return tuple(sorted((p for p in found if p is not None), key=lambda p: (p.cautious_s, p.backend)))

    def _would_be_left_out(self, backend: str, problem: ConvProblem, model: TimeModel) -> bool:
        """Whether the measured layers that are like `problem` are rather ones that `backend` was left out of."""
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
    """Who was left out of which layer, as the records of races tell it: a run's journal has nothing of a backend on a
    layer that others were raced on, and something on another layer."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[ConvProblem, set[str]]] = {}
        self._raced: set[tuple[str, ConvProblem]] = set()

    def note(self, problem: ConvProblem, record: Record) -> None:
        """Take in the next record."""
        run = str(record.get("run"))
        self._seen.setdefault(run, {}).setdefault(problem, set()).add(record["backend"])
        if record.get("stopped") in _ENDS_OF_A_RACE:
            self._raced.add((run, problem))

    def left_out(self) -> dict[ConvProblem, set[str]]:
        """By layer, the backends that some race left out of it."""
        found: dict[ConvProblem, set[str]] = {}
        for run, layers in self._seen.items():
            everybody = set().union(*layers.values())
            for problem, asked in layers.items():
                if (run, problem) in self._raced:
                    found.setdefault(problem, set()).update(everybody - asked)
        return found


def _key(problem: ConvProblem) -> Key:
    """What has to be equal for one layer to tell of another; libraries have code of its own for depthwise layers."""
    is_depthwise = problem.groups == problem.in_channels == problem.out_channels != 1
    return problem.dtype, problem.direction, is_depthwise


def _problem(record: Record) -> ConvProblem | None:
    arguments = record.get("problem")
    if not isinstance(arguments, Mapping):
        return None
    try:
        return ConvProblem(**arguments)
    except (TypeError, ValueError):  # a journal of other hands may hold anything
        return None


def _seconds(record: Record) -> float | None:
    """The time of a right answer."""
    seconds = record.get("median_s")
    if record.get("status") != Status.OK or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        return None
    return float(seconds)


def _predicted(backend: str, guess: Guess) -> Predicted:
    return Predicted(
        backend=backend,
        call_s=math.exp(guess.log),
        low_s=math.exp(guess.log - guess.half),
        high_s=math.exp(guess.log + guess.half),
        neighbours=tuple(layer.case_id for layer in guess.neighbours),
        cautious_s=math.exp(guess.log + guess.expected_half / 2),
    )
