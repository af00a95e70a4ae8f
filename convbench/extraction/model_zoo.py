"""`timm:NAME` and `torchvision:NAME`: the models of these libraries, at the input sizes that they are made for.

They are made on the meta device, without weights. Nothing is downloaded, and no memory is needed.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any

from convbench.errors import ModelError, did_you_mean
from convbench.extraction.call_log import Reading
from convbench.extraction.inputs import Inputs
from convbench.extraction.torch_module import made, meta_tensor, require_torch, with_batch
from convbench.extraction.torchvision_operators import ONE_REGION, STANDINS, compiled_operators

_PHOTO = (480, 640)  # the usual size in COCO; detection models scale it themselves
_FILM_FRAME = (520, 960)  # the size at which torchvision's optical-flow weights were measured


def read_timm(name: str, inputs: Inputs) -> Reading:
    """The convolutions of the timm model `name`, by default at its own input size. Raises `ModelError`."""
    from convbench.extraction.tracing import traced

    timm, input_shape = library("timm"), inputs.only_shape(f"timm:{name}")
    with _quiet():
        if not timm.is_model(name):
            raise ModelError(
                f"timm has no model {name!r}.{did_you_mean(name, timm.list_models())} "
                "Its models are listed by: python -c 'import timm; print(*timm.list_models())'"
            )
        module = made(f"timm:{name}", lambda: timm.create_model(name, pretrained=False))
        shape = with_batch(input_shape or (1, *module.pretrained_cfg["input_size"]), inputs.batch)
        return traced(module, (meta_tensor(shape),))


def read_torchvision(name: str, inputs: Inputs) -> Reading:
    """The convolutions of the torchvision model `name`, at the size of its default weights.

    Detection models take pictures of 480x640, which they scale; their heads are counted for one region per picture.
    Optical-flow models take two pictures of 520x960. Raises `ModelError`.
    """
    from convbench.extraction.tracing import traced

    models, input_shape = library("torchvision.models"), inputs.only_shape(f"torchvision:{name}")
    with _quiet(), compiled_operators():
        if name not in models.list_models():
            raise ModelError(
                f"torchvision has no model {name!r}.{did_you_mean(name, models.list_models())} Its models are "
                "listed by: python -c 'from torchvision.models import list_models; print(*list_models())'"
            )
        task = models.get_model_builder(name).__module__.split(".")[2]
        size = _size(models, name, task)
        backbone: dict[str, Any] = {"weights_backbone": None} if task in ("detection", "segmentation") else {}
        arguments = backbone | ({"image_size": size[-1]} if name.startswith("vit_") else {})
        module = made(f"torchvision:{name}", lambda: models.get_model(name, weights=None, **arguments))
        shape = with_batch(input_shape or (1, 3, *size), inputs.batch)
        if task != "detection":
            image = meta_tensor(shape)
            return traced(module, (image, image) if task == "optical_flow" else (image,), standins=STANDINS)
        reading = traced(module, ([meta_tensor(shape[1:]) for _ in range(shape[0])],), standins=STANDINS)
        return replace(reading, left_out=(*reading.left_out, ONE_REGION))


def real_timm(name: str) -> Any:
    """The timm model `name` in evaluation mode, with weights as timm initialises them."""
    timm = library("timm")
    with _quiet():
        return timm.create_model(name, pretrained=False).eval()


def real_torchvision(name: str) -> Any:
    """The torchvision model `name` in evaluation mode, with weights as torchvision initialises them. Raises
    `ModelError` for a model whose input is not one image."""
    models = library("torchvision.models")
    with _quiet(), compiled_operators():
        if (task := models.get_model_builder(name).__module__.split(".")[2]) in ("detection", "optical_flow"):
            raise ModelError(f"models of {task.replace('_', ' ')} take more than one image")
        backbone: dict[str, Any] = {"weights_backbone": None} if task == "segmentation" else {}
        return models.get_model(name, weights=None, **backbone).eval()


def library(name: str) -> Any:
    """The module `name` of timm or torchvision. Raises `ModelError`, with what to type, when it does not load."""
    package = name.partition(".")[0]
    require_torch()
    try:
        with compiled_operators(), _quiet():
            return importlib.import_module(name)
    except ImportError as error:
        if error.name and error.name.partition(".")[0] != package:
            raise ModelError(f"{package} does not load, since {error}; type: pip install {error.name}") from None
        raise ModelError(f"{package} is not installed; type: pip install {package}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop the warnings of these libraries, and send their output to standard error."""
    with warnings.catch_warnings(action="ignore"), redirect_stdout(sys.stderr):
        yield


def _size(models: Any, name: str, task: str) -> tuple[int, ...]:
    """(height, width), or (frames, height, width) for a model of films."""
    if task == "detection":
        return _PHOTO
    if task == "optical_flow":
        return _FILM_FRAME
    weights = models.get_model_weights(name).DEFAULT.transforms()
    size = getattr(weights, "crop_size", None) or weights.resize_size
    height, width = (size * 2)[:2] if len(size) == 1 else size
    return (16, height, width) if task == "video" else (height, width)
