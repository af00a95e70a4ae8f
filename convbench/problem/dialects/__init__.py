"""The field's ways to write a convolution down. Most can be read, and four can be written.

The looks of a text decide which dialect it is in, and only the reader of that dialect sees it. So an error speaks of
the form that was meant. Text is matched, never run. Readers give the arguments of `ConvProblem`.
"""

from __future__ import annotations

import re
from typing import Any

from convbench.errors import ProblemError
from convbench.problem.case_id import parse_case_id
from convbench.problem.dialects.benchdnn import looks_like_benchdnn, parse_benchdnn, to_benchdnn
from convbench.problem.dialects.miopen import looks_like_miopen, parse_miopen, to_miopen
from convbench.problem.dialects.onednn_verbose import looks_like_onednn_verbose, parse_onednn_verbose
from convbench.problem.dialects.onnx import to_onnx
from convbench.problem.dialects.torch import looks_like_torch, parse_torch, to_torch

__all__ = ["parse", "to_benchdnn", "to_miopen", "to_onnx", "to_torch"]

_LONGEST = 20_000
_FORMS = """These forms are understood:
  a case id          n1c64h56w56_o64k3_p1
  benchdnn           --conv --dir=FWD_D mb1ic64ih56oc64oh56kh3ph1
  ONEDNN_VERBOSE     onednn_verbose,primitive,exec,cpu,convolution,...
  MIOpenDriver       MIOpenDriver conv -n 1 -c 64 -H 56 -W 56 -k 64 -y 3 -x 3 -p 1 -q 1
  a torch snippet    x = torch.randn(1, 64, 56, 56); conv = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False)"""


def parse(text: str) -> dict[str, Any]:
    """The arguments of `ConvProblem` that a case id, benchdnn descriptor, MIOpenDriver line or torch snippet names.

    Raises `ProblemError` when the text is none of these.
    """
    if len(text) > _LONGEST:
        raise ProblemError(f"a text of {len(text)} characters names no convolution. {_FORMS}")
    if looks_like_onednn_verbose(text):
        return parse_onednn_verbose(text)
    if looks_like_torch(text):
        return parse_torch(text)
    if looks_like_miopen(text):
        return parse_miopen(text)
    if looks_like_benchdnn(text):
        return parse_benchdnn(text)
    if re.match(r"\s*n[0-9]+\s*c[0-9]", text):
        return parse_case_id(text)
    shown = text if len(text) <= 80 else text[:77] + "..."
    raise ProblemError(f"{shown!r} names no convolution. {_FORMS}")
