"""Gradients and steps of torch's CUDA variants, as far as they show without a GPU: on torch's meta device, where
tensors have shapes, dtypes, layouts and a device, and no values; and on the CPU, for the values and the precision."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from convbench.backend import NO_INSTRUMENTS, Backend
from convbench.problem import ConvProblem
from convbench.verification.operands import normal_operands
from convbench.verification.oracle import oracle_of
from convbench.verification.step.answers import in_a_row

torch = pytest.importorskip("torch")
torch_cuda = importlib.import_module("convbench.backends.torch_cuda")

VARIANTS: tuple[Backend, ...] = torch_cuda.BACKENDS
LAYERS = (
    "n2c4h9w8_o6k3x2_s2x1_p1x0_g2_bias",
    "n2c4h6w7_o4k3_p1_d2_bias_reflect",
    "n1c3h6w5_o4k3_pt1b2l0r1_bias_circular",
    "n2c3h6w5_o2k2_pt-1b0l0r1_bias",
)
DIRECTIONS = ("input_gradient", "weight_gradient", "bias_gradient", "step")
each_variant = pytest.mark.parametrize("backend", VARIANTS, ids=lambda backend: backend.name)
problems = [ConvProblem.parse(layer).replace(direction=d) for layer in LAYERS for d in DIRECTIONS]


def recorded(compute: Callable[[Any], Any], x: Any) -> Callable[[], Any]:
    """In place of a CUDA graph: what is computed at capture is what every replay gives, computed again."""
    compute(x)
    return lambda: compute(x)


@pytest.fixture(autouse=True)
def precision_as_before() -> Iterator[None]:
    """What a variant sets holds for the process, and torch refuses to compile where it differs for RNNs."""
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    yield
    conv.fp32_precision = before


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend, str], Backend]:
    """The variant on another device, without CUDA's clock, memory and graphs."""

    def moved(backend: Backend, device: str) -> Backend:
        monkeypatch.setattr(backend, "device", device, raising=False)
        monkeypatch.setattr(backend, "_instruments", lambda x, layout: NO_INSTRUMENTS, raising=False)
        monkeypatch.setattr(backend, "_sync", lambda: lambda: None, raising=False)
        monkeypatch.setattr(torch_cuda, "captured", recorded)
        return backend

    return moved


@each_variant
@pytest.mark.parametrize("problem", problems, ids=str)
def test_all_of_a_call_is_on_the_device_in_one_dtype(backend: Backend, problem: ConvProblem, on_device: Any) -> None:
    """An operand left on the host raises, because meta tensors and others do not mix."""
    for dtype in sorted(backend.supports.dtypes - {"int8"}):
        asked = problem.replace(dtype=dtype)
        ready = normal_operands(asked, 0).prepared_by(on_device(backend, "meta"), asked)
        output = ready.run()
        results = output if asked.direction == "step" else [output]
        assert tuple(tuple(result.shape) for result in results) == asked.result_shapes
        assert {(result.device.type, result.dtype) for result in results} == {("meta", getattr(torch, dtype))}
        assert ready.touch is None  # the host cannot write what lies on a device


@pytest.mark.parametrize("direction", ["input_gradient", "weight_gradient", "step"])
@pytest.mark.parametrize("backend", [b for b in VARIANTS if "channels-last" in b.name], ids=lambda b: b.name)
def test_gradients_of_channels_last_are_in_channels_last(backend: Backend, direction: Any, on_device: Any) -> None:
    problem = ConvProblem.parse("n2c8h9w8_o6k3_p1_bias").replace(direction=direction)
    output = normal_operands(problem, 0).prepared_by(on_device(backend, "meta"), problem).run()
    gradients = (
        output[1:] if direction == "step" else [output]
    )  # meta convolutions are contiguous forward, unlike CUDA's
    planes = [result for result in gradients if result.ndim == 4]
    assert planes and all(result.is_contiguous(memory_format=torch.channels_last) for result in planes)


@each_variant
@pytest.mark.parametrize("problem", problems, ids=str)
def test_each_result_is_right(backend: Backend, problem: ConvProblem, on_device: Any) -> None:
    operands = normal_operands(problem, 0)
    ready = operands.prepared_by(on_device(backend, "cpu"), problem)
    answer = in_a_row(ready.to_numpy(ready.run()))
    verdict = oracle_of(problem, operands, "normal").judge(backend.arithmetic, answer)
    assert verdict.passed, verdict.reason


@each_variant
@pytest.mark.parametrize("direction", ["weight_gradient", "step"])
def test_tf32_is_on_in_the_calls_of_its_variants_alone(
    backend: Backend, direction: Any, on_device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = ConvProblem.parse("n2c4h6w5_o4k3_p1_bias").replace(direction=direction)
    precisions = []

    def noting(compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            precisions.append(torch.backends.cudnn.conv.fp32_precision)
            return compute(x)

        return run

    conv2d = importlib.import_module("convbench.backends._torch.conv2d")
    for name in ("gradient", "step"):
        made = getattr(conv2d, name)
        monkeypatch.setattr(conv2d, name, lambda *words, made=made: noting(made(*words)))
    ready = normal_operands(problem, 0).prepared_by(on_device(backend, "cpu"), problem)
    ready.run()
    assert set(precisions) == {"tf32" if "tf32" in backend.name else "ieee"}
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"


@each_variant
@pytest.mark.parametrize("direction", ["input_gradient", "weight_gradient", "bias_gradient"])
def test_a_script_has_the_precision_of_its_variant(backend: Backend, direction: Any) -> None:
    problem = ConvProblem.parse(LAYERS[0]).replace(direction=direction)
    script = backend.gradient_script(problem)
    assert script is not None and '.to("cuda")' in script
    precision = "tf32" if "tf32" in backend.name else "ieee"
    assert f'torch.backends.cudnn.conv.fp32_precision = "{precision}"' in script
    operands = normal_operands(problem, 0)
    names: dict[str, Any] = {"np": np, **operands.named()}
    exec(script.replace('"cuda"', '"cpu"'), names)
    assert oracle_of(problem, operands, "normal").judge(backend.arithmetic, names["out"]).passed
