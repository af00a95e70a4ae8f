"""Do convolutions as they are deployed add up to whole models, where bare ones do not?

For torchvision's models, in one process and by turns: the whole model in each engine, and each of its layers by itself,
bare and as deployed (with its folded batch norm, activation and residual sum), by convbench's backend for that engine
and in the state of caches of a pass. onnxruntime and openvino run the model as torch exports it to ONNX, and fuse as
they do by default. One thread, the steady allocator, random weights.

Printed for each model: which share of a pass in torch the extracted problems cover; for each engine the time of the
whole model, and the sums over bare and deployed layers with their ratio to it (95 % interval of the median over
rounds); and which engine is best by each. A layer by itself takes and gives plain tensors: where an engine keeps its
own layout between layers, the sum holds conversions that the model does not have. So for onnxruntime and openvino the
sum of the kernels of the deployed layers follows, by the engines' own profilers and without their nodes for reordering.
torch's whole model computes its batch norms, which the deployed layers have folded.

    python evaluation/accuracy/deployed_adds_up.py [--model NAME ...] [--engine NAME ...] [--rounds 8]

Needs torchvision, onnx, onnxruntime and openvino. Some 80 seconds with both models, all engines and 8 rounds. Run it on
a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from convbench.backends._onnx.fused import onnx_model_with_epilogue
from convbench.backends._onnx.model import onnx_model

from convbench.backend import Backend, Ready, touching
from convbench.extraction.deployed.pass_share import pass_share
from convbench.extraction.extract import layers_of
from convbench.extraction.torchvision_operators import compiled_operators
from convbench.measurement.machine.affinity import cores_here, move_here
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.sampling.cache_state import CacheState
from convbench.measurement.sampling.sample import SamplingPlan, take_apart
from convbench.measurement.scheduling.case_run import flush_bytes
from convbench.measurement.settings import Settings
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.stats.estimates import Estimate, estimate_median
from convbench.suite import Suite
from convbench.verification.operands import normal_operands

MODELS = ("resnet50", "mobilenet_v2")
ENGINES = {
    "torch": "torch",
    "torch-channels-last": "torch-channels-last",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "openvino (its layout)": "openvino-channels-last",
}
"""The engines that run whole models, and the backends that run their layers."""
KINDS = ("bare", "deployed")
_CALLS = SamplingPlan(3, 1)
_PASSES = 4

Call = Callable[[], Any]


@dataclass
class Seconds:
    """Of one engine, an element per round: the whole model, and the sum over the layers of each kind."""

    whole: list[float] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    kernels_s: float | None = None
    """Of the deployed layers, by the engine's own profiler."""

    @property
    def distance(self) -> float:
        """How far the deployed layers are from the whole, by kernels where they are known."""
        if self.kernels_s is None:
            return abs(self.ratio("deployed").median - 1)
        return abs(self.kernels_s / median(self.whole) - 1)

    def ratio(self, kind: str) -> Estimate:
        return estimate_median([s / whole for s, whole in zip(self.sums[kind], self.whole, strict=True)])


@dataclass
class Layers:
    """The layers of one kind, prepared in one backend: calls and counts."""

    calls: list[tuple[int, Call, Call, Call]]
    refused: list[str]

    def total_s(self, order: random.Random) -> float:
        total_s = 0.0
        for count, run, sync, before in order.sample(self.calls, len(self.calls)):
            walls_s = take_apart(run, sync, _CALLS, before)[1][_CALLS.discarded :]
            total_s += count * median(walls_s)
        return total_s


def prepared(backend: Backend, suite: Suite, state: CacheState, passing: int) -> Layers:
    layers = Layers([], [])
    for case in suite.cases:
        problem: ConvProblem = case.problem
        if (reason := backend.unsupported(problem)) is not None:
            layers.refused.append(f"{case.name}: {reason}")
            continue
        operands = normal_operands(problem, 0)
        ready = operands.prepared_by(backend, problem)
        before = state.as_in_pass(backend, problem, ready, operands.x, passing)
        layers.calls.append((case.count, ready.run, ready.sync, before))
    return layers


