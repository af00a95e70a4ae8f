"""What earlier layers say about a backend on the next: how close to the fastest it should be, and whether to skip it.

A backend that was far behind on layers like this one is skipped. One that takes long to prepare, as compilers do, is
also skipped if all layers of the kind suggest that it is hardly ever the fastest.
A backend that is far behind on one layer is likely to be behind on the next, but certainly not on all: FFT loses on 3x3
and wins on 31x31, and a library may have a fast kernel for one size and stride, or for channels that fill its vectors,
and a plain loop for the rest. `log_ratio_tolerance` bounds how far the ratio of two backends may move from one problem
to another. It is generous on purpose: too large a tolerance costs time, too small a one leaves out a backend that might
have won. Torch took 73 times as long as the fastest on a depthwise 1x1 kernel and was the fastest on 7x7 ones; ncnn
took 5 times as long with 147 channels, and was the fastest with 624.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean, median, stdev

from convbench.problem import ConvProblem

Interval = tuple[float, float]  # the least and the most seconds that a call may take; the most may be infinite
Times = Mapping[ConvProblem, Mapping[str, Interval]]  # times by problem and backend

_BEHIND, _FEWEST_ALIKE = 1.35, 2
_FAR_BEHIND_ON_ONE = 3.0
_MOST_OVERHEAD_S = 0.002  # per call, besides what it computes; handing it to another thread took 0.2 ms
_SLOW_TO_PREPARE_S = 0.1  # with the first call: longer than the whole race takes for most
# Layers needed to skip a backend that prepares slowly, the chance of losing the fastest, and the least spread of the
# logarithms.
_FEWEST_IF_SLOW, _RISK, _LEAST_SPREAD = 4, 0.1, 0.05


class LayerHistory:
    """The times of backends on layers so far, on one machine with one kind of settings; `known` are from before."""

    def __init__(self, known: Times | None = None) -> None:
        self._times = {problem: dict(times) for problem, times in (known or {}).items()}
        self._prepare_s: dict[str, list[float]] = {}

    def note_prepare(self, backend: str, seconds: float) -> None:
        self._prepare_s.setdefault(backend, []).append(seconds)

    def note_call(self, backend: str, problem: ConvProblem, low_s: float, high_s: float) -> None:
        self._times.setdefault(problem, {})[backend] = low_s, high_s

    def skip_reason(self, backend: str, problem: ConvProblem) -> str | None:
        """Why `backend` can be skipped on `problem`; None when it cannot."""
        return skip_reason(self._behind(backend, problem)) or self._slow_to_prepare(backend, problem)

    def expected_log_ratio(self, backend: str, problem: ConvProblem) -> float:
        """The logarithm of its ratio to the fastest other backend on the most similar problem; infinite without any."""
        ratios = [
            (log_ratio_tolerance(known, problem), _log_ratio(backend, times)) for known, times in self._of(backend)
        ]
        tolerance, log_ratio = min(ratios, default=(math.inf, math.inf))
        return log_ratio if tolerance < math.inf else math.inf

    def _of(self, backend: str) -> list[tuple[ConvProblem, Mapping[str, Interval]]]:
        """The problems on which this backend and another are timed, with all times."""
        return [(known, times) for known, times in self._times.items() if backend in times and len(times) > 1]

    def _behind(self, backend: str, problem: ConvProblem) -> list[tuple[float, float]]:
        """For each problem that the backend is timed on: its `log_ratio_tolerance`, and the least that the logarithm of
        the ratio to the fastest may be. It is the least because on a busy machine hardly anything is known to be far
        behind. On problems with less work than `problem`, the ratio may come from the fixed cost of a call: all of the
        backend's shortest time may be that, up to `_MOST_OVERHEAD_S`."""
        overhead_s = min((times[backend][0] for times in self._times.values() if backend in times), default=0.0)
        overhead_s = min(overhead_s, _MOST_OVERHEAD_S)
        behind = []
        for known, times in self._of(backend):
            if (tolerance := log_ratio_tolerance(known, problem)) < math.inf:
                own_s, fastest_s = times[backend][0], min(high_s for _, high_s in times.values())
                own_s -= overhead_s if known.flops < problem.flops else 0.0
                behind.append((tolerance, math.log(own_s / fastest_s) if own_s > 0 else -math.inf))
        return behind

    def _slow_to_prepare(self, backend: str, problem: ConvProblem) -> str | None:
        """Why a backend that is slow to prepare is not worth it: on the layers of the kind, however different in size,
        it is hardly ever the fastest. The logarithms of its ratios to the fastest other backend are taken as normal,
        and the next as one more of them (Student's prediction interval)."""
        prepare_s = median(self._prepare_s.get(backend, [0.0]))
        logs = [_log_ratio(backend, times) for known, times in self._of(backend) if known.kind == problem.kind]
        if prepare_s < _SLOW_TO_PREPARE_S or len(logs) < _FEWEST_IF_SLOW:
            return None
        from scipy.special import stdtrit

        quantile = float(stdtrit(len(logs) - 1, 1 - _RISK))
        if fmean(logs) <= quantile * max(stdev(logs), _LEAST_SPREAD) * math.sqrt(1 + 1 / len(logs)):
            return None
        return (
            f"takes {prepare_s:.1f} s to prepare, and on {len(logs)} layers of this kind took about "
            f"{math.exp(fmean(logs)):.2g} times as long as the fastest"
        )


