"""The machine's peak rates as convbench measures them, beside the rates of convolutions, and their plausibility.

    python evaluation/accuracy/ceilings.py [--threads 1 2] [--backend numba-direct --backend 'torch*'] [--quick]

Measures the ceilings as `convbench machine --measure` does. Then runs some compute-bound layers with `convbench run`,
each backend in its own worker process, and prints GFLOP/s, operations per cycle of a core's clock, and shares. A loop
is plausible if its operations are a whole number of vectors per cycle: two of AVX2, one or two of AVX-512.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from convbench.analysis.roofline import Limits
from convbench.measurement.ceilings.figures import Ceilings, Figure
from convbench.measurement.ceilings.process import measure_ceilings
from convbench.measurement.machine.facts import machine_facts, usable_cpus
from convbench.problem import ConvProblem

LAYERS = ("n1c64h56w56_o64k3_p1", "n1c128h28w28_o128k3_p1", "n1c256h14w14_o256k3_p1", "n1c256h56w56_o64k1")
VECTOR_BYTES = {"AVX-512": 64, "AVX2": 32, "AVX-VNNI": 32, "NEON": 16, "FMLA": 16, "BFDOT": 16, "SDOT": 16}
ITEM_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, usable_cpus()}))
    parser.add_argument("--backend", action="append", default=[], help="a glob; repeatable")
    parser.add_argument("--quick", action="store_true", help="fewer samples of the convolutions")
    options = parser.parse_args()
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}")
    for threads in options.threads:
        ceilings = measure_ceilings(threads)
        print_ceilings(ceilings)
        print_convolutions(ceilings, options.backend or ["numba-direct", "torch*"], options.quick)


def print_ceilings(ceilings: Ceilings) -> None:
    clock = f", clock {ceilings.clock.value / 1e9:.2f} GHz" if ceilings.clock else ""
    print(f"\nthreads: {ceilings.threads}{clock}\n")
    print(f"{'ceiling':52} {'GOP/s':>8} {'95 % interval':>17} {'a cycle':>8}  plausible")
    for kind in (ceilings.multiply_adds, ceilings.matrix_products):
        for dtype, figures in kind.items():
            for figure in figures:
                interval = f"[{figure.low / 1e9:.1f}, {figure.high / 1e9:.1f}]"
                per_cycle = ceilings.per_cycle(figure) or float("nan")
                told = plausibility(dtype, figure, per_cycle)
                print(
                    f"{f'{dtype}, {figure.how}':52} {figure.value / 1e9:8.1f} {interval:>17} {per_cycle:8.2f}  {told}"
                )
    print(f"\n{'level':52} {'GB/s':>8} {'95 % interval':>17} {'B/cycle':>8}")
    for level in ceilings.levels:
        for figure in level.figures:
            interval = f"[{figure.low / 1e9:.1f}, {figure.high / 1e9:.1f}]"
            per_cycle = ceilings.per_cycle(figure) or float("nan")
            print(f"{f'{level.name}, {figure.how}':52} {figure.value / 1e9:8.1f} {interval:>17} {per_cycle:8.2f}")
    for note in ceilings.notes:
        print(f"note: {note}")


def plausibility(dtype: str, figure: Figure, per_cycle: float) -> str:
    """The operations of a cycle as vectors of multiply-adds a core starts in it; empty for matrix products and for
    instructions that multiply matrices."""
    size = next((size for name, size in VECTOR_BYTES.items() if figure.how.startswith(name)), None)
    if size is None:
        return ""
    lanes = size // ITEM_BYTES[dtype]
    return f"{per_cycle / (2 * lanes):.2f} vectors of {lanes} a cycle"


def print_convolutions(ceilings: Ceilings, backends: list[str], quick: bool) -> None:
    limits = Limits([ceilings])
    print(f"\n{'convolution':26} {'backend':24} {'GFLOP/s':>8} {'% of limit':>11}  bound")
    records = [record for record in run(ceilings.threads, backends, quick) if record["median_s"]]
    for record in sorted(records, key=lambda record: (LAYERS.index(record["case"]), record["median_s"])):
        found = limits.of(record)
        if found is not None:
            share = found.share(record["median_s"])
            print(f"{record['case']:26} {record['backend']:24} {record['gflops']:8.1f} {share:11.1%}  {found.bound}")


def case(case_id: str) -> str:
    """The problem as a case of a suite's TOML, of whose values JSON is a part."""
    arguments = ConvProblem.parse(case_id).as_dict()
    return "[[case]]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in arguments.items())


def run(threads: int, backends: list[str], quick: bool) -> list[dict[str, Any]]:
    """The records of `convbench run` on the layers."""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "layers.toml"
        suite.write_text('name = "layers"\nsummary = "Compute-bound layers."\n' + "\n".join(map(case, LAYERS)))
        chosen = [word for name in backends for word in ("--backend", name)]
        words = ["run", "--suite", suite, "--threads", threads, "--results", folder, "--no-asv", "--json", *chosen]
        words += ["--quick"] if quick else []
        command = [sys.executable, "-m", "convbench", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.stdout:
            sys.exit(done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main()
