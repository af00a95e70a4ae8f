"""torch and JAX on a real CUDA device: their instruments, graphs and TF32. Skipped where there is none, saying so.

That their answers are right is asked in test_backends.py, as of every backend.
"""

from __future__ import annotations

import gc
import importlib
from typing import Any

import numpy as np
import pytest

from convbench.backend import Backend
from convbench.measurement.sampling.device import take_device_sample
from convbench.measurement.sampling.sample import SamplingPlan
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.status import Status
from convbench.suite import Case

pytestmark = pytest.mark.gpu

ALL: dict[str, Backend] = {
    backend.name: backend
    for file in ("torch_cuda", "jax")
    for backend in importlib.import_module(f"convbench.backends.{file}").BACKENDS
    if backend.device == "cuda"
}
TORCH = [name for name in ALL if name.startswith("torch")]
PROBLEM = ConvProblem(
    batch=8, in_channels=64, height=56, width=56, out_channels=64, kernel_size=3, padding=1, bias=True
)


def ready(name: str, problem: ConvProblem = PROBLEM) -> tuple[Any, Any]:
    backend = ALL[name]
    if reason := backend.unavailable():
        pytest.skip(reason)
    gc.collect()  # what earlier tests left on the device is not to be freed while this one counts its bytes
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in (problem.input_shape, problem.weight_shape))
    return backend.prepare(problem, x, w, rng.standard_normal(problem.out_channels, np.float32)), x


@pytest.mark.parametrize("name", TORCH)
def test_torchs_events_see_the_work_and_not_only_its_launch(name: str) -> None:
    made, _ = ready(name)
    small, _ = take_device_sample(made, SamplingPlan(20, 10))
    large, _ = take_device_sample(
        ready(name, ConvProblem(**PROBLEM.as_dict() | {"batch": 128}))[0], SamplingPlan(20, 10)
    )
    assert large.wall_s > 4 * small.wall_s > 0


@pytest.mark.parametrize("name", TORCH)
def test_with_its_cache_overwritten_a_call_takes_no_less(name: str) -> None:
    made, _ = ready(name)
    warm = [take_device_sample(made, SamplingPlan(20, 10))[0].wall_s for _ in range(9)]
    cold = [take_device_sample(made, SamplingPlan(20, 0, flush_bytes=1))[0].wall_s for _ in range(9)]
    assert np.median(cold) > 0.9 * np.median(warm)


@pytest.mark.parametrize("name", list(ALL))
def test_memory_is_at_least_what_the_operands_take_and_the_input_can_be_sent_again(name: str) -> None:
    made, x = ready(name)
    assert made.instruments.memory is not None and made.instruments.send is not None
    told = made.instruments.memory(made.run)
    assert told.held is None or told.held >= x.nbytes
    assert told.peak is None or told.peak >= told.held
    sent = made.instruments.send()
    made.sync()
    assert sent.shape == x.shape


@pytest.mark.parametrize("channels_last", ["", "-channels-last"])
def test_a_graph_computes_what_the_plain_call_does_and_other_inputs_too(channels_last: str) -> None:
    import torch

    plain, x = ready(f"torch-cuda{channels_last}")
    graph, _ = ready(f"torch-cuda{channels_last}-graph")
    first = graph.to_numpy(graph.run())
    np.testing.assert_array_equal(first, plain.to_numpy(plain.run()))
    other = torch.from_numpy(2 * x).to("cuda")
    kept = graph.on["torch"](other)
    again = graph.on["torch"](other / 2)
    np.testing.assert_array_equal(graph.to_numpy(kept), plain.to_numpy(plain.on["torch"](other)))
    np.testing.assert_array_equal(graph.to_numpy(again), first)
    np.testing.assert_array_equal(graph.to_numpy(graph.run()), first)


def test_tf32_rounds_the_operands_and_leaves_the_others_as_they_were() -> None:
    import torch

    plain, _ = ready("torch-cuda")
    tf32, _ = ready("torch-cuda-tf32")
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no TF32")
    exact = plain.to_numpy(plain.run())
    rounded = tf32.to_numpy(tf32.run())
    assert 1e-5 < np.abs(rounded - exact).max() / np.abs(exact).max() < 1e-2
    np.testing.assert_array_equal(plain.to_numpy(plain.run()), exact)


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_every_backend_on_cuda_is_verified_and_timed_by_the_engine(cache: Any) -> None:
    entries = [entry for entry in discover().select(list(ALL)) if entry.unavailable() is None]
    if not entries:
        pytest.skip("; ".join(sorted({str(backend.unavailable()) for backend in ALL.values()})))
    with Engine(Settings.quick(cache=cache, energy_s=0.5)) as engine:
        outcomes = list(engine.measure("cuda", Case(PROBLEM), entries))
    for outcome in outcomes:
        assert outcome.status is Status.OK, f"{outcome.backend}: {outcome.reason}"
        assert outcome.on_device is not None
        assert outcome.on_device.timer == ("device" if outcome.backend in TORCH else "host")
