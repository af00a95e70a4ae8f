"""What the times of backends on some layers tell of their times on another, with intervals that are calibrated.

The logarithm of each backend's time is a Gaussian process in the features of a layer. Layers are predicted in folds,
each from the others, and intervals are made so wide, in units of the model's own uncertainty, that they cover as many
of these as they promise: conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World,
2005) by cross-validation (Barber, Candes, Ramdas and Tibshirani, Predictive inference with the jackknife+, Annals of
Statistics 49, 2021). Some tens of layers tell a share of 90 % to within several points only, so intervals are of that
share with a confidence (Vovk, Conditional validity of inductive conformal predictors, 2012, proposition 2a: the share
that the k-th of n scores covers has a Beta(k, n + 1 - k) distribution), as a tolerance interval is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincc

from convbench.analysis.prediction.layer_features import features
from convbench.problem import ConvProblem
from convbench.stats.gaussian_process import Fit, Floats, Kernel, fitted_kernel

COVERAGE = 0.9
"""The share of layers whose time an interval covers."""
CONFIDENCE = 0.8
"""The chance that it covers so many, or more, where there are enough layers for that."""
FEWEST = 9
"""Layers of a backend from which on there is an interval: a tenth may be further off than all of 9 with this chance."""
NEAR = 0.25
"""How close, in the kernel's terms, the nearest measured layer has to be."""
NEIGHBOURS = 3
_FOLDS = 5
_MOST_FITTED = 150
"""Layers that the kernel is fitted to; the time it takes grows with the cube."""
_MOST_KEPT = 1500
"""Layers that a backend is predicted from; likewise."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LogEstimate:
    """The logarithm of a time in seconds, with its interval's half width, and the layers that it rests on most.
    `expected_half` would cover the share in the mean."""

    log: float
    half: float
    expected_half: float
    neighbours: tuple[ConvProblem, ...]


@dataclass(frozen=True)
class _Known:
    """What is known of backends that were timed on the same layers: arrays are by backend, as `columns` has them."""

    fit: Fit
    rows: Integers
    columns: Mapping[int, int]
    levels: Floats
    factors: Floats
    """Half widths of intervals, in the model's standard deviations."""
    expected_factors: Floats


