"""Models for the tests of what is joined to convolutions: each has one way to go on behind a convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

SHAPE = (1, 4, 9, 10)


class Behind(nn.Module):
    """One convolution with a batch norm, and `then(x, y)`, where `y` is their output for `x`."""

    def __init__(self, then: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.then = then

    def forward(self, x: Any) -> Any:
        return self.then(x, self.norm(self.conv(x)))


class Block(nn.Module):
    """A block of ResNet, with one module for all its activations, in place, and a sum in place."""

    def __init__(self, shortcut: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6)
        self.conv3, self.bn3 = nn.Conv2d(6, 8 if shortcut else 4, 1, bias=False), nn.BatchNorm2d(8 if shortcut else 4)
        self.shortcut = nn.Sequential(nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8)) if shortcut else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += self.shortcut(x)
        return self.relu(y)


class Net(nn.Module):
    """Two blocks, so that one reads what the other wrote in place, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), nn.Conv2d(8, 4, 1), nn.Hardswish(inplace=True), Block(shortcut=False))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.blocks(x).mean((2, 3)))


class TwoOperands(nn.Module):
    """A residual of another shape, a sum of one tensor with itself, and a scaled sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Any) -> Any:
        y = self.conv(x) + x.mean((2, 3), keepdim=True)
        z = self.conv(y)
        z = self.conv(z + z)
        return torch.add(z, x, alpha=2)


class PreActivation(nn.Module):
    """A batch norm and an activation before the convolution, as in DenseNet, and one that trains behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.by_batch = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x: Any) -> Any:
        return self.by_batch(self.conv(F.relu(self.norm(x))))


def with_statistics(module: Any, seed: int = 0) -> Any:
    """The module in evaluation mode, with batch norms that do something."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.track_running_stats:
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            with torch.no_grad():
                part.weight.uniform_(0.5, 2)
                part.bias.normal_()
    return module.eval()
