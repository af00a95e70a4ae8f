"""What `convbench.apply` makes of a whole model: whether its outputs stay, and its time before and after.

    convbench choose --model timm:resnet50 --threads 2 --plan resnet50.json
    python evaluation/engines/apply_to_model.py timm:resnet50 resnet50.json

takes timm's and torchvision's models by name, with random weights, since these change no times; batch normalisation is
given the statistics of a few random pictures, so that what is computed stays in range.
"""

from __future__ import annotations

import argparse
import importlib
import time
from typing import Any

import torch

import convbench
from convbench.extraction.torchvision_operators import compiled_operators
from convbench.measurement.machine.facts import machine_facts


def made(source: str) -> Any:
    """The model of that name, random and in evaluation mode."""
    library, _, name = source.partition(":")
    torch.manual_seed(0)
    with compiled_operators():
        if library == "timm":
            model = importlib.import_module("timm").create_model(name)
        elif library == "torchvision":
            model = importlib.import_module("torchvision").models.get_model(name, weights=None)
        else:
            raise SystemExit(f"{source!r} names no model; it should be timm:NAME or torchvision:NAME.")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="timm:NAME or torchvision:NAME")
    parser.add_argument("plan", help="a plan file, as `convbench choose --plan` writes it")
    parser.add_argument("--size", type=int, default=224, help="height and width of the input; 224")
    parser.add_argument("--seconds", type=float, default=60.0, help="to measure; 60")
    parser.add_argument("--even-if-slower", action="store_true", help="all that the plan says, whatever it costs")
    options = parser.parse_args()
    plan = convbench.read_plan(options.plan)
    torch.set_num_threads(plan.threads)
    model = made(options.model).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 3, options.size, options.size))
    model.eval()
    x = torch.randn(1, 3, options.size, options.size)
    start = time.perf_counter()
    applied = convbench.apply(model, plan, x, seconds=options.seconds, even_if_slower=options.even_if_slower)
    print(f"{machine_facts()['cpu']}, torch {torch.__version__}, {plan.threads} threads, {options.model}\n")
    for way, ratio in applied.report.tried:
        print(f"tried   {way}: {ratio:.3f}x")
    print(applied.report)
    with torch.no_grad():
        others = [torch.randn_like(x) for _ in range(3)]
        pairs = [(model(other), applied.model(other)) for other in others]
    worst = max(float((one - two).abs().max() / one.abs().max()) for one, two in pairs)
    print(f"\non 3 other inputs the outputs differ by at most {worst:.1e} of the largest element")
    print(f"apply took {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
