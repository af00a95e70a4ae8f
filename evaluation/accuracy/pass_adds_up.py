"""Do the layers of a model add up to the model? Sums over layers, timed warm, cold and as in a pass, against the time
that the convolutions take inside real passes of torchvision's models.

In one process and by turns: passes of the whole model, in which each convolution is timed (torch: around each `Conv2d`;
onnxruntime: by its own profiler), and each layer by itself in the three states, by convbench's backend and what its
workers do between calls. Before a pass the image is written, as a program does that has just made it. With onnxruntime
the sums are of its kernels for Conv in both: conversions of layouts lie between the layers there. In a model it
computes activations and sums of branches within these kernels, so its layers are the deployed ones, which have these as
an epilogue; onnxruntime-basic fuses nothing but batch norms, as a bias that its layers have as well. The steady
allocator and one thread, as in a worker.

Printed for each model and engine: the sums over the convolutions inside passes, with the 95 % interval of the median
over rounds. Then, for each model, what choosing an engine by the times of each state costs, by the times inside real
passes: one engine for the whole model, and one for each layer (of those of torch, which tell each layer's time in a
pass). With --layers also each layer in milliseconds: in passes (torch only), as in a pass, warm and cold.

    python evaluation/accuracy/pass_adds_up.py [--model NAME ...] [--engine NAME ...] [--rounds 12] [--layers]

Needs torchvision; with onnxruntime and onnx installed, both engines. Some 9 minutes with all models, engines and
12 rounds; 6 rounds take half. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import io
import itertools
import json
import math
import os
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from convbench.backend import Backend, Ready
from convbench.extraction.extract import layers_of
from convbench.extraction.torchvision_operators import compiled_operators
from convbench.measurement.machine.affinity import cores_here, move_here
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.sampling.cache_state import CacheState
from convbench.measurement.sampling.sample import SamplingPlan, take_apart, take_sample
from convbench.measurement.scheduling.case_run import flush_bytes
from convbench.measurement.settings import Settings
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.stats.estimates import Estimate, estimate_median
from convbench.suite import Case, Suite
from convbench.verification.operands import normal_operands

MODELS = ("resnet50", "mobilenet_v2", "densenet121", "efficientnet_b0")
STATES = ("pass", "warm", "cold")
BASIC = "onnxruntime-basic"
_WARM_S, _WARM_CALLS = 0.03, 4
_APART = {"pass": SamplingPlan(3, 1), "cold": SamplingPlan(2, 0)}
_PASSES = SamplingPlan(3, 1)


class Engine:
    """A model, and its layers, in one engine. Methods return seconds of convolutions."""

    name: str
    backend_name: str

    deployed: bool = False
    """Whether its layers have what the engine computes within a convolution's kernel."""

    def pass_s(self) -> list[float]:
        """The seconds that each convolution of one pass of the model takes."""
        raise NotImplementedError

    def order(self) -> list[str]:
        """The case id of each convolution of a pass; empty where it is not known."""
        return []

    def seconds(self, case: Case, ready: Ready, state: str, before_call: Callable[[], None] | None) -> list[float]:
        """The seconds of a few calls of one layer in a state of caches."""
        return timed(ready, state, before_call)

    def finish(self, rounds: list[Round]) -> None:
        """Fill in the times that are only known at the end."""


@dataclass
class Round:
    """Seconds of the convolutions inside passes, and of each layer's calls by state."""

    passes: list[list[float]] = field(default_factory=list)
    layers: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {state: {} for state in STATES})

    def of_layer_s(self, places: Sequence[int]) -> float:
        """A layer inside passes, which are its calls at these `places`."""
        return fmean(median(taken[place] for taken in self.passes) for place in places)

    def inside_s(self) -> float:
        """By the medians of each convolution, as for the layers, so that an interruption of one does not count."""
        return sum(map(median, zip(*self.passes, strict=True)))

    def total_s(self, state: str, cases: Sequence[Case]) -> float:
        return sum(case.count * median(self.layers[state][case.name]) for case in cases)


def timed(ready: Ready, state: str, before_call: Callable[[], None] | None) -> list[float]:
    if before_call is not None:
        plan = _APART[state]
        return list(take_apart(ready.run, ready.sync, plan, before_call)[1][plan.discarded :])
    start, calls = time.perf_counter(), 0
    while calls < 5 or (time.perf_counter() - start < _WARM_S and calls < 40):
        ready.run()
        calls += 1
    return [take_sample(ready.run, ready.sync, SamplingPlan(1, 0))[0].wall_s for _ in range(_WARM_CALLS)]