def whole_model(engine: str, module: Any, image: Any, onnx: bytes) -> Call:
    import torch

    if engine.startswith("torch"):
        layout = torch.channels_last if engine != "torch" else torch.contiguous_format
        laid_out, x = module.to(memory_format=layout), image.to(memory_format=layout)

        def run() -> Any:
            with torch.no_grad():
                return laid_out(x)

        return run
    if engine == "onnxruntime":
        runtime = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        session = runtime.InferenceSession(onnx, options, ["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: image.numpy()}
        return lambda: session.run(None, feed)
    core = importlib.import_module("openvino").Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
    request = core.compile_model(core.read_model(onnx), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = request.create_infer_request()
    request.get_input_tensor().data[...] = image.numpy()
    return lambda: request.infer(share_outputs=True)


def kernels_s(engine: str, suite: Suite, passing: int, calls: int) -> float | None:
    """Seconds of the kernels of all layers but those that reorder, by the engine's own profiler; None without one."""
    if engine not in ("onnxruntime", "openvino"):
        return None
    state, total_s = CacheState(), 0.0
    for case in suite.cases:
        problem: ConvProblem = case.problem
        operands = normal_operands(problem, 0)
        make = onnx_model if problem.epilogue is None else onnx_model_with_epilogue
        feed = {name: array for name, array in (("x", operands.x), ("r", operands.r)) if array is not None}
        profiled = _of_onnxruntime if engine == "onnxruntime" else _of_openvino
        run, seconds = profiled(make(problem, operands.w, operands.b), feed)
        backend = next(row.backend for row in discover() if row.name == engine)
        ready = Ready(run, touch=touching(*feed.values()))
        before = state.as_in_pass(backend, problem, ready, operands.x, passing)
        for _ in range(calls):
            before()
            run()
        total_s += case.count * seconds()
    return total_s


def _of_onnxruntime(model: bytes, feed: dict[str, Any]) -> tuple[Call, Callable[[], float]]:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    folder = tempfile.mkdtemp(prefix="convbench-")
    options.profile_file_prefix = str(Path(folder) / "layer")
    session = runtime.InferenceSession(model, options, ["CPUExecutionProvider"])

    def seconds() -> float:
        runs, current = list[float](), 0.0
        events = json.loads(Path(session.end_profiling()).read_text())
        shutil.rmtree(folder)
        for event in sorted((e for e in events if "dur" in e), key=lambda e: (e["ts"] + e["dur"], e["dur"])):
            if event["name"] == "model_run":
                runs.append(current)
                current = 0.0
            elif event["name"].endswith("_kernel_time") and "Reorder" not in event["args"].get("op_name", ""):
                current += (event["dur"] + 0.5) * 1e-6  # it rounds down
        return median(runs)

    return lambda: session.run(None, feed), seconds


def _of_openvino(model: bytes, feed: dict[str, Any]) -> tuple[Call, Callable[[], float]]:
    core = importlib.import_module("openvino").Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    for name, array in feed.items():
        request.get_tensor(name).data[...] = array

    def seconds() -> float:  # means over all calls
        nodes = [node for node in request.profiling_info if node.node_type not in ("Reorder", "Parameter", "Result")]
        return float(sum(node.real_time.total_seconds() for node in nodes))

    return lambda: request.infer(share_outputs=True), seconds


def made(name: str) -> Any:
    import torch

    with compiled_operators():
        models = importlib.import_module("torchvision.models")
    torch.manual_seed(0)
    return models.get_model(name, weights=None).eval()


def exported(module: Any, image: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(module, (image,), buffer, dynamo=False, opset_version=17)
    return buffer.getvalue()


def measured(name: str, engines: list[str], rounds: int) -> dict[str, Seconds]:
    import torch

    image = torch.rand(1, 3, 224, 224)
    onnx = exported(made(name), image)
    suites = {kind: layers_of(f"torchvision:{name}", deployed=kind == "deployed").suite() for kind in KINDS}
    caches = machine_facts()["caches_bytes"].values()
    backends = {row.name: row.backend for row in discover()}
    seconds: dict[str, Seconds] = {}
    for engine in engines:
        backend = backends[ENGINES[engine]]
        backend.limit_threads(1)
        run, state, order = whole_model(engine, made(name), image, onnx), CacheState(), random.Random(0)
        passing = flush_bytes(Settings(cache="pass", pass_bytes=suites["bare"].pass_bytes), caches)
        layers = {kind: prepared(backend, suites[kind], state, passing) for kind in KINDS}
        for kind in KINDS:
            for sentence in layers[kind].refused:
                print(f"  left out of the {kind} sum of {engine}: {sentence}")
        taken = seconds.setdefault(engine, Seconds())
        for number in range(rounds + 1):
            walls_s = [take_apart(run, lambda: None, SamplingPlan(1, 0), lambda: None)[1][0] for _ in range(_PASSES)]
            sums = {kind: layers[kind].total_s(order) for kind in order.sample(KINDS, 2)}
            if number:  # the first round warms everything up
                taken.whole.append(median(walls_s[1:]))
                for kind in KINDS:
                    taken.sums[kind].append(sums[kind])
        taken.kernels_s = kernels_s(engine, suites["deployed"], passing, 2 * rounds)
    return seconds


def show(name: str, seconds: dict[str, Seconds]) -> None:
    for engine, taken in seconds.items():
        whole_s = median(taken.whole)
        cells = [f"{median(taken.sums[kind]) * 1e3:9.2f} ms {_text(taken.ratio(kind))}" for kind in KINDS]
        if taken.kernels_s is not None:
            cells.append(f"kernels {taken.kernels_s * 1e3:9.2f} ms {taken.kernels_s / whole_s:6.3f}")
        print(f"{name:<14} {engine:<22} {whole_s * 1e3:8.2f} ms   {'   '.join(cells)}", flush=True)
    best = {kind: min(seconds, key=lambda engine: median(seconds[engine].sums[kind])) for kind in KINDS}
    fastest = min(seconds, key=lambda engine: median(seconds[engine].whole))
    print(f"  best by bare layers: {best['bare']}; by deployed layers: {best['deployed']}; whole: {fastest}\n")


def _text(ratio: Estimate) -> str:
    return f"{ratio.median:6.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help=f"of torchvision (default: {' '.join(MODELS)})")
    parser.add_argument("--engine", action="append", choices=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    if os.environ.get("DEPLOYED_ADDS_UP") is None:  # the allocator's settings are read when a process starts
        environment = worker_environment(1, "steady") | {"DEPLOYED_ADDS_UP": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    import torch

    torch.set_num_threads(1)
    start, facts = time.monotonic(), machine_facts()
    move_here(cores_here("auto", 1))
    print(f"{facts['cpu']}, {facts['usable_cpus']} CPUs, one thread, {arguments.rounds} rounds")
    print(f"{'model':<14} {'engine':<22} {'whole':>11}   {'sum of bare layers, ratio':>36}   deployed layers, ratio")
    worst: dict[str, float] = {}
    for name in arguments.model or MODELS:
        print(f"{name}: the deployed layers cover {pass_share(made(name), (torch.rand(1, 3, 224, 224),), 1)}")
        seconds = measured(name, arguments.engine or list(ENGINES), arguments.rounds)
        show(name, seconds)
        for engine, taken in seconds.items():
            worst[engine] = max(worst.get(engine, 0.0), taken.distance)
    print("largest distance of the deployed layers, by kernels where known, from the whole model: ", end="")
    print(", ".join(f"{engine} {off:.1%}" for engine, off in worst.items()))
    print(f"{time.monotonic() - start:.0f} s, load {math.fsum(os.getloadavg()[:1]):.1f}")


if __name__ == "__main__":
    main()
