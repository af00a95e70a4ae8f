"""Which share of a pass through an ONNX file its convolutions take, with all that is joined to them.

ONNX Runtime computes the file node by node, without its optimisations, which would hide what was joined, and its
profile has the time of each node. Inputs are random. This is the only reader that runs a file, and only where asked to.
"""

from __future__ import annotations

import importlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import Reading
from convbench.extraction.deployed.pass_share import MOST_PARAMETERS, PassShare
from convbench.extraction.inputs import Inputs
from convbench.extraction.onnx.graph import read_onnx
from convbench.extraction.onnx.inputs import with_inputs
from convbench.extraction.onnx.model_file import load

_PASSES = 5
_FOLDER_OF_WEIGHTS = "session.model_external_initializers_file_folder_path"
_KERNEL = "_kernel_time"
_BY_TYPE = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


def share_of_onnx(path: Path, input_shape: tuple[int, ...], threads: int) -> PassShare | str:
    """The share for the model in `path`, whose image has this shape; or why it is not known. Raises `ModelError` for a
    file that cannot be read."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        return "onnxruntime is not installed; type: pip install onnxruntime"
    inputs = Inputs.of(input_shape, None)
    reading, model = read_onnx(path, inputs), load(path)
    numbers = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    if numbers > MOST_PARAMETERS:
        return f"the model has {numbers:,} parameters"
    outputs = {f"node-{place}": tuple(node.output) for place, node in enumerate(model.graph.node)}
    for name, node in zip(outputs, model.graph.node, strict=True):
        node.name = name
    content = model.SerializeToString()
    with_inputs(path, model, inputs)
    try:
        shapes = {entry.name: _shape(entry) for entry in model.graph.input}
        passes, pass_s = _measured(onnxruntime, content, path.parent, shapes, threads)
    except ModelError as error:
        return str(error)
    except Exception as error:  # a file may hold anything, and an operator may be missing
        return f"ONNX Runtime does not run it ({type(error).__name__}: {str(error).splitlines()[0][:200]})"
    convolutions, joined = parts_of(reading)
    shares = [(share_in(one, outputs, convolutions), share_in(one, outputs, joined)) for one in passes]
    alone, together = (median(figures) for figures in zip(*shares, strict=True))
    return PassShare(alone, together, pass_s, threads, "ONNX Runtime, without its optimisations,")


def parts_of(reading: Reading) -> tuple[frozenset[Hashable], frozenset[Hashable]]:
    """The names of what convolutions give, and of what they and the operations that are joined to them give."""
    assert reading.flow is not None
    assert reading.deployment is not None
    operations = reading.flow.operations
    convolutions = frozenset(_name(o.result) for o in operations if o.kind == "convolution")
    return convolutions, frozenset(_name(operations[place].result) for place in reading.deployment.places)


def share_in(
    seconds: Mapping[str, float], outputs: Mapping[str, Collection[str]], names: Collection[Hashable]
) -> float:
    """The share that the nodes which give one of `names` have of the time of all. `seconds` and `outputs` are by node;
    a node without outputs, such as a conversion, is the runtime's own."""
    chosen = sum(s for node, s in seconds.items() if any(name in names for name in outputs.get(node, ())))
    return chosen / sum(seconds.values())


def node_times(events: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, float]]:
    """Seconds of each node, by its name, for each pass in the `events` of ONNX Runtime's profile."""
    seconds: dict[str, float] = {}
    timed = (event for event in events if "dur" in event)
    for event in sorted(timed, key=lambda e: (e["ts"] + e["dur"], e["dur"])):
        if event["name"] == "model_run":
            yield seconds
            seconds = {}
        elif event["name"].endswith(_KERNEL):
            name = event["name"].removesuffix(_KERNEL)
            seconds[name] = seconds.get(name, 0.0) + (event["dur"] + 0.5) * 1e-6  # it rounds down


def _measured(
    onnxruntime: Any, content: bytes, weights: Path, shapes: Mapping[str, tuple[int, ...]], threads: int
) -> tuple[list[dict[str, float]], float]:
    """The times of nodes in some passes after one that warms up, and seconds of a pass that is not profiled."""
    folder = tempfile.mkdtemp(prefix="convbench-")
    try:
        walls_s = []
        for profiled in (False, True):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = threads, 4
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry(_FOLDER_OF_WEIGHTS, str(weights.resolve()))
            options.enable_profiling, options.profile_file_prefix = profiled, str(Path(folder, "pass"))
            session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
            feed = {one.name: _random(one, shapes.get(one.name, ())) for one in session.get_inputs()}
            for _ in range(1 + _PASSES):
                start = time.perf_counter()
                session.run(None, feed)
                walls_s.append(time.perf_counter() - start)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return list(node_times(events))[1:], median(walls_s[1 : 1 + _PASSES])


def _random(entry: Any, shape: tuple[int, ...]) -> Any:
    """Numbers for an input of the model; zeros where they may be places in a table."""
    import numpy as np

    if min(shape, default=1) < 1:
        raise ModelError(f"its input {entry.name!r} has no fixed shape")
    if entry.type in _BY_TYPE:
        return np.random.default_rng(0).random(shape).astype(_BY_TYPE[entry.type])
    whole = entry.type.removeprefix("tensor(").removesuffix(")")
    if whole not in ("int64", "int32", "uint8", "int8", "bool"):
        raise ModelError(f"its input {entry.name!r} is of type {entry.type}")
    return np.zeros(shape, whole)


def _shape(entry: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in entry.type.tensor_type.shape.dim)


def _name(result: Hashable) -> Hashable:
    """A part of FusedConv has its node's output with its place."""
    return result[0] if isinstance(result, tuple) else result
