"""The same convolution timed by asv, pyperf and torch.utils.benchmark, in the environment of convbench's workers.

Each in processes of its own, on one thread: torch's conv2d on random data. Seconds per call.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem

_SETUP = """
import json, os, sys
import torch
from torch.nn.functional import conv2d
torch.set_num_threads(1)
p = json.loads(os.environ["CONV"])
x, w = torch.randn(p["x"]), torch.randn(p["w"])
def call():
    return conv2d(x, w, None, p["stride"], p["padding"])
"""
_TORCH = """
import json, sys
import torch
from torch.nn.functional import conv2d
from torch.utils.benchmark import Timer
torch.set_num_threads(1)
for line in sys.stdin:
    p = json.loads(line)
    x, w = torch.randn(p["x"]), torch.randn(p["w"])
    names = {"conv2d": conv2d, "x": x, "w": w, "s": p["stride"], "p": p["padding"]}
    found = Timer("conv2d(x, w, None, s, p)", globals=names, num_threads=1).blocked_autorange(min_run_time=p["seconds"])
    print(found.median, flush=True)
"""
_BY_TURNS = (
    _SETUP
    + """
import contextlib, io, random
import pyperf
from torch.utils.benchmark import Timer
from convbench.measurement.sampling.sample import calibrate, take_sample, warm_up
nothing = lambda: None
plan = calibrate(warm_up(call, nothing, 0.1), 0.005)
timer = Timer("call()", globals={"call": call}, num_threads=1)
sys.argv = sys.argv[:1]
def by_convbench(number):
    return take_sample(call, nothing, plan)[0].wall_s
def by_torch(number):
    return timer.timeit(plan.calls).times[0]
runner = pyperf.Runner()
runner.parse_args(["--worker", f"--loops={plan.calls}", "--values=1", "--warmups=1", "--quiet"])
def by_pyperf(number):
    with contextlib.redirect_stdout(io.StringIO()):
        return runner.bench_func(str(number), call).get_values()[0]
timers = {"convbench": by_convbench, "torch": by_torch, "pyperf": by_pyperf}
rounds = []
for number in range(int(os.environ["ROUNDS"])):
    order = random.sample(sorted(timers), len(timers))
    rounds.append({name: timers[name](number) for name in order})
print(json.dumps(rounds))
"""
)
_PYPERF = _SETUP + "import pyperf\nrunner = pyperf.Runner()\nrunner.bench_func('conv', call)\n"
_ASV = _SETUP + "def time_conv():\n    call()\n"


def _asked(problem: ConvProblem) -> dict[str, Any]:
    padding = [side[0] for side in problem.padding]
    return {"x": problem.input_shape, "w": problem.weight_shape, "stride": problem.stride, "padding": padding}


def _environment(problem: ConvProblem) -> dict[str, str]:
    return worker_environment(1, "steady") | {"CONV": json.dumps(_asked(problem))}


class TorchTimer:
    """torch.utils.benchmark's blocked_autorange, in one process for all problems, which ends when its input does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TORCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(1, "steady"),
        )

    def median_s(self, problem: ConvProblem, seconds: float) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(_asked(problem) | {"seconds": seconds}) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def by_turns_s(problem: ConvProblem, rounds: int) -> list[dict[str, float]]:
    """One and the same callable in one process, timed by convbench's samples, torch's timer and pyperf's loop by turns,
    as many calls each, in an order that is drawn anew each round: seconds per call by timer, round by round."""
    environment = _environment(problem) | {"ROUNDS": str(rounds)}
    run = subprocess.run([sys.executable, "-c", _BY_TURNS], env=environment, check=True, capture_output=True, text=True)
    return list(json.loads(run.stdout))


def pyperf_samples_s(problem: ConvProblem, *options: str) -> list[float]:
    """The values of one run of pyperf, by default as it comes: 20 processes of 3 values each."""
    import pyperf

    environment = _environment(problem)
    names = [name for name, value in environment.items() if os.environ.get(name) != value]
    with tempfile.TemporaryDirectory() as folder:
        script, result = Path(folder) / "conv.py", Path(folder) / "result.json"
        script.write_text(_PYPERF)
        words = [sys.executable, script, "-o", result, "--inherit-environ", ",".join(names), *options]
        subprocess.run(words, env=environment, check=True, capture_output=True)
        return list(pyperf.Benchmark.load(str(result)).get_values())


def asv_results(problem: ConvProblem) -> tuple[float, list[float], list[float]]:
    """What one `asv run` stores: the median, its 99 % interval, and the samples."""
    with tempfile.TemporaryDirectory() as folder:
        environment = _environment(problem) | {"HOME": folder}  # where asv notes the machine
        place = Path(folder)
        (place / "benchmarks").mkdir()
        (place / "benchmarks" / "__init__.py").write_text("")
        (place / "benchmarks" / "conv.py").write_text(_ASV)
        conf = {
            "version": 1,
            "results_dir": ".asv/results",
            "environment_type": "existing",
            "project": "conv",
            "project_url": ".",
            "repo": ".",
            "branches": ["main"],
        }
        (place / "asv.conf.json").write_text(json.dumps(conf | {"benchmark_dir": "benchmarks"}))
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        for words in (["init", "-q", "-b", "main"], ["add", "."], [*author, "commit", "-q", "-m", "one"]):
            subprocess.run(["git", *words], cwd=place, check=True, capture_output=True)
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=place, check=True, capture_output=True, text=True)
        machine = ["--machine", "here"]
        subprocess.run(
            [sys.executable, "-m", "asv", "machine", "--yes", *machine], cwd=place, env=environment, check=True,
            capture_output=True,
        )  # fmt: skip
        words = ["run", "-E", f"existing:{sys.executable}", "--set-commit-hash", commit.stdout.strip(), *machine]
        words += ["--record-samples"]
        subprocess.run(
            [sys.executable, "-m", "asv", *words], cwd=place, env=environment, check=True, capture_output=True
        )
        (stored,) = (path for path in (place / ".asv" / "results" / "here").glob("*.json") if "-" in path.name)
        found = json.loads(stored.read_text())
        row = dict(zip(found["result_columns"], found["results"]["conv.time_conv"], strict=False))
        low, high = row["stats_ci_99_a"][0], row["stats_ci_99_b"][0]
        return row["result"][0], [low, high], row["samples"][0]
