"""What earlier layers say of a backend on the next: how near the fastest it should be, and whether to ask it at all.

A backend that was far behind on layers like this one need not be asked; one that takes long to make ready, as compilers
do, is not asked either where it is hardly the fastest by all layers of the kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, median, stdev

from convbench.measurement.scheduling.layer_similarity import log_ratio_tolerance
from convbench.problem import ConvProblem

Times = Mapping[ConvProblem, Mapping[str, tuple[float, float]]]
"""From how many to how many seconds a call takes, by problem and backend."""

_BEHIND, _FEWEST_ALIKE = 1.35, 2
_FAR_BEHIND_ON_ONE = 3.0
_MOST_OVERHEAD_S = 0.002  # of a call, besides what it computes; handing it to another thread took 0.2 ms
_DEAR_S = 0.1  # to make ready and call for the first time: longer than all of the race takes for most
_FEWEST_IF_DEAR, _WAGER, _LEAST_SPREAD = 4, 0.1, 0.05  # layers; the chance of losing the fastest; of the logarithms


class LayerHistory:
    """The times of backends on layers so far, of one machine and one kind of settings; `known` are from before."""

    def __init__(self, known: Times | None = None) -> None:
        self._times = {problem: dict(found) for problem, found in (known or {}).items()}
        self._ready_s: dict[str, list[float]] = {}

    def note_ready(self, backend: str, seconds: float) -> None:
        """It took so long to make ready on a layer and call for the first time."""
        self._ready_s.setdefault(backend, []).append(seconds)

    def note_call(self, backend: str, problem: ConvProblem, low_s: float, high_s: float) -> None:
        """A call of it takes between these times."""
        self._times.setdefault(problem, {})[backend] = low_s, high_s

    def skip_reason(self, backend: str, problem: ConvProblem) -> str | None:
        """Why `backend` need not be asked on `problem`; None when it has to be."""
        return why_left_out(self._behind(backend, problem)) or self._why_too_dear(backend, problem)

    def expected(self, backend: str, problem: ConvProblem) -> float:
        """The logarithm of the ratio to the fastest other one, as on the problem that is likest; endless if on none."""
        found = [
            (log_ratio_tolerance(known, problem), _log_ratio(backend, times)) for known, times in self._of(backend)
        ]
        unlike, log = min(found, default=(math.inf, math.inf))
        return log if unlike < math.inf else math.inf

    def _of(self, backend: str) -> list[tuple[ConvProblem, Mapping[str, tuple[float, float]]]]:
        """The problems that the backend and another are timed on, with all times."""
        return [(known, times) for known, times in self._times.items() if backend in times and len(times) > 1]

    def _behind(self, backend: str, problem: ConvProblem) -> list[tuple[float, float]]:
        """Of each problem that the backend is timed on: its log_ratio_tolerance, and the logarithm of the ratio to the fastest, as
        small as it may be: on a busy machine hardly anything is known to be far behind. On less work than `problem` is
        the ratio may be one of what calls cost that compute nothing: all of the backend's least time may be that, if it
        is not too much for it."""
        found = []
        least_s = min((times[backend][0] for times in self._times.values() if backend in times), default=0.0)
        least_s = min(least_s, _MOST_OVERHEAD_S)
        for known, times in self._of(backend):
            if (unlike := log_ratio_tolerance(known, problem)) < math.inf:
                own_s, fastest_s = times[backend][0], min(high for _, high in times.values())
                own_s -= least_s if known.flops < problem.flops else 0.0
                found.append((unlike, math.log(own_s / fastest_s) if own_s > 0 else -math.inf))
        return found

    def _why_too_dear(self, backend: str, problem: ConvProblem) -> str | None:
        """Why a backend that takes long to make ready is not worth it here: by the layers of the kind, however unlike
        these are, it is hardly the fastest. The logarithms of its ratios to the fastest other one are taken as normal,
        and the next as one more of them (Student's prediction interval)."""
        ready_s = median(self._ready_s.get(backend, [0.0]))
        logs = [_log_ratio(backend, times) for known, times in self._of(backend) if known.kind == problem.kind]
        if ready_s < _DEAR_S or len(logs) < _FEWEST_IF_DEAR:
            return None
        from scipy.special import stdtrit

        quantile = float(stdtrit(len(logs) - 1, 1 - _WAGER))
        if fmean(logs) <= quantile * max(stdev(logs), _LEAST_SPREAD) * math.sqrt(1 + 1 / len(logs)):
            return None
        return (
            f"takes {ready_s:.1f} s to make ready, and on {len(logs)} layers of the kind took "
            f"{math.exp(fmean(logs)):.2g} times as long as the fastest, about"
        )


def why_left_out(behind: Iterable[tuple[float, float]]) -> str | None:
    """Why a backend need not be asked, by its (log_ratio_tolerance, logarithm of the ratio to the fastest) on other problems; None
    when it has to be: it was near the fastest on the likest of them, or too little is known."""
    known = sorted(behind)
    alike = [(log, log - unlike) for unlike, log in known if log - unlike >= math.log(_BEHIND)]
    if not alike or known[0][1] < math.log(_BEHIND):
        return None
    if len(alike) < _FEWEST_ALIKE and alike[0][1] < math.log(_FAR_BEHIND_ON_ONE):
        return None
    least, several = math.exp(min(log for log, _ in alike)), len(alike)
    if several == 1:
        return f"took {least:.1f} times as long as the fastest on a layer like it"
    return f"took {least:.1f} times as long as the fastest, or more, on {several} layers like it"


def _log_ratio(backend: str, times: Mapping[str, tuple[float, float]]) -> float:
    """Of the backend's time to that of the fastest other one, by the middles of their intervals."""
    fastest_s = min(_middle(found) for name, found in times.items() if name != backend)
    return math.log(_middle(times[backend]) / fastest_s)


def _middle(interval: tuple[float, float]) -> float:
    """Of the least and the most seconds that a call may take, which may be endless."""
    low_s, high_s = interval
    return math.sqrt(low_s * high_s) if high_s < math.inf else low_s
