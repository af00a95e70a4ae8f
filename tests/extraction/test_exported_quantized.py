"""Exported programs with conversions around convolutions, as PT2E's converter writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convbench.extraction.extract import layers_of

torch = pytest.importorskip("torch")


class Quantised(torch.nn.Module):  # type: ignore[misc]
    """One convolution of the formats that its attributes say."""

    def __init__(self, *, per_channel: bool, relu: bool, quantizes: bool, zero: int) -> None:
        super().__init__()
        from torch.ao.quantization.fx import _decomposed  # noqa: F401, which defines the operators

        self.per_channel, self.relu, self.quantizes, self.zero = per_channel, relu, quantizes, zero
        self.register_buffer("weight", torch.ones(4, 3, 3, 3, dtype=torch.int8))
        self.register_buffer("scales", torch.full((4,), 0.1))
        self.register_buffer("zeros", torch.zeros(4, dtype=torch.int64))

    def forward(self, x: Any) -> Any:
        ops = torch.ops.quantized_decomposed
        limits = (0, 255, torch.uint8)
        x = ops.dequantize_per_tensor(ops.quantize_per_tensor(x, 0.1, self.zero, *limits), 0.1, self.zero, *limits)
        if self.per_channel:
            w = ops.dequantize_per_channel(self.weight, self.scales, self.zeros, 0, -128, 127, torch.int8)
        else:
            w = ops.dequantize_per_tensor(self.weight, 0.1, 0, -128, 127, torch.int8)
        y = torch.nn.functional.conv2d(x, w, padding=1)
        y = y.relu() if self.relu else y
        if not self.quantizes:
            return y + y
        return ops.dequantize_per_tensor(ops.quantize_per_tensor(y, 0.2, 0, *limits), 0.2, 0, *limits)


@pytest.mark.parametrize(
    ("settings", "quantization"),
    [
        ({"per_channel": True, "relu": False, "quantizes": True, "zero": 7}, "u8z:s8:u8"),
        ({"per_channel": True, "relu": True, "quantizes": True, "zero": 0}, "u8:s8:u8"),
        ({"per_channel": False, "relu": False, "quantizes": True, "zero": 7}, "u8z:s8t:u8"),
        ({"per_channel": True, "relu": True, "quantizes": False, "zero": 7}, "u8z:s8:f32"),
    ],
)
def test_a_quantised_program_is_read_as_quantised_problems(
    tmp_path: Path, settings: dict[str, Any], quantization: str
) -> None:
    program = torch.export.export(Quantised(**settings), (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "model.pt2")
    extracted = layers_of(str(tmp_path / "model.pt2"))
    (case,) = extracted.cases
    assert (str(case.problem.quantization), case.problem.padding) == (quantization, ((1, 1), (1, 1)))
    assert extracted.left_out == ()
