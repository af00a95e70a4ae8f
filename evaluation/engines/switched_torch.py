"""A backend for `named_causes.py`: torch's conv2d, with oneDNN or without, as an environment variable says."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from convbench.backends._torch.conv2d import TorchConv2d

from convbench.backend import Ready
from convbench.problem import ConvProblem

VARIABLE = "NAMED_CAUSES_ONEDNN"


class SwitchedTorch(TorchConv2d):
    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        import torch

        torch.backends.mkldnn.enabled = os.environ.get(VARIABLE) != "off"
        return replace(super().prepare(problem, x, w, b), on={})


BACKENDS = (SwitchedTorch("torch-switched", "F.conv2d, with or without oneDNN"),)
