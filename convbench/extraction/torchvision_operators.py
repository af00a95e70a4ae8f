"""torchvision's compiled operators, as far as it takes to make and trace its models where they do not load.

They are built for one build of torch: beside another, such as one for the CPU from another index, torchvision cannot
even be imported. Declaring the operators is enough for models on the meta device; their results are stood in for.
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
    """Where they do not load, torchvision is told that they are there."""
    if declared_operators() is None:
        yield
        return
    import torchvision.extension as extension

    asked = extension._has_ops
    extension._has_ops = lambda: True
    try:
        yield
    finally:
        extension._has_ops = asked


@cache
def declared_operators() -> Any:
    """Declare them where they do not load: torchvision can be imported then, also by a model of the user's.

    Gives the library in which they are declared, which is kept; None where they load or torchvision is not here.
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
    """Of all boxes one is left."""
    import torch

    return boxes.new_empty((min(1, boxes.shape[0]),), dtype=torch.int64)


def _roi_align(image: Any, regions: Any, _scale: float, height: int, width: int, *_rest: Any) -> Any:
    return image.new_empty((regions.shape[0], image.shape[1], height, width))


def _unique(values: Any, *_rest: Any) -> tuple[Any, Any, Any]:
    """Of all classes one is found; the indices and counts are not asked for."""
    one = values.new_empty((min(1, values.numel()),))
    return (one, one.long(), one.long())


STANDINS: dict[str, Callable[..., Any]] = {
    "aten::_unique2": _unique,
    "torchvision::nms": _nms,
    "torchvision::roi_align": _roi_align,
}
