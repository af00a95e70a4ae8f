"""What ONNX Runtime's quantiser makes of a small real network, written to a folder, for `choose --model`.

    python evaluation/engines/quantized_model.py models/
    convbench choose --model models/resnet18-qdq.onnx --dtype float32,bfloat16,int8

writes `resnet18.onnx`, `resnet18-qdq.onnx` (QuantizeLinear and DequantizeLinear around each operator) and
`resnet18-qoperator.onnx` (QLinearConv). The weights and the pictures for calibration are drawn, and change no times.
Activations are uint8, weights int8 with a scale for each channel, which is the quantiser's advice for x86. It needs
torch, timm, onnx and onnxruntime, and takes a minute.
"""

from __future__ import annotations

import argparse
import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convbench.extraction.torchvision_operators import compiled_operators

PICTURES = 4


def model_of(name: str) -> torch.nn.Module:
    """timm's model of that name, with drawn weights."""
    torch.manual_seed(0)
    with compiled_operators():
        model: torch.nn.Module = importlib.import_module("timm").create_model(name)
    return model.eval()


def exported(model: torch.nn.Module, size: int, path: Path) -> None:
    """Write the model as an ONNX file, for pictures of that height and width."""
    with warnings.catch_warnings():  # of the exporter's age: the newer one needs onnxscript
        warnings.simplefilter("ignore")
        picture = torch.zeros(1, 3, size, size)
        torch.onnx.export(model, (picture,), str(path), input_names=["x"], output_names=["y"], dynamo=False)


def pictures(size: int) -> Iterator[dict[str, Any]]:
    for seed in range(PICTURES):
        yield {"x": np.random.default_rng(seed).standard_normal((1, 3, size, size), np.float32)}


def quantized(source: Path, target: Path, form: str, size: int) -> None:
    """The model in `source`, quantised by ONNX Runtime in the form QDQ or QOperator."""
    quantization = importlib.import_module("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            self.left = pictures(size)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    quantization.quantize_static(
        source,
        target,
        Reader(),
        quant_format=getattr(quantization.QuantFormat, form),
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="resnet18", help="a model of timm")
    parser.add_argument("--size", type=int, default=224, help="height and width of the picture")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    plain = arguments.folder / f"{arguments.model}.onnx"
    exported(model_of(arguments.model), arguments.size, plain)
    prepared = plain.with_suffix(".prepared.onnx")  # with shapes, and with batch norms folded
    importlib.import_module("onnxruntime.quantization.shape_inference").quant_pre_process(str(plain), str(prepared))
    for form in ("QDQ", "QOperator"):
        target = arguments.folder / f"{arguments.model}-{form.lower()}.onnx"
        quantized(prepared, target, form, arguments.size)
        print(target)
    prepared.unlink()


if __name__ == "__main__":
    main()
