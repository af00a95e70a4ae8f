"""Models for the tests of `extract`: small, and each with a way of its own to run a convolution."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class Plain(nn.Module):
    """What is declared, what is called, what is called twice, and what never is."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.again = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.never = nn.Conv2d(8, 8, 5)
        self.kernel = nn.Parameter(torch.zeros(4, 8, 1, 1))

    def forward(self, x: Any) -> Any:
        x = self.again(self.again(self.first(x)))
        return F.conv2d(x, self.kernel)


class Paddings(nn.Module):
    """Padding as a module, a function, a mode, a word, and around a convolution that pads as well."""

    def __init__(self) -> None:
        super().__init__()
        self.zeros = nn.Sequential(nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(3, 3, 3))
        self.reflect = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
        self.circular = nn.Conv2d(3, 3, 3, padding=(1, 2), padding_mode="circular")
        self.same = nn.Conv2d(3, 3, (2, 3), padding="same", dilation=3)
        self.both = nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Identity(), nn.Conv2d(3, 3, 3, padding=1))

    def forward(self, x: Any) -> Any:
        x = self.both(self.same(self.circular(self.reflect(self.zeros(x)))))
        weight = x.new_zeros((3, 3, 3, 3))
        x = F.conv2d(F.pad(x, (1, 1, 2, 2), mode="replicate"), weight, padding="valid")
        return F.conv2d(F.pad(x, (-1, 0, 0, 2)), weight, stride=2)


class NotOnePadding(nn.Module):
    """Paddings that are not the convolution's: of ones, of what is read or changed too, of two kinds."""

    def forward(self, x: Any) -> Any:
        weight = x.new_zeros((3, 3, 3, 3))
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), value=1.0), weight)
        padded = F.pad(x, (1, 1, 1, 1))
        x = F.conv2d(padded, weight) + padded[:, :, 1:-1, 1:-1]
        changed = F.pad(x, (1, 1, 1, 1))
        changed += 1
        x = F.conv2d(changed, weight)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, padding=1)
        return F.conv2d(F.pad(x, (-2, 0, 0, 0)), weight, padding=1)


class Others(nn.Module):
    """Convolutions that are no conv2d, beside one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv1d(3, 3, 3, padding=1)
        self.two = nn.Conv2d(3, 4, 3)
        self.three = nn.Conv3d(1, 1, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 3, 2)

    def forward(self, x: Any) -> Any:
        y = self.one(x.flatten(2)).unflatten(2, x.shape[2:])
        y = self.three(y.unsqueeze(1)).squeeze(1)
        return self.two(self.up(y))


class WithoutBatch(nn.Module):
    """Torch takes an image that has no batch as one."""

    example_input_array = torch.zeros(3, 6, 7)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Any) -> Any:
        return self.conv(F.pad(x, (1, 1, 0, 0), mode="reflect"))


class Chatty(Plain):
    """Prints, makes tensors without saying where, and looks at values when it is made."""

    example_input_array = torch.zeros(2, 3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        print("made", torch.ones(3).sum().item())  # noqa: T201

    def forward(self, x: Any) -> Any:
        print("run")  # noqa: T201
        return super().forward(x + torch.zeros(3, 8, 8))


class DependsOnData(nn.Module):
    """Whether it convolves is decided by what it is given."""

    def forward(self, x: Any) -> Any:
        return F.conv2d(x, x.new_zeros((1, 3, 3, 3))) if x.sum() > 0 else x


class DependsOnDataLater(Plain):
    """What it does with the answer is decided by what that is."""

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        return F.conv2d(y, y.new_zeros((1, 4, 1, 1))) if y.sum().item() > 0 else y


class Broken(nn.Module):
    """Cannot be made."""

    def __init__(self) -> None:
        super().__init__()
        raise ValueError("no\nsuch [bold]luck[/bold]")


class WithoutConvolutions(nn.Linear):
    """Has none."""

    example_input_array = torch.zeros(1, 4)

    def __init__(self) -> None:
        super().__init__(4, 4)


def half() -> nn.Module:
    """In float16."""
    return Plain().half()


ready = Plain()
number = 3
