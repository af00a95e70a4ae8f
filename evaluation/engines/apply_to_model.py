"""What `convbench.apply` makes of a whole model: whether its outputs stay, and its time before and after.

    convbench choose --model timm:resnet50 --for apply --threads 2 --plan resnet50.json
    python evaluation/engines/apply_to_model.py timm:resnet50 resnet50.json

or, without a choice before it, all layers folded and joined by one backend:

    python evaluation/engines/apply_to_model.py timm:resnet50 --backend torch-packed --threads 2

takes timm's and torchvision's models by name, with random weights, since these change no times; batch normalisation is
given the statistics of a few random pictures, so that what is computed stays in range.
"""

from __future__ import annotations

import argparse
import importlib
import time
from datetime import UTC, datetime
from typing import Any

import torch

import convbench
from convbench.extraction.torchvision_operators import compiled_operators
from convbench.measurement.machine.facts import machine_facts
from convbench.plans.joined.graph import traced_graph
from convbench.plans.joined.layer import joined_layers
from convbench.plans.layers import layers_that_run
from convbench.plans.plan import Choice, Plan


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


def plan_for(model: Any, x: Any, backend: str, threads: int) -> Plan:
    """A plan that has `backend` for every convolution of the model, with all that is joined to it. Its times say
    nothing."""
    layers = layers_that_run(model, (x,))
    graph = traced_graph(model, (x,), {layer.name for layer in layers if layer.refusal is None})
    if isinstance(graph, str):
        raise SystemExit(f"nothing is joined: {graph}")
    joined = joined_layers(model, graph)
    problems = {
        (joined[layer.name].problem(problem) if layer.name in joined else problem).case_id
        for layer in layers
        for problem in layer.problems.values()
    }
    times = {"call_s": 1.0, "low_s": 1.0, "high_s": 1.0}
    choices = tuple(Choice(case_id=c, backend=backend, basis="predicted", **times) for c in sorted(problems))
    facts = {"machine": "here", "cpu": machine_facts()["cpu"], "made": datetime.now(UTC).isoformat()}
    return Plan(threads=threads, choices=choices, **facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="timm:NAME or torchvision:NAME")
    parser.add_argument("plan", nargs="?", help="a plan file, as `convbench choose --plan` writes it")
    parser.add_argument("--backend", help="without a plan: compute every layer by this backend")
    parser.add_argument("--threads", type=int, default=1, help="without a plan; 1")
    parser.add_argument("--size", type=int, default=224, help="height and width of the input; 224")
    parser.add_argument("--seconds", type=float, default=60.0, help="to measure; 60")
    parser.add_argument("--even-if-slower", action="store_true", help="all that the plan says, whatever it costs")
    options = parser.parse_args()
    if (options.plan is None) == (options.backend is None):
        raise SystemExit("give a plan, or --backend.")
    plan = None if options.plan is None else convbench.read_plan(options.plan)
    torch.set_num_threads(options.threads if plan is None else plan.threads)
    model = made(options.model).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 3, options.size, options.size))
    model.eval()
    x = torch.randn(1, 3, options.size, options.size)
    plan = plan or plan_for(model, x, options.backend, options.threads)
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
