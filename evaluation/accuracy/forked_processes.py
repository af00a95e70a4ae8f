"""Would processes that are forked from one warm parent be as good as processes that are started?

Forking saves the imports, which are most of what another process costs. But where compiled code lies is what makes some
processes slow for as long as they live (`process_luck.py`), so it matters whether a fork draws that place anew. Each
process computes one layer of torch, for which oneDNN compiles a kernel then, and says where its input, its output and
the memory with new code lie. A forked one has torch imported by its parent, and compiles after the fork.

    python evaluation/accuracy/forked_processes.py [--processes 6] [--problem CASE_ID]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem

PLACES = ("input", "output", "code")


def executable() -> set[str]:
    """The address ranges of this process that hold code."""
    lines = (line.split() for line in Path("/proc/self/maps").read_text().splitlines())
    return {fields[0] for fields in lines if "x" in fields[1]}


def places(case_id: str) -> list[str]:
    """Where the input, the output and the new code of a first call lie."""
    import torch

    torch.set_num_threads(1)
    problem, before = ConvProblem.parse(case_id), executable()
    x, w = torch.randn(problem.input_shape), torch.randn(problem.weight_shape)
    with torch.inference_mode():
        y = torch.nn.functional.conv2d(x, w, stride=problem.stride, padding=[sides[0] for sides in problem.padding])
    return [hex(x.data_ptr()), hex(y.data_ptr()), " ".join(sorted(executable() - before))]


def forked(case_id: str, count: int) -> None:
    """Print the places in `count` children of this process, one line each."""
    import torch  # noqa: F401 - what forking saves

    for _ in range(count):
        child = os.fork()
        if not child:
            print(json.dumps(places(case_id)), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def answers(case_id: str, *arguments: str) -> list[list[str]]:
    """What a fresh process with these arguments prints."""
    command = [sys.executable, __file__, "--problem", case_id, *arguments]
    done = subprocess.run(command, env=worker_environment(1, "steady"), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--problem", default="n1c64h56w56_o64k3_p1")
    parser.add_argument("--answer", choices=("started", "forked"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer == "forked":
        forked(options.problem, options.processes)
        return
    if options.answer == "started":
        print(json.dumps(places(options.problem)))
        return
    facts, count = machine_facts(), options.processes
    print(f"{facts['cpu']}, {facts['os']}, torch on {options.problem}, 1 thread\n")
    print(f"{'different places of':<24}" + "".join(f"{name:>10}" for name in PLACES))
    children = answers(options.problem, "--answer", "forked", "--processes", str(count))
    started = [line for _ in range(count) for line in answers(options.problem, "--answer", "started")]
    for name, lines in ((f"{count} forked processes", children), (f"{count} started processes", started)):
        print(f"{name:<24}" + "".join(f"{len(set(column)):>10}" for column in zip(*lines, strict=True)), flush=True)


if __name__ == "__main__":
    main()
