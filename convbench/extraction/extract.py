"""`layers_of`: the convolutions of a torch, timm, torchvision, ONNX or torch.export model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convbench.errors import ModelError, ProblemError
from convbench.extraction.layers import Extracted, Reading, gathered
from convbench.problem import DTYPES, Dtype

FORMS = "timm:NAME, torchvision:NAME, module:callable, FILE.onnx or FILE.pt2"

_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl")
_GRAPHS = (".onnx", ".pt2")


def layers_of(
    source: Any,
    *,
    batch: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    dtype: Dtype | None = None,
) -> Extracted:
    """The distinct convolutions that the model `source` runs, each with its count and its first layer.

    `source` is a torch module, or a text: `timm:NAME`, `torchvision:NAME`, `module:callable` (a torch module, or a
    function or class that makes one), `FILE.onnx`, or `FILE.pt2` (`torch.export.save`). Only the code of the libraries,
    of a module and of a `module:callable` runs. The input has `input_shape`, batch first, or the model's own shape;
    `batch` replaces its batch (by default its own, or 1). `dtype` replaces the dtypes of the model.

    Raises `ModelError` with what to do, and `ProblemError` for an unknown dtype.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ProblemError(f"dtype is {dtype!r}; it should be one of {', '.join(DTYPES)}.")
    if input_shape is not None and (len(input_shape) < 2 or min(input_shape) < 1):
        raise ModelError(
            f"the input shape is {','.join(map(str, input_shape))}; it should be batch, channels, height and width, "
            "such as 1,3,224,224."
        )
    if batch is not None and batch < 1:
        raise ModelError(f"the batch is {batch}; it should be at least 1.")
    if not isinstance(source, str):
        from convbench.extraction.torch_module import read_module

        name = type(source).__name__
        return gathered(name, name, read_module(source, batch, input_shape), dtype)
    name = Path(source).stem if Path(source).suffix.lower() in _GRAPHS else source.rpartition(":")[2]
    return gathered(source, name, _read(source, batch, input_shape), dtype)


def _read(source: str, batch: int | None, input_shape: tuple[int, ...] | None) -> Reading:
    library, _, name = source.partition(":")
    suffix = Path(source).suffix.lower()
    if library in ("timm", "torchvision") and name and suffix not in _GRAPHS:
        from convbench.extraction.model_zoo import read_timm, read_torchvision

        return (read_timm if library == "timm" else read_torchvision)(name, batch, input_shape)
    if suffix == ".onnx":
        from convbench.extraction.onnx.graph import read_onnx

        return read_onnx(Path(source), batch, input_shape)
    if suffix == ".pt2":
        from convbench.extraction.exported import read_exported

        return read_exported(Path(source), batch, input_shape)
    if suffix in _WEIGHTS and ":" not in source:
        raise ModelError(f"{source}: such files hold weights, or code that would be run, and no shapes; give {FORMS}.")
    from convbench.extraction.torch_module import PATTERN, read_module

    if not PATTERN.fullmatch(source):
        raise ModelError(f"{source!r} is no model; it should be {FORMS}.")
    return read_module(source, batch, input_shape)
