"""The suite `torch-opinfo`: the sample inputs that PyTorch's own tests ask nn.functional.conv2d with.

    python tests/support/suite_of_torch_opinfo.py        # writes suites/torch-opinfo.toml

Needs torch, and `expecttest`, which its testing modules import.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from places import SUITES

from convbench.problem import ConvProblem

PATH = SUITES / "torch-opinfo.toml"
_DEFAULTS = {f.name: f.default for f in fields(ConvProblem)}
_HEAD = """\
# Made by tests/support/suite_of_torch_opinfo.py, which also says when this file is no longer what `torch` ships.
#
# The sample inputs of nn.functional.conv2d in PyTorch {version}
# (torch/testing/_internal/common_methods_invocations.py): shapes and parameters alone, data are drawn here. Samples
# without a batch are written with a batch of 1, and what is then the same problem is there once. Copyright (c)
# Facebook, Inc. and the PyTorch contributors, licensed under BSD-3-Clause
# (https://github.com/pytorch/pytorch/blob/main/LICENSE).
name = "torch-opinfo"
summary = "The shapes and parameters that PyTorch's own tests ask conv2d with."
tags = ["conformance", "shape"]
case = [
"""


def text() -> str:
    """The suite's TOML, from the installed `torch`."""
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    [conv2d] = [op for op in op_db if op.name == "nn.functional.conv2d"]
    problems = dict.fromkeys(_problem(sample) for sample in conv2d.sample_inputs("cpu", torch.float32))
    lines = [f"    {{ {', '.join(_arguments(problem))} }},\n" for problem in problems]
    version = ".".join(torch.__version__.split(".")[:2])
    return "".join([_HEAD.format(version=version), *lines, "]\n"])


def _problem(sample: Any) -> ConvProblem:
    weight, bias = (*sample.args, None)[:2]
    batch, channels, height, width = (1, *sample.input.shape)[-4:]
    known = {"stride", "padding", "dilation", "groups"}
    if set(sample.kwargs) - known:
        raise ValueError(f"arguments {sorted(set(sample.kwargs) - known)} of conv2d are not known here")
    return ConvProblem(
        batch=batch,
        in_channels=channels,
        height=height,
        width=width,
        out_channels=weight.shape[0],
        kernel_size=tuple(weight.shape[2:]),
        bias=bias is not None,
        **sample.kwargs,
    )


def _arguments(problem: ConvProblem) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in problem.as_dict().items() if value != _DEFAULTS.get(key)]


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower()


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
