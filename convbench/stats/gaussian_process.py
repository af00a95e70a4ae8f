"""Gaussian-process regression: several quantities over the same points, with one kernel that is fitted to all of them.

With one kernel and one noise for all, what is predicted for the difference of two quantities is the difference of
what is predicted for each. Formulas: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006): GPML.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, lapack
from scipy.optimize import minimize

Floats = NDArray[np.float64]

_CONSTANT = 25.0
"""Variance of the level, in units of the signal's: as good as free."""
_LOG_WEIGHT = (math.log(0.04), 0.7)  # lengths of 5 standard deviations of a feature: most matter little
_LOG_SLOPE = (math.log(0.3), 1.0)
_LOG_NOISE = (math.log(0.01), 1.5)
"""Mean and standard deviation of the logarithms that the kernel's numbers are normally distributed with beforehand."""
_MOST_STEPS = 40
_SCALE_DEGREES, _SCALE_SUM = 2.0, 0.2
"""As if the signal's variance had been seen in so many values, with this sum of squares, already."""


@dataclass(frozen=True)
class Kernel:
    """k(x, x') = m(r) + slope * x.x' + constant, with Matern's function of smoothness 3/2 (GPML, 4.17) of the weighted
    distance r^2 = sum_d weight_d (x_d - x'_d)^2. All in units of the signal's variance, noise as well."""

    log_weights: Floats
    """(features,)"""
    log_slope: float
    log_noise: float

    @property
    def noise(self) -> float:
        return math.exp(self.log_noise)

    def closeness(self, points: Floats, others: Floats) -> Floats:
        """m(r) of each pair, (points, others): 1 for a point and itself, 0 for those with nothing in common."""
        r = math.sqrt(3) * np.sqrt(self._squares(points, others))
        return np.asarray((1 + r) * np.exp(-r))

    def covariance(self, points: Floats, others: Floats) -> Floats:
        linear = math.exp(self.log_slope) * points @ others.T
        return np.asarray(self.closeness(points, others) + linear + _CONSTANT)

    def variance(self, points: Floats) -> Floats:
        return np.asarray(1 + math.exp(self.log_slope) * np.square(points).sum(axis=1) + _CONSTANT)

    def _squares(self, points: Floats, others: Floats) -> Floats:
        root = np.exp(self.log_weights / 2)
        a, b = points * root, others * root
        squares: Floats = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
        return np.maximum(squares, 0)


@dataclass(frozen=True)
class Fit:
    """What is known of quantities that were seen at the same points; arrays are (points,) or (points, quantities)."""

    kernel: Kernel
    points: Floats
    values: Floats
    _factor: tuple[Floats, bool] = field(repr=False)
    _solved: Floats = field(repr=False)
    """The inverse of the covariance, noise included, times the values."""

    @classmethod
    def of(cls, kernel: Kernel, points: Floats, values: Floats) -> Fit:
        """Of `values` (points, quantities) at `points` (points, features)."""
        noisy = kernel.covariance(points, points)
        noisy[np.diag_indices_from(noisy)] += kernel.noise
        factor = cho_factor(noisy, lower=True, overwrite_a=True, check_finite=False)
        return cls(kernel, points, values, factor, cho_solve(factor, values, check_finite=False))

    @property
    def scales(self) -> Floats:
        """The signal's variance of each quantity, its most likely value (GPML, section 5.4.1's product of the two)."""
        squares = np.einsum("ij,ij->j", self.values, self._solved)
        return np.asarray((squares + _SCALE_SUM) / (len(self.points) + _SCALE_DEGREES))

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Means (points, quantities) and standard deviations of a new measurement (GPML, 2.25 and 2.26)."""
        across = self.kernel.covariance(points, self.points)
        reduced = np.einsum("ij,ji->i", across, cho_solve(self._factor, across.T, check_finite=False))
        left = np.maximum(self.kernel.variance(points) - reduced, 0) + self.kernel.noise
        return across @ self._solved, np.sqrt(left[:, None] * self.scales)

    def left_out(self) -> tuple[Floats, Floats]:
        """Means and standard deviations at each point as all the others predict it (GPML, 5.12)."""
        precisions = np.diagonal(_inverse(self._factor))[:, None]
        return self.values - self._solved / precisions, np.sqrt(self.scales / precisions)


def fitted_kernel(points: Floats, values: Floats, start: Kernel | None = None) -> Kernel:
    """The most probable kernel for `values` (points, quantities) at `points` (points, features), looked for from
    `start` on: the marginal likelihood (GPML, 5.8, with 5.9 for its slopes) times what is believed beforehand."""
    size = points.shape[1]
    centre = np.array([_LOG_WEIGHT[0]] * size + [_LOG_SLOPE[0], _LOG_NOISE[0]])
    spread = np.array([_LOG_WEIGHT[1]] * size + [_LOG_SLOPE[1], _LOG_NOISE[1]])

    def cost(numbers: Floats) -> tuple[float, Floats]:
        away = (numbers - centre) / spread
        total, slopes = _cost(_kernel(numbers), points, values)
        return total + float(away @ away) / 2, slopes + away / spread

    first = centre if start is None else np.array([*start.log_weights, start.log_slope, start.log_noise])
    limits = [(c - 5 * s, c + 5 * s) for c, s in zip(centre, spread, strict=True)]
    fit = minimize(cost, first, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": _MOST_STEPS})
    return _kernel(fit.x)


def _kernel(numbers: Floats) -> Kernel:
    return Kernel(numbers[:-2], float(numbers[-2]), float(numbers[-1]))


def _cost(kernel: Kernel, points: Floats, values: Floats) -> tuple[float, Floats]:
    """Minus the logarithm of the marginal likelihood, but for constants, and its slopes by the kernel's numbers."""
    fit = Fit.of(kernel, points, values)
    scales, quantities = fit.scales, values.shape[1]
    half_determinant = np.log(np.diagonal(fit._factor[0])).sum()
    total = (len(points) + _SCALE_DEGREES) / 2 * np.log(scales).sum() + quantities * half_determinant
    by_covariance = (quantities * _inverse(fit._factor) - (fit._solved / scales) @ fit._solved.T) / 2
    # dk/d(r^2) = -3/2 exp(-sqrt(3) r); the sum over pairs of it times (x_d - x'_d)^2 is two matrix products.
    near = np.exp(-math.sqrt(3) * np.sqrt(kernel._squares(points, points)))
    pull = -1.5 * by_covariance * near
    sums = 2 * (np.square(points).T @ pull.sum(axis=1) - np.einsum("id,id->d", points, pull @ points))
    by_slope = math.exp(kernel.log_slope) * np.einsum("id,id->", points, by_covariance @ points)
    by_noise = kernel.noise * np.trace(by_covariance)
    return float(total), np.concatenate([np.exp(kernel.log_weights) * sums, [by_slope, by_noise]])


def _inverse(factor: tuple[Floats, bool]) -> Floats:
    """The inverse of the matrix of which this is Cholesky's factor, the lower one."""
    lower, failed = lapack.dpotri(factor[0], lower=1)
    if failed:
        raise np.linalg.LinAlgError("a covariance that is not positive definite")
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T)