class Torch(Engine):
    """A torch module in eval mode. Each Conv2d is timed around its computation, as `take_apart` times a call."""

    def __init__(self, module: Any, channels_last: bool, image: Any) -> None:
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.name = self.backend_name = "torch-channels-last" if channels_last else "torch"
        self.module, self.image = module.to(memory_format=layout), image.to(memory_format=layout)
        self.taken_s: list[float] = []
        self.shapes: list[tuple[Any, Any]] = []
        for part in self.module.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.forward = self._watched(part)

    def _watched(self, part: Any) -> Callable[[Any], Any]:
        from torch.nn.functional import conv2d

        w, b = part.weight, part.bias  # looking these up in a module takes a microsecond
        settings = part.stride, part.padding, part.dilation, part.groups

        def forward(x: Any) -> Any:
            start = time.perf_counter()
            y = conv2d(x, w, b, *settings)
            self.taken_s.append(time.perf_counter() - start)
            self.shapes.append((part, x.shape))
            return y

        return forward

    def pass_s(self) -> list[float]:
        import torch

        self.taken_s.clear()
        self.shapes.clear()
        with torch.no_grad():
            self.image.copy_(self.image.clone())
            self.module(self.image)
        return list(self.taken_s)

    def order(self) -> list[str]:
        return [problem_of(part, shape).case_id for part, shape in self.shapes]


def problem_of(part: Any, shape: Sequence[int]) -> ConvProblem:
    """What a Conv2d computes of an input of this shape."""
    batch, in_channels, height, width = shape
    return ConvProblem(
        batch=batch,
        in_channels=in_channels,
        height=height,
        width=width,
        out_channels=part.out_channels,
        kernel_size=part.kernel_size,
        stride=part.stride,
        padding=part.padding,
        dilation=part.dilation,
        groups=part.groups,
        bias=part.bias is not None,
    )


