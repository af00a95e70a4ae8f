"""The suite `onnx-node`: the tests of the Conv operator that the package `onnx` ships, with their data and answers.

python tests/support/suite_of_onnx_node.py        # writes suites/onnx-node.toml
"""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

from places import SUITES

from convbench.problem import ConvProblem

PATH = SUITES / "onnx-node.toml"
_DEFAULTS = {f.name: f.default for f in fields(ConvProblem)}
_HEAD = """\
# Made by tests/support/suite_of_onnx_node.py, which also says when this file is no longer what `onnx` ships.
#
# The node tests of Conv in the package onnx {version} (onnx/backend/test/case/node/conv.py): their parameters, data and
# expected answers. Copyright (c) ONNX Project Contributors, licensed under Apache-2.0
# (https://github.com/onnx/onnx/blob/main/LICENSE). `auto_pad` is written out as sides of padding.
name = "onnx-node"
summary = "The ONNX project's own node tests of Conv, with their data and expected answers: few, small, necessary."
tags = ["conformance", "data"]
"""


def text() -> str:
    """The suite's TOML, from the installed `onnx`."""
    import onnx
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(action="ignore"):  # of other operators' tests, which are made as well
        tests = collect_testcases("Conv")
    cases = [_case(test) for test in tests if len(test.model.graph.node) == 1 and _is_2d(test)]
    return "\n".join([_HEAD.format(version=".".join(onnx.__version__.split(".")[:2])), *cases])


def _is_2d(test: Any) -> bool:
    return all(len(array.shape) == 4 for array in test.data_sets[0][0][:2])


def _case(test: Any) -> str:
    [(inputs, [expected])] = test.data_sets
    x, w, *b = inputs
    attributes = _attributes(test.model.graph.node[0])
    problem = ConvProblem(
        batch=x.shape[0],
        in_channels=x.shape[1],
        height=x.shape[2],
        width=x.shape[3],
        out_channels=w.shape[0],
        kernel_size=w.shape[2:],
        stride=attributes.get("strides", (1, 1)),
        padding=sides_of_padding(attributes, x.shape[2:], w.shape[2:]),
        dilation=attributes.get("dilations", (1, 1)),
        groups=attributes.get("group", 1),
        bias=bool(b),
    )
    if expected.shape != problem.output_shape:
        raise ValueError(f"{test.name}: the answer has shape {expected.shape}, the problem's is {problem.output_shape}")
    data = {"input": x, "weight": w, **({"bias": b[0]} if b else {}), "expected": expected}
    name = test.name.removeprefix("test_").replace("_", "-")
    return "\n".join(
        [
            "[[case]]",
            f'name = "{name}"',
            *(f"{key} = {_toml(value)}" for key, value in problem.as_dict().items() if value != _DEFAULTS.get(key)),
            "",
            "[case.data]",
            *(f"{key} = {_toml(array.tolist())}" for key, array in data.items()),
            "",
        ]
    )


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    known = {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}
    found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if set(found) - known:
        raise ValueError(f"attributes {sorted(set(found) - known)} of Conv are not known here")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def sides_of_padding(attributes: dict[str, Any], image: tuple[int, int], kernel: tuple[int, int]) -> Any:
    """((top, bottom), (left, right)). With SAME_*, ceil(size / stride) outputs; the odd one out goes after with
    SAME_UPPER and before with SAME_LOWER."""
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto == "NOTSET":
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        return ((top, bottom), (left, right))
    if auto == "VALID":
        return ((0, 0), (0, 0))
    sides = []
    strides, dilations = (attributes.get(name, (1, 1)) for name in ("strides", "dilations"))
    for size, taps, stride, dilation in zip(image, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (taps - 1) + 1 - size)
        small, large = total // 2, total - total // 2
        sides.append((large, small) if auto == "SAME_LOWER" else (small, large))
    return tuple(sides)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], list) and not isinstance(value[0][0], list):  # rows of an image
            return "[\n" + "".join(f"    {_toml(row)},\n" for row in value) + "]"
        return f"[{', '.join(map(_toml, value))}]"
    number = float(value)
    return str(int(number)) if number == int(number) else repr(number)


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