def skip_reason(behind: Iterable[tuple[float, float]]) -> str | None:
    """Why a backend can be skipped, from its (tolerance, logarithm of the ratio to the fastest) on other problems. None
    when it cannot: it was close to the fastest on the most similar problem, or too little is known."""
    known = sorted(behind)
    alike = [(log, log - tolerance) for tolerance, log in known if log - tolerance >= math.log(_BEHIND)]
    if not alike or known[0][1] < math.log(_BEHIND):
        return None
    if len(alike) < _FEWEST_ALIKE and alike[0][1] < math.log(_FAR_BEHIND_ON_ONE):
        return None
    least = math.exp(min(log for log, _ in alike))
    if len(alike) == 1:
        return f"took {least:.1f} times as long as the fastest on a similar layer"
    return f"took at least {least:.1f} times as long as the fastest on {len(alike)} similar layers"


def _log_ratio(backend: str, times: Mapping[str, Interval]) -> float:
    """Of the backend's time to that of the fastest other backend, from the middles of their intervals."""
    fastest_s = min(_middle(interval) for name, interval in times.items() if name != backend)
    return math.log(_middle(times[backend]) / fastest_s)


def _middle(interval: Interval) -> float:
    low_s, high_s = interval
    return math.sqrt(low_s * high_s) if high_s < math.inf else low_s


_PER_OCTAVE_OF_KERNEL_AREA = 0.5
_PER_OCTAVE = 0.06  # of channels, of pixels, of images
_PER_OCTAVE_OF_ALIGNMENT = 0.3
_VECTOR = 16  # channels: loops over 4, 8 or 16 at a time handle a remainder badly
_PER_DIFFERENCE = {
    "kind": 1.5,  # pointwise, depthwise, grouped, dense: other algorithms
    "kernel_size": 1.2,  # libraries have special code for each common size
    "stride": 1.2,
    "dilation": 1.2,
    "padding_mode": 1.0,
}


def log_ratio_tolerance(known: ConvProblem, problem: ConvProblem) -> float:
    """How much the logarithm of two backends' ratio may differ; infinite across dtypes and directions."""
    if known.dtype != problem.dtype or known.direction != problem.direction:
        return math.inf

    def octaves(size: Callable[[ConvProblem], float]) -> float:
        return abs(math.log2(size(known) / size(problem)))

    sizes = octaves(lambda p: p.in_channels / p.groups) + octaves(lambda p: p.out_channels)
    sizes += octaves(lambda p: p.out_height * p.out_width) + octaves(lambda p: p.batch)
    area = octaves(lambda p: math.prod(p.kernel_size))
    alignments = (
        octaves(lambda p: math.gcd(p.in_channels, _VECTOR)),
        octaves(lambda p: math.gcd(p.out_channels, _VECTOR)),
    )
    # A depthwise layer has as many output channels as input channels, or a whole multiple.
    misaligned = max(alignments) if known.kind == problem.kind == "depthwise" else sum(alignments)
    differences = sum(n for name, n in _PER_DIFFERENCE.items() if getattr(known, name) != getattr(problem, name))
    return _PER_OCTAVE * sizes + _PER_OCTAVE_OF_KERNEL_AREA * area + _PER_OCTAVE_OF_ALIGNMENT * misaligned + differences
