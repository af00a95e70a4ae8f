"""asv's view of the suites: `asv run` measures them by the same engine and under the same names as `convbench run`.

The zoo's are left out: with thousands of cases they are no benchmarks to run for each commit.

One class per suite, made from its file; its benchmarks are the metrics, its parameters the backends that come with
convbench and the suite's cases. The first benchmark of a class runs the suite, once, and the rest read what it found.

    asv run --set-commit-hash HEAD -b Sizes
    CONVBENCH_BACKENDS='torch* numba-direct' asv run --set-commit-hash HEAD -b Smoke.track_time
"""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convbench.registry import discover
from convbench.store.asv.files import METRICS, Metric, benchmark_version, class_name
from convbench.suite import Suite, builtin_outlines, load_suite

_BACKENDS = [e.name for e in discover(entry_points=False)]
_SECONDS_AT_MOST = 3600


def setup_cache() -> str:
    """The folder that asv runs all benchmarks of one environment and commit in; suites leave their records there."""
    return str(Path.cwd())


setup_cache.timeout = _SECONDS_AT_MOST  # type: ignore[attr-defined]


def _records(folder: Path, suite: str) -> dict[str, Any]:
    """The suite's records by `backend case`, measured now if they are not in `folder` yet."""
    kept = folder / f"{suite}.json"
    if not kept.exists():
        # Warm, as all history under these names is; `convbench run` stores times as in a pass under others.
        words = ["run", "--suite", suite, "--cache", "warm", "--json", "--no-asv", "--results", str(folder)]
        words += [word for name in os.environ.get("CONVBENCH_BACKENDS", "").split() for word in ("--backend", name)]
        # Exit code 1 or 3 is an answer, too: what is wrong or missing stands in the records.
        ran = subprocess.run([sys.executable, "-m", "convbench", *words], capture_output=True, text=True, check=False)
        records = [json.loads(line) for line in ran.stdout.splitlines()]
        if not records:
            raise RuntimeError(f"convbench {' '.join(words)} left with {ran.returncode}: {ran.stderr[-2000:]}")
        kept.write_text(json.dumps({f"{r['backend']} {r['case']}": r for r in records}))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def _tracker(suite: Suite, metric: Metric) -> Callable[..., Any]:
    def track(self: Any, folder: str, backend: str, case: str) -> Any:
        record = _records(Path(folder), suite.name).get(f"{backend} {case}")
        return math.nan if record is None else metric.value(record)

    track.type, track.unit = metric.type, metric.unit  # type: ignore[attr-defined]
    track.pretty_name = f"{suite.name}: {metric.name.replace('_', ' ')}"  # type: ignore[attr-defined]
    return track


def _tracked(suite: Suite) -> type:
    attributes: dict[str, Any] = {
        "__doc__": suite.summary,
        "__module__": __name__,
        "params": [_BACKENDS, [case.name for case in suite.cases]],
        "param_names": ["backend", "case"],
        "version": benchmark_version(suite.name),
        "timeout": _SECONDS_AT_MOST,
    }
    attributes |= {f"track_{metric.name}": _tracker(suite, metric) for metric in METRICS}
    return type(class_name(suite.name), (), attributes)


_SUITES = [load_suite(outline.path) for outline in builtin_outlines() if "zoo" not in outline.tags]
globals().update({class_name(suite.name): _tracked(suite) for suite in _SUITES})


def time_sentinel_matmul() -> None:
    """Timed by asv itself: where this steps, the machine did, and no backend."""
    _matrix() @ _matrix()


@functools.cache
def _matrix() -> Any:
    import numpy as np

    return np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
