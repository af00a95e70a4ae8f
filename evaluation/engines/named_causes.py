"""Is a fallback named? Ten comparisons of two runs of torch, between which oneDNN was switched off or capped.

    python evaluation/engines/named_causes.py [--comparisons 10] [--seed 0]

Each comparison is of a layer of zoo-100, drawn at random among those of few operations that torch gives to oneDNN. The
base has oneDNN as it is; in the new run it is off (`torch.backends.mkldnn.enabled`) or capped to a narrower instruction
set (`ONEDNN_MAX_CPU_ISA`), in turn. The cause counts as named if `convbench compare` shows the kernel before and after.
As many controls, in which nothing was changed, have to name nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from switched_torch import VARIABLE

from convbench.measurement.machine.facts import machine_facts
from convbench.suite import load_suite

PLUGIN = Path(__file__).with_name("switched_torch.py")
MOST_FLOPS, FEWEST_INPUTS = 2e8, 20_480  # torch leaves single small images to its own kernels
CAPS = {"AVX-512": "AVX2", "AVX2": "SSE41"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--comparisons", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    facts = machine_facts()
    cap = CAPS.get(str(facts["vector_isa"]), "AVX2")
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}")
    changes = [{VARIABLE: "off"}, {"ONEDNN_MAX_CPU_ISA": cap}]
    named = controls = 0
    with tempfile.TemporaryDirectory() as folder:
        layers = _layers(options.seed, Path(folder))
        for number, (case_id, base) in zip(range(options.comparisons), layers, strict=False):
            change = changes[number % len(changes)]
            same, changed = (_compared(base, _run(case_id, env, Path(folder))) for env in ({}, change))
            named += changed[0] is not None and changed[1] is not None and changed[0] != changed[1]
            controls += same[0] == same[1]
            what = " ".join(f"{key}={value}" for key, value in change.items())
            print(f"{case_id:34} {what:28} {changed[0]} -> {changed[1]}", flush=True)
    print(f"named in {named} of {options.comparisons}; unchanged in {controls} of {options.comparisons} controls")


def _layers(seed: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """Layers that torch gives to oneDNN, each with its base run."""
    problems = [case.problem for case in load_suite("zoo-100").cases]
    large = [
        p for p in problems if p.flops < MOST_FLOPS and p.batch * p.in_channels * p.height * p.width > FEWEST_INPUTS
    ]
    random.Random(seed).shuffle(large)
    for problem in large:
        base = _run(problem.case_id, {}, folder)
        kernel = json.loads(base.read_text().splitlines()[-1]).get("implementation")
        if kernel is not None and ":" in kernel:  # oneDNN's names have a colon
            yield problem.case_id, base


def _run(case_id: str, environment: dict[str, str], folder: Path) -> Path:
    """The journal of a run of one layer under these environment variables."""
    results = Path(tempfile.mkdtemp(dir=folder))
    command = ["run", "--problem", case_id, "--plugin", str(PLUGIN), "--backend", "torch-switched", "--quick"]
    _convbench([*command, "--results", str(results), "--no-asv"], environment)
    (journal,) = results.rglob("*.jsonl")
    return journal


def _compared(base: Path, new: Path) -> tuple[str | None, str | None]:
    """The kernels before and after that `convbench compare` names."""
    lines = _convbench(["compare", str(base), str(new), "--json"], {}).splitlines()
    row: dict[str, Any] = json.loads(lines[0])
    return row["base_implementation"], row["new_implementation"]


def _convbench(arguments: list[str], environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "convbench", *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} left with {done.returncode}:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
