"""Which results are right for exact int32 sums: the one that one rounding gives, and what the declared arithmetic may
give instead.

With v = sum * x_scale * w_scale[o] / y_scale, a rational number, the right result is v rounded to an integer, plus the
zero point, clamped. v is computed in float64, within 2^-50 of its size; where that leaves open on which side of a half
it is, it is computed again as a fraction. A backend's arithmetic may have an error e, and so have rounded any number
of [v - e, v + e]. For float32 (u = 2^-24) and float64 (u = 2^-53)

    e = 6 u (|v| + 2 |b| m + |y_zero|),     m = x_scale * w_scale[o] / y_scale

for the sum, the two operations of the multiplier, their product, and the sums with a bias and a zero point, each
rounded once, to first order. Where all scales are powers of two, and no number in between has more than the format's
digits, no operation rounds, and e is 0. gemmlowp's fixed point rounds the multiplier to 31 bits, the product at the
multiplier's exponent, and once more: e = 2^-29 |v| + min(m, 1/2).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from convbench.backend.quantized import Halves, QuantizedArithmetic
from convbench.problem import Quantization, Scales
from convbench.problem.quantization import LIMITS

_ROUNDINGS = 6
_OWN_ERROR = 2.0**-50  # of v in float64, relative
_UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
_LARGEST_EXACT = {"float32": 2**24, "float64": 2**53}
_FIXED_POINT = 2.0**-29

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Admitted:
    """The right results, and the least and the largest that will do instead: arrays of integers in float64."""

    right: Floats
    least: Floats
    largest: Floats


@dataclass(frozen=True, eq=False)
class Requantization:
    """From sums to results of 8 bits. `sums` (N, O, h, w) are exact integers in float64, `bias` (O,) is the part of
    them that some backends scale and add by itself; zeros without one."""

    quantization: Quantization
    scales: Scales
    sums: Floats
    bias: Floats

    @cached_property
    def multiplier(self) -> Floats:
        """m for each channel, (O or 1, 1, 1)."""
        w_scale = self.scales.w_scale.astype(np.float64)
        return np.asarray(self.scales.x_scale * w_scale / self.scales.y_scale).reshape(-1, 1, 1)

    @cached_property
    def real(self) -> Floats:
        """v, within 2^-50 of its size."""
        return np.asarray(self.sums * self.multiplier)

    def admitted(self, arithmetic: QuantizedArithmetic, slack: Floats | float = 0.0) -> Admitted:
        """The results for a backend of this arithmetic, whose sums may be off by `slack`."""
        rounded, doubtful = self._rounded(arithmetic.halves)
        low, high = LIMITS[self.quantization.result]
        ends = low + (arithmetic.symmetric and low < 0), high
        right = self._clamped(rounded, ends)
        error = self._error(arithmetic) + slack * self.multiplier
        wide = error > 0
        reach = np.where(wide, error + _OWN_ERROR * np.abs(self.real), 0.0)
        least = np.where(wide, np.ceil(self.real - reach - 0.5), rounded)
        largest = np.where(wide, np.floor(self.real + reach + 0.5), rounded)
        if arithmetic.halves == "any":
            least, largest = np.where(doubtful == 0, rounded - 1, least), np.where(doubtful == 0, rounded, largest)
        least, largest = (self._clamped(each, ends) for each in (least, largest))
        return Admitted(right, np.minimum(right, least), np.maximum(right, largest))

    def _clamped(self, rounded: Floats, ends: tuple[int, int]) -> Floats:
        return np.asarray(np.clip(rounded + self.scales.y_zero, *ends))

    def _rounded(self, halves: Halves) -> tuple[Floats, Floats]:
        """v rounded to the nearest integer, and its side of the next half: 0 where it is one exactly, else not 0."""
        below = np.floor(self.real)
        side = self.real - below - 0.5
        for place in zip(*np.nonzero(np.abs(side) <= _OWN_ERROR * (1 + np.abs(self.real))), strict=True):
            exact = self._fraction(place)
            below[place] = exact.__floor__()
            remainder = exact - exact.__floor__() - Fraction(1, 2)
            side[place] = (remainder > 0) - (remainder < 0)
        return below + np.where(side == 0, self._goes_up(below, halves), side > 0), side

    def _fraction(self, place: tuple[int, ...]) -> Fraction:
        """v of one element, exactly."""
        w_scale = self.scales.w_scale
        numbers = float(self.sums[place]), self.scales.x_scale, float(w_scale[place[1] % len(w_scale)])
        return Fraction(numbers[0]) * Fraction(numbers[1]) * Fraction(numbers[2]) / Fraction(self.scales.y_scale)

    def _goes_up(self, below: Floats, halves: Halves) -> NDArray[np.bool_]:
        """Whether a half above `below` goes up."""
        if halves in ("even", "even-with-zero-point"):
            zero = self.scales.y_zero if halves == "even-with-zero-point" else 0
            return np.asarray((below + zero) % 2 != 0)
        return below >= 0 if halves == "away" else np.ones(below.shape, bool)

    def _error(self, arithmetic: QuantizedArithmetic) -> Floats:
        if arithmetic.multiplier == "exact":
            return np.zeros(self.sums.shape)
        if arithmetic.multiplier == "fixed":
            return np.asarray(_FIXED_POINT * np.abs(self.real) + np.minimum(self.multiplier, 0.5))
        bias = np.abs(self.bias).reshape(-1, 1, 1)
        size = np.abs(self.real) + 2 * bias * self.multiplier + abs(self.scales.y_zero)
        error = _ROUNDINGS * _UNIT[arithmetic.multiplier] * size
        return np.where(self._is_exact(arithmetic.multiplier), 0.0, error)

    def _is_exact(self, word: str) -> NDArray[np.bool_]:
        """Where no operation in this format rounds: all scales are powers of two, and every number, in units of the
        last bit of v, has few enough digits."""
        unit = np.maximum(1.0, 1 / self.multiplier)  # how many of these make 1
        size = np.abs(self.sums) + 2 * np.abs(self.bias).reshape(-1, 1, 1) + (abs(self.scales.y_zero) + 1) * unit
        return np.asarray(self.scales_are_powers_of_two & (size <= _LARGEST_EXACT[word]))

    @cached_property
    def scales_are_powers_of_two(self) -> NDArray[np.bool_]:
        """For each channel, (O or 1, 1, 1): whether all of its scales are."""
        of_weights = np.isin(np.frexp(self.scales.w_scale)[0], 0.5).reshape(-1, 1, 1)
        others = (self.scales.x_scale, self.scales.y_scale)
        return np.asarray(of_weights & all(np.frexp(scale)[0] == 0.5 for scale in others))
