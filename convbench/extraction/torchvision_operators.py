"""Substitutes for torchvision's compiled operators, so that its models can be traced when the operators do not load.

The operators are built for one build of torch. With another build, such as one for the CPU from another index,
torchvision cannot even be imported. On the meta device declared operators are enough, and stand-ins give their results.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)
ONE_REGION = "How many regions a detector looks at depends on the picture: its heads are counted on one a picture."


@contextmanager
def compiled_operators() -> Iterator[None]:
    """Within the context, torchvision finds its operators, declared if they do not load."""
    if declared_operators() is None:
        yield
        return
    import torchvision.extension as extension

    original = extension._has_ops
    extension._has_ops = lambda: True
    try:
        yield
    finally:
        extension._has_ops = original


@cache
def declared_operators() -> Any:
    """Declare the operators if they do not load, so that torchvision can be imported, by the user's code too.

    Returns the library of declarations, which has to be kept alive; None if the operators load or torchvision is
    missing.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _loads(Path(spec.origin).parent):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


def _loads(folder: Path) -> bool:
    import torch

    for path in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(path))
        except (ImportError, OSError):
            continue
        return True
    return False


def _nms(boxes: Any, _scores: Any, _threshold: float) -> Any:
    """One of the boxes."""
    import torch

    return boxes.new_empty((min(1, boxes.shape[0]),), dtype=torch.int64)


def _roi_align(image: Any, regions: Any, _scale: float, height: int, width: int, *_rest: Any) -> Any:
    return image.new_empty((regions.shape[0], image.shape[1], height, width))


def _unique(values: Any, *_rest: Any) -> tuple[Any, Any, Any]:
    """One class. Nothing reads the indices and counts."""
    one = values.new_empty((min(1, values.numel()),))
    return (one, one.long(), one.long())


STANDINS: dict[str, Callable[..., Any]] = {
    "aten::_unique2": _unique,
    "torchvision::nms": _nms,
    "torchvision::roi_align": _roi_align,
}
