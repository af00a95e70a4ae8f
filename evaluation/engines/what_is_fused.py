"""What of an epilogue each installed backend computes within its convolution, by `Ready.explain`.

    python evaluation/engines/what_is_fused.py [PROBLEM] [--backend 'torch*'] [--epilogue relu,add_relu,relu_add]

A line for each backend: how many of the epilogues it fuses wholly, and which parts it computes apart for the rest. Each
backend is asked in a process of its own. It takes about a minute, with inductor and IREE, which compile, some three.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatchcase

from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.runner.selection import epilogues_named
from convbench.verification.operands import normal_operands

_PROBLEM = "n1c64h56w56_o64k3_p1_bias"
_LIMIT_S = 600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("problem", nargs="?", default=_PROBLEM, metavar="PROBLEM")
    parser.add_argument("--backend", default="*", metavar="GLOB")
    parser.add_argument("--epilogue", default="all", metavar="E,E,...")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_implementations(options)))
        return 0
    for entry in discover(()):
        backend = entry.backend
        fuses = backend.supports.activations or backend.supports.residuals
        if fuses and backend.unavailable() is None and fnmatchcase(backend.name, options.backend):
            own = [sys.executable, __file__, options.problem, "--backend", backend.name, "--epilogue", options.epilogue]
            done = subprocess.run([*own, "--one"], capture_output=True, text=True, timeout=_LIMIT_S)
            print(_line(backend.name, done), flush=True)
    return 0


def _implementations(options: argparse.Namespace) -> dict[str, str | None]:
    backend = next(entry.backend for entry in discover(()) if entry.name == options.backend)
    backend.limit_threads(1)
    bare, said = ConvProblem.parse(options.problem), {}
    for epilogue in epilogues_named(options.epilogue):
        problem = bare.replace(epilogue=epilogue)
        if backend.unsupported(problem) is None:
            ready = normal_operands(problem, 0).prepared_by(backend, problem)
            ready.run()
            said[str(epilogue)] = ready.explain() if ready.explain else ready.kernel
    return said


def _line(name: str, done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        return f"{name:24} failed: {done.stderr.strip().splitlines()[-1:]}"
    said = json.loads(done.stdout.splitlines()[-1])
    fused = [word for word, text in said.items() if text and text.endswith(", fused")]
    apart = Counter((text or "not known").rpartition(", ")[2] for word, text in said.items() if word not in fused)
    kernel = next((text.rpartition(", ")[0] for text in said.values() if text), "")
    rest = "; ".join(f"{count} {text}" for text, count in apart.most_common(4)) + ("; ..." if len(apart) > 4 else "")
    return f"{name:24} {len(fused):2} of {len(said):2} fused  {kernel:30} {rest}"


if __name__ == "__main__":
    sys.exit(main())