class OnnxRuntime(Engine):
    """The same module exported to ONNX. Its profiler times the kernels, in the model and in the sessions of layers,
    which it writes to files at the end; until then a time is its place in the profile."""

    backend_name = "onnxruntime"

    def __init__(self, name: str, module: Any, image: Any) -> None:
        import onnxruntime
        import torch

        self.name = name
        self.deployed = name != BASIC
        buffer = io.BytesIO()
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(module, (image,), buffer, dynamo=False, opset_version=17)
        self.folder = tempfile.TemporaryDirectory(prefix="convbench-")
        self.sessions: list[Any] = []
        self._profile_every_session(onnxruntime)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(buffer.getvalue(), options, ["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: image.numpy()}
        self.runs: Counter[Any] = Counter()

    def _profile_every_session(self, onnxruntime: Any) -> None:
        self.restore = partial(setattr, onnxruntime, "InferenceSession", onnxruntime.InferenceSession)
        original = onnxruntime.InferenceSession

        def profiled(model: bytes, options: Any, providers: Sequence[str]) -> Any:
            options.enable_profiling = True
            if self.name == BASIC:
                options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            options.profile_file_prefix = str(Path(self.folder.name) / f"{len(self.sessions)}")
            self.sessions.append(original(model, options, providers))
            return self.sessions[-1]

        onnxruntime.InferenceSession = profiled

    def pass_s(self) -> list[float]:
        for array in self.feed.values():
            array[...] = array.copy()
        self.session.run(None, self.feed)
        return [self._next_run(self.session)]

    def seconds(self, case: Case, ready: Ready, state: str, before_call: Callable[[], None] | None) -> list[float]:
        session = self.of_layer[case.name]
        counted = replace(ready, run=lambda: (ready.run(), self._next_run(session)))
        calls = len(timed(counted, state, before_call))
        return [float(self.runs[session] - calls + index) for index in range(calls)]

    def _next_run(self, session: Any) -> float:
        self.runs[session] += 1
        return self.runs[session] - 1.0

    def made(self, ready: dict[str, Ready]) -> None:
        """The layers' sessions, in the order in which they were prepared; the first two are the model and no others."""
        self.of_layer = dict(zip(ready, self.sessions[1:], strict=True))

    def finish(self, rounds: list[Round]) -> None:
        self.restore()
        known = {session: _kernel_seconds(Path(session.end_profiling())) for session in self.sessions}
        for each in rounds:
            each.passes = [known[self.session][int(place)] for (place,) in each.passes]
            for layers in each.layers.values():
                for name, places in layers.items():
                    layers[name] = [math.fsum(known[self.of_layer[name]][int(place)]) for place in places]


def _kernel_seconds(profile: Path) -> list[list[float]]:
    """Seconds in each kernel of Conv, for each run of a session in turn. The profiler rounds down to microseconds."""
    runs: list[list[float]] = []
    current: list[float] = []
    events = json.loads(profile.read_text())
    for event in sorted((e for e in events if "dur" in e), key=lambda e: (e["ts"] + e["dur"], e["dur"])):
        if event["name"] == "model_run":
            runs.append(current)
            current = []
        elif event["name"].endswith("_kernel_time") and "Conv" in event["args"].get("op_name", ""):
            current.append((event["dur"] + 0.5) * 1e-6)
    return runs


def engines_of(names: Sequence[str], model: str) -> Iterator[Engine]:
    """The engines, each made when the one before it is done with."""
    import torch

    with compiled_operators():
        models = importlib.import_module("torchvision.models")
    for name in names:
        torch.manual_seed(0)
        module, image = models.get_model(model, weights=None).eval(), torch.rand(1, 3, 224, 224)
        is_torch = name.startswith("torch")
        yield Torch(module, name != "torch", image) if is_torch else OnnxRuntime(name, module, image)


def prepared(backend: Backend, suite: Suite, bias: bool) -> dict[str, Ready]:
    """The layers by the names of their cases, with a `bias` if they have one in the engine's model."""
    ready = {}
    for case in suite.cases:
        problem = case.problem.replace(bias=bias or case.problem.bias)
        ready[case.name] = normal_operands(problem, 0).prepared_by(backend, problem)
    return ready


def measured(engine: Engine, suite: Suite, rounds: int) -> list[Round]:
    backend = next(row.backend for row in discover() if row.name == engine.backend_name)
    backend.limit_threads(1)
    ready = prepared(backend, suite, bias=engine.name == BASIC)
    if isinstance(engine, OnnxRuntime):
        engine.made(ready)  # before others are
    caches = machine_facts()["caches_bytes"].values()
    passing = flush_bytes(Settings(cache="pass", pass_bytes=suite.pass_bytes), caches)
    emptying = flush_bytes(Settings(cache="cold"), caches)
    pass_buffers, cold_buffers = CacheState(), CacheState()
    before: dict[str, dict[str, Callable[[], None] | None]] = {"pass": {}, "cold": {}, "warm": {}}
    for case in suite.cases:
        x = np.empty(case.problem.input_shape, np.float32)
        own = ready[case.name]
        before["pass"][case.name] = pass_buffers.as_in_pass(backend, case.problem, own, x, passing)
        before["cold"][case.name] = cold_buffers.cold(emptying)
        before["warm"][case.name] = None
    order, done = random.Random(0), []
    for number in range(rounds + 1):
        current = Round()
        passes = [engine.pass_s() for _ in range(_PASSES.all_calls)]
        current.passes = passes[_PASSES.discarded :]
        for case in order.sample(suite.cases, len(suite.cases)):
            for state in order.sample(STATES, len(STATES)):
                seconds = engine.seconds(case, ready[case.name], state, before[state][case.name])
                current.layers[state][case.name] = seconds
        if number:  # the first round warms everything up
            done.append(current)
    engine.finish(done)
    return done


def ratios(rounds: Sequence[Round], cases: Sequence[Case], state: str) -> Estimate:
    return estimate_median([each.total_s(state, cases) / each.inside_s() for each in rounds])


def show_layers(rounds: Sequence[Round], cases: Sequence[Case], order: Sequence[str]) -> None:
    for case in cases:
        seconds = [median(median(each.layers[state][case.name]) for each in rounds) for state in STATES]
        if places := [place for place, case_id in enumerate(order) if case_id == case.problem.case_id]:
            seconds.insert(0, median(each.of_layer_s(places) for each in rounds))
        print(f"      {case.count} x {case.name:<34}" + "".join(f"{each_s * 1e3:9.3f}" for each_s in seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help=f"of torchvision (default: {' '.join(MODELS)})")
    parser.add_argument("--engine", action="append", choices=["torch", "torch-channels-last", "onnxruntime", BASIC])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--layers", action="store_true", help="print the times of each layer, too")
    arguments = parser.parse_args()
    environment = worker_environment(1, "steady")
    if os.environ.get("PASS_ADDS_UP") is None:  # the allocator's settings are read when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], environment | {"PASS_ADDS_UP": "1"})
    import torch

    torch.set_num_threads(1)
    start, facts = time.monotonic(), machine_facts()
    move_here(cores_here("auto", 1))
    names = arguments.engine or ["torch-channels-last", "torch"]
    if arguments.engine is None and importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        names += ["onnxruntime", BASIC]
    print(f"{facts['cpu']}, {facts['usable_cpus']} CPUs, one thread, {arguments.rounds} rounds; sums in ms")
    print(f"{'model':<16} {'engine':<20} {'in passes':>9} " + "".join(f"{state:>28}" for state in STATES))
    worst = 0.0
    regrets: dict[str, list[dict[str, float]]] = {"a model": [], "a layer": []}
    for model in arguments.model or MODELS:
        suites = {deployed: layers_of(f"torchvision:{model}", deployed=deployed).suite() for deployed in (False, True)}
        by_engine: dict[str, dict[str, float]] = {}
        of_layers: dict[str, list[dict[str, float]]] = {}
        for engine in engines_of(names, model):
            suite = suites[engine.deployed]
            rounds = measured(engine, suite, arguments.rounds)
            real_s = median(each.inside_s() for each in rounds)
            estimates = {state: ratios(rounds, suite.cases, state) for state in STATES}
            worst = max(worst, abs(estimates["pass"].median - 1))
            if engine.name != BASIC:
                by_engine[engine.name] = {"real": real_s} | {s: e.median * real_s for s, e in estimates.items()}
            cells = (f"{e.median * real_s * 1e3:8.2f} {_text(e)}" for e in estimates.values())
            print(f"{model:<16} {engine.name:<20} {real_s * 1e3:9.2f} " + "".join(cells), flush=True)
            if isinstance(engine, Torch):
                of_layers[engine.name] = times_of_layers(rounds, suite.cases, engine.order())
            if arguments.layers:
                show_layers(rounds, suite.cases, engine.order())
        regrets["a model"].append({state: _regret(by_engine.values(), state) for state in STATES})
        of_each = [dict(zip(of_layers, found, strict=True)) for found in zip(*of_layers.values(), strict=True)]
        regrets["a layer"].append({state: _regret_by_layer(of_each, state) for state in STATES})
        for unit, found in regrets.items():
            told = ", ".join(f"{state} {found[-1][state]:.2%}" for state in STATES)
            print(f"    choosing an engine for {unit} of {model} costs, by {told}", flush=True)
    print(f"\nAs in a pass, sums are at most {worst:.1%} from the convolutions inside real passes.")
    for unit, state in itertools.product(regrets, STATES):
        values = [regret[state] for regret in regrets[unit]]
        print(f"Choosing for {unit} by {state} times costs {fmean(values):.1%}, {max(values):.1%} at worst.")
    print(f"{time.monotonic() - start:.0f} s, load {os.getloadavg()[0]:.1f}")


def _text(ratio: Estimate) -> str:
    """As a share of the time inside passes, with its interval."""
    return f"{ratio.median:6.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def times_of_layers(rounds: Sequence[Round], cases: Sequence[Case], order: Sequence[str]) -> list[dict[str, float]]:
    """Seconds of each layer, as often as it occurs: inside real passes, and by state."""
    found = []
    for case in cases:
        places = [place for place, case_id in enumerate(order) if case_id == case.problem.case_id]
        seconds = {state: median(median(each.layers[state][case.name]) for each in rounds) for state in STATES}
        seconds["real"] = median(each.of_layer_s(places) for each in rounds)
        found.append({name: case.count * each_s for name, each_s in seconds.items()})
    return found


def _regret(engines: Collection[dict[str, float]], state: str) -> float:
    chosen = min(engines, key=lambda times: times[state], default=None)
    return 0.0 if chosen is None else chosen["real"] / min(times["real"] for times in engines) - 1


def _regret_by_layer(layers: Sequence[dict[str, dict[str, float]]], state: str) -> float:
    """How much longer a pass takes than with the best engine for each layer, conversions of layouts left out."""
    chosen_s = math.fsum(min(layer.values(), key=lambda times: times[state])["real"] for layer in layers)
    return (
        chosen_s / math.fsum(min(times["real"] for times in layer.values()) for layer in layers) - 1 if layers else 0.0
    )


if __name__ == "__main__":
    main()
