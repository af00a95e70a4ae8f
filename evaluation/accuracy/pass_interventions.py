"""What makes a convolution take longer inside a pass of a model than alone? Each suspect is put right inside the pass,
untimed and right before every convolution, and the time that this takes off is that suspect's share.

In one process, by turns, passes of one of torchvision's models in torch, in which each `Conv2d` is timed:

    as it is     nothing is done
    output       memory of the output's size is allocated where the layer's will be, written and given back
    input        the input is written again, with the same values
    weights      the weights are read
    library      the library computes another, small layer
    output+input, output+input+library, all   these together
    again        the layer itself is computed, its output dropped, and computed again

    python evaluation/accuracy/pass_interventions.py [--model NAME ...] [--engine NAME ...] [--rounds 20] [--layers]

Printed are the sums over the convolutions of a pass in milliseconds: medians over rounds. With --layers also those
convolutions whose time changes most. Needs torchvision. Under a minute for a model and engine.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from convbench.extraction.torchvision_operators import compiled_operators
from convbench.measurement.machine.affinity import cores_here, move_here
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.workers.process_environment import worker_environment

SUSPECTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "output": ("output",),
    "input": ("input",),
    "weights": ("weights",),
    "library": ("library",),
    "output+input": ("output", "input"),
    "output+input+library": ("output", "input", "library"),
    "all": ("weights", "output", "input", "library"),
    "again": ("again",),
}


class Watched:
    """A model whose convolutions are timed, each after what `suspects` name is put right."""

    def __init__(self, model: str, channels_last: bool) -> None:
        import torch

        with compiled_operators():
            models = importlib.import_module("torchvision.models")
        torch.manual_seed(0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.module = models.get_model(model, weights=None).eval().to(memory_format=layout)
        self.image = torch.rand(1, 3, 224, 224).to(memory_format=layout)
        self.suspects: tuple[str, ...] = ()
        self.taken_s: list[float] = []
        self.labels: list[str] = []
        self.same_place = self.faults = 0
        small, of_small = torch.ones(1, 16, 8, 8), torch.ones(16, 16, 3, 3)
        small, of_small = small.to(memory_format=layout), of_small.to(memory_format=layout)
        self.small = lambda: torch.nn.functional.conv2d(small, of_small, padding=1)
        for part in self.module.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.forward = self._timed(part)

    def _timed(self, part: Any) -> Callable[[Any], Any]:
        import torch
        from torch.nn.functional import conv2d

        w, b = part.weight, part.bias
        settings = part.stride, part.padding, part.dilation, part.groups
        shapes: list[Any] = []  # the output's shape and strides, known after the first pass

        def put_right(x: Any) -> int | None:
            place = None
            if "weights" in self.suspects:
                w.sum()
            if "output" in self.suspects and shapes:
                y = torch.empty_strided(*shapes)
                place = y.fill_(0.0).data_ptr()
            if "input" in self.suspects:
                x.mul_(1.0)
            if "library" in self.suspects:
                self.small()
            if "again" in self.suspects:
                conv2d(x, w, b, *settings)
            return place

        def forward(x: Any) -> Any:
            place = put_right(x)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            start = time.perf_counter()
            y = conv2d(x, w, b, *settings)
            self.taken_s.append(time.perf_counter() - start)
            self.faults += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
            self.same_place += y.data_ptr() == place
            if not shapes:
                shapes.extend((y.shape, y.stride()))
                kernel = "x".join(map(str, part.kernel_size))
                self.labels.append(f"{tuple(x.shape[1:])} -> {tuple(y.shape[1:])}, {kernel}, groups {part.groups}")
            return y

        return forward

    def pass_s(self, suspects: tuple[str, ...]) -> list[float]:
        import torch

        self.suspects = suspects
        self.taken_s.clear()
        self.same_place = self.faults = 0
        with torch.no_grad():
            self.image.copy_(self.image.clone())
            self.module(self.image)
        return list(self.taken_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="of torchvision (default: mobilenet_v2)")
    parser.add_argument("--engine", action="append", choices=["torch", "torch-channels-last"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--layers", action="store_true", help="print the layers that change most, too")
    arguments = parser.parse_args()
    if os.environ.get("PASS_INTERVENTIONS") is None:  # the allocator's settings are read when a process starts
        environment = worker_environment(1, "steady") | {"PASS_INTERVENTIONS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    import torch

    torch.set_num_threads(1)
    start = time.monotonic()
    move_here(cores_here("auto", 1))
    print(f"{machine_facts()['cpu']}, one thread, {arguments.rounds} rounds; sums in ms")
    for model in arguments.model or ["mobilenet_v2"]:
        for engine in arguments.engine or ["torch-channels-last", "torch"]:
            show(model, engine, arguments.rounds, arguments.layers)
    print(f"{time.monotonic() - start:.0f} s, load {os.getloadavg()[0]:.1f}")


def show(model: str, engine: str, rounds: int, layers: bool) -> None:
    watched = Watched(model, engine != "torch")
    found: dict[str, list[list[float]]] = {name: [] for name in SUSPECTS}
    notes: dict[str, tuple[int, int]] = {}
    order = random.Random(0)
    for number in range(rounds + 1):
        for name in order.sample(list(SUSPECTS), len(SUSPECTS)):
            taken = [watched.pass_s(SUSPECTS[name]) for _ in range(4)][1:]
            notes[name] = watched.faults, watched.same_place
            if number:
                found[name] += taken
    by_layer = {name: [median(column) for column in zip(*taken, strict=True)] for name, taken in found.items()}
    whole = sum(by_layer["as it is"])
    print(f"\n{model}, {engine}: {len(watched.labels)} convolutions")
    for name, seconds in by_layer.items():
        faults, same = notes[name]
        told = f", output where it was written in {same}" if "output" in SUSPECTS[name] else ""
        print(f"  {name:<22}{sum(seconds) * 1e3:8.3f}  {sum(seconds) / whole:6.3f}   {faults} page faults{told}")
    if layers:
        names = [name for name in SUSPECTS if name != "all"]
        print("  " + "  ".join(names))
        lost = sorted(range(len(watched.labels)), key=lambda at: by_layer["again"][at] - by_layer["as it is"][at])
        for at in lost[:12]:
            print("  " + " ".join(f"{by_layer[name][at] * 1e3:7.3f}" for name in names), watched.labels[at])


if __name__ == "__main__":
    main()
