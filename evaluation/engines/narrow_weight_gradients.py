"""On which narrow images is torch's gradient of a weight wrong in bfloat16? Random small shapes, and a single column.

    MALLOC_PERTURB_=1 python evaluation/engines/narrow_weight_gradients.py [--shapes 4000] [--seed 0]
    python evaluation/engines/narrow_weight_gradients.py --single-column

Operands are small integers, so that a right answer is exact. With `MALLOC_PERTURB_` glibc fills memory before it hands
it out, so that what is not written shows. With `--single-column` memory is freed that is full of NaN, and the gradient
of one column of pixels with a stride across is computed 200 times: NaN in it was read from beside the image.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from dataclasses import dataclass

import torch
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from convbench.measurement.machine.facts import machine_facts

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


@dataclass(frozen=True)
class Shape:
    """An image of one row or more, with padding and a stride across."""

    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    stride: int
    padding: int

    @property
    def is_narrow(self) -> bool:
        """Whether the image is no wider than the stride."""
        return self.width <= self.stride > 1

    @property
    def has_unseen_tap(self) -> bool:
        """Whether a tap of the kernel meets padding alone."""
        columns = range((self.width + 2 * self.padding - self.kernel[1]) // self.stride + 1)
        taps = range(self.kernel[1])
        return any(all(not 0 <= q * self.stride + tap - self.padding < self.width for q in columns) for tap in taps)


def drawn(rng: random.Random) -> Shape:
    while True:
        kernel = rng.randint(1, 2), rng.randint(1, 4)
        channels = rng.choice([1, 2, 3, 7, 16, 17, 32]), rng.choice([1, 3, 16, 17, 32])
        shape = Shape(*channels, rng.randint(1, 4), rng.randint(1, 6), kernel, rng.randint(1, 5), rng.randint(0, 3))
        if shape.height >= kernel[0] and shape.width + 2 * shape.padding >= kernel[1]:
            return shape


def is_wrong(shape: Shape, layout: str) -> bool:
    """Whether one of four gradients in bfloat16 differs from that in float64."""
    image = torch.randint(-3, 4, (1, shape.in_channels, shape.height, shape.width)).double()
    weight = torch.randint(-3, 4, (shape.out_channels, shape.in_channels, *shape.kernel)).double()
    options = [1, shape.stride], [0, shape.padding]
    y_gradient = torch.randint(-3, 4, functional.conv2d(image, weight, None, *options).shape).double()
    right = conv2d_weight(image, weight.shape, y_gradient, *options)  # type: ignore[no-untyped-call]
    half = [t.bfloat16().contiguous(memory_format=FORMATS[layout]) for t in (y_gradient, image, weight)]
    taken = None, *options, [1, 1], False, [0, 0], 1, [False, True, False]
    answers = (torch.ops.aten.convolution_backward(*half, *taken)[1] for _ in range(4))
    return any(not torch.equal(answer.double(), right) for answer in answers)


def nan_in(channels: int, times: int = 200) -> int:
    """In how many of so many gradients of one column of pixels, with a stride of 4 across, a NaN is."""
    count = 0
    for _ in range(times):
        freed = [torch.full((size,), torch.nan, dtype=torch.bfloat16) for size in (7, 64, 100, 512, 1000, 4096, 32768)]
        del freed
        image = torch.ones(1, channels, 10, 1).bfloat16().requires_grad_()
        weight = torch.ones(32, channels, 2, 1).bfloat16().requires_grad_()
        y = functional.conv2d(image, weight, stride=(1, 4))
        _, gradient = torch.autograd.grad(y, (image, weight), torch.ones_like(y))
        count += bool(gradient.isnan().any())
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--single-column", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}; torch {torch.__version__}, one thread\n")
    if options.single_column:
        for channels in (1, 5, 7, 8, 9, 15, 16, 17):
            print(f"{channels:>2} channels: NaN in {nan_in(channels)} of 200 gradients")
        return
    rng = random.Random(options.seed)
    asked: Counter[tuple[str, str, str, str]] = Counter()
    wrong: Counter[tuple[str, str, str, str]] = Counter()
    for _ in range(options.shapes):
        shape, layout = drawn(rng), rng.choice(list(FORMATS))
        narrow = "no wider than the stride" if shape.is_narrow else "wider, or stride 1"
        taps = "a tap of padding alone" if shape.has_unseen_tap else "each tap has a pixel"
        kind = layout, narrow, taps, f"{'16 or more' if shape.in_channels >= 16 else 'fewer'} channels"
        asked[kind] += 1
        wrong[kind] += is_wrong(shape, layout)
    for kind in sorted(asked):
        print(f"{kind[0]:<14} {kind[1]:<25} {kind[2]:<23} {kind[3]:<20} {wrong[kind]:>4} of {asked[kind]:>4} wrong")


if __name__ == "__main__":
    main()