class TimeModel:
    """Times in seconds by layer and backend; a layer may lack some. Everything is fitted when first needed."""

    def __init__(self, times: Mapping[ConvProblem, Mapping[str, float]]) -> None:
        self._layers = list(times)
        self.backends = tuple(sorted({backend for by_backend in times.values() for backend in by_backend}))
        table = [[by_backend.get(name, math.nan) for name in self.backends] for by_backend in times.values()]
        self._logs: Floats = np.log(np.array(table, dtype=np.float64))
        self._is_known = ~np.isnan(self._logs)
        raw = np.array([features(layer) for layer in self._layers])
        self._centre, self._spread = raw.mean(axis=0), raw.std(axis=0)
        self._spread[self._spread < 1e-9] = 1.0
        self._points: Floats = (raw - self._centre) / self._spread
        self._known: dict[bytes, _Known] = {}

    def estimate(self, backend: str, layer: ConvProblem) -> LogEstimate | None:
        """What `backend` takes for `layer`; None where it was timed on too few, or on none that is like it."""
        column = self.backends.index(backend) if backend in self.backends else None
        if column is None or self._is_known[:, column].sum() < FEWEST:
            return None
        known = self._of(column)
        point = self._point(layer)
        closeness = self._kernel.closeness(point, known.fit.points)[0]
        nearest = np.argsort(-closeness, kind="stable")[:NEIGHBOURS]
        at = known.columns[column]
        if closeness[nearest[0]] < NEAR or not math.isfinite(known.factors[at]):
            return None
        means, deviations = known.fit.predict(point)
        return LogEstimate(
            log=float(known.levels[at] + means[0, at]),
            half=float(known.factors[at] * deviations[0, at]),
            expected_half=float(known.expected_factors[at] * deviations[0, at]),
            neighbours=tuple(self._layers[known.rows[i]] for i in nearest),
        )

    def closeness(self, layer: ConvProblem) -> dict[ConvProblem, float]:
        """How much each measured layer tells of this one: 1 for itself, 0 for what has nothing in common with it."""
        return dict(
            zip(self._layers, self._kernel.closeness(self._point(layer), self._points)[0].tolist(), strict=True)
        )

    def _point(self, layer: ConvProblem) -> Floats:
        return np.asarray((np.array([features(layer)]) - self._centre) / self._spread)

    @cached_property
    def _kernel(self) -> Kernel:
        return self._fitted(np.arange(len(self._layers)))

    @cached_property
    def _folds(self) -> list[tuple[NDArray[np.bool_], Kernel]]:
        """Of each fold, which layers are in it, and the kernel as the others give it."""
        number = np.random.default_rng(0).permutation(len(self._layers)) % _FOLDS
        return [(number == f, self._fitted(np.flatnonzero(number != f), self._kernel)) for f in range(_FOLDS)]

    def _fitted(self, rows: Integers, start: Kernel | None = None) -> Kernel:
        """The kernel for the layers of `rows` and as many backends as were timed on most of them."""
        counts = self._is_known[rows].sum(axis=0)
        columns = np.flatnonzero(2 * counts >= counts.max())
        complete = rows[self._is_known[np.ix_(rows, columns)].all(axis=1)]
        if 2 * len(complete) < counts.max():  # they were timed on different layers
            columns = counts.argmax(keepdims=True)
            complete = rows[self._is_known[rows, columns[0]]]
        chosen = complete[_evenly(len(complete), _MOST_FITTED)]
        values = self._logs[np.ix_(chosen, columns)]
        return fitted_kernel(self._points[chosen], values - values.mean(axis=0), start)

    def _of(self, column: int) -> _Known:
        is_known = self._is_known[:, column]
        name = is_known.tobytes()
        if name not in self._known:
            alike = [c for c in range(len(self.backends)) if np.array_equal(self._is_known[:, c], is_known)]
            rows = np.flatnonzero(is_known)
            self._known[name] = self._together(rows[_evenly(len(rows), _MOST_KEPT)], alike)
        return self._known[name]

    def _together(self, rows: Integers, columns: Sequence[int]) -> _Known:
        values = self._logs[rows][:, columns]
        levels = values.mean(axis=0)
        fit = Fit.of(self._kernel, self._points[rows], values - levels)
        scores = np.sort(self._scores(rows, values), axis=0)
        # Of n + 1 equally likely places the new layer's is among the first k with a chance of k / (n + 1).
        expected = min(math.ceil((len(rows) + 1) * COVERAGE), len(rows))
        sure = _rank_for_sure(len(rows))
        places = {column: i for i, column in enumerate(columns)}
        return _Known(fit, rows, places, levels, scores[sure - 1], scores[expected - 1])

    def _scores(self, rows: Integers, values: Floats) -> Floats:
        """How far each value is from what the other folds predict, in the model's standard deviations."""
        scores = np.full_like(values, math.inf)
        for is_in, kernel in self._folds:
            fold, rest = is_in[rows], ~is_in[rows]
            if fold.any() and rest.any():
                level = values[rest].mean(axis=0)
                fit = Fit.of(kernel, self._points[rows[rest]], values[rest] - level)
                means, deviations = fit.predict(self._points[rows[fold]])
                scores[fold] = np.abs(values[fold] - level - means) / deviations
        return scores


def _rank_for_sure(size: int) -> int:
    """Which of so many scores, from the smallest, covers the share with the confidence; the largest where none does."""
    ranks = np.arange(1, size + 1)
    enough = ranks[betaincc(ranks, size + 1 - ranks, COVERAGE) >= CONFIDENCE]
    return int(enough[0]) if enough.size else size


def _evenly(size: int, most: int) -> Integers:
    """`most` of so many numbers at most, evenly over the order in which they came."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.int64))
