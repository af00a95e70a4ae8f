"""The transposed convolutions of generative models: extracted, verified and timed, each as the gradient of an input.

DCGAN's generator as published (Radford, Metz and Chintala 2016, arXiv:1511.06434, figure 1): a projection to 1024 maps
of 4x4, then four fractionally-strided convolutions of 5x5 to an image of 64x64, with batch norm and ReLU between them.
And Mask R-CNN of torchvision, whose head of masks has one.

    python evaluation/engines/generative_models.py [--batch 16] [--backend torch --backend jax ...] [--quick]

Prints what `extract`, `verify` and `run` say. It needs torch and torchvision, and takes about 3 minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn

_MASKS = "torchvision:maskrcnn_resnet50_fpn"
_DEFAULT = ("torch", "torch-channels-last", "jax", "onednn", "tensorflow", "numba-direct")


class Dcgan(nn.Module):
    """From 100 random numbers to an image of 3x64x64."""

    def __init__(self, noise: int = 100, maps: int = 1024) -> None:
        super().__init__()
        self.project = nn.Linear(noise, maps * 4 * 4)
        sizes = [maps, maps // 2, maps // 4, maps // 8]
        layers: list[nn.Module] = [nn.BatchNorm2d(maps), nn.ReLU()]
        for before, after in pairwise(sizes):
            up = nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=False)
            layers += [up, nn.BatchNorm2d(after), nn.ReLU()]
        out = nn.ConvTranspose2d(sizes[-1], 3, 5, stride=2, padding=2, output_padding=1, bias=False)
        self.generate = nn.Sequential(*layers, out, nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        projected = self.project(noise)
        image: Tensor = self.generate(projected.view(len(noise), -1, 4, 4))
        return image


def dcgan() -> Dcgan:
    """The generator, in evaluation mode."""
    return Dcgan().eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--backend", action="append", help="several times; by default six")
    parser.add_argument("--quick", action="store_true")
    words = parser.parse_args()
    backends = [word for name in words.backend or _DEFAULT for word in ("--backend", name)]
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "dcgan.toml")
        model = f"{Path(__file__)}:dcgan"
        _convbench("extract", model, "--input", f"{words.batch},100", "--output", suite)
        _convbench("extract", _MASKS, "--where", 'direction == "input_gradient"')
        more = ["--quick"] if words.quick else []
        common = [*backends, "--results", folder]
        _convbench("verify", "--suite", suite, *common)
        _convbench("run", "--suite", suite, "--no-asv", *more, *common)


def _convbench(*words: str | Path) -> None:
    line = [*map(str, words)]
    print("$ convbench", *line, flush=True)
    subprocess.run([sys.executable, "-m", "convbench", *line], check=False, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    main()
