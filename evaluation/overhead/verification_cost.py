"""What verification costs: the harness's part of a question, questions per second, the reference on real layers.

    python evaluation/overhead/verification_cost.py [--backend torch --backend onnxruntime]

The harness's part is everything that the verifying process does for a question of the sweep on one core: draw the
operands, send them, compute the reference, judge the answers, keep the books. The worker's part is mostly the library's
calls. Both are in seconds of CPU, which say something on a busy machine, too: compare two checkouts by turns there. The
speed of the reference on ResNet-50 stands beside that of NumPy's float64 matrix product of the same size.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from convbench.measurement.machine.facts import machine_facts
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.runner.verify.campaign import Campaign
from convbench.runner.verify.campaign_plan import CampaignPlan
from convbench.runner.verify.examiner import Examiner
from convbench.suite import load_suite
from convbench.verification.operands import normal_operands
from convbench.verification.reference import convolve
from convbench.verification.sweep.covering import sweep


def questions_a_second(name: str) -> None:
    [entry] = [entry for entry in discover() if entry.name == name]
    if (reason := entry.unavailable()) is not None:
        print(f"{name:20s} {reason}")
        return
    questions = sweep(entry.backend).questions
    with Examiner(entry) as examiner:
        examiner.start()
        campaign = Campaign(examiner)
        examiner(questions[0])
        [worker] = psutil.Process().children()
        worker_s, cpu_s, start = sum(worker.cpu_times()[:2]), time.process_time(), time.perf_counter()
        plan = CampaignPlan(questions=questions, strength=0, search_s=0)
        failed = sum(answered.failure is not None for answered in campaign.follow(plan))
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - start
        worker_s = sum(worker.cpu_times()[:2]) - worker_s
        asked = len(campaign.passed) + len(campaign.failures)
    print(
        f"{name:20s} {asked:5d} questions  {asked / wall_s:6.0f} a second, {asked / (cpu_s + worker_s):6.0f} a second "
        f"of CPU: harness {cpu_s / asked * 1e3:5.2f} ms, worker {worker_s / asked * 1e3:5.2f} ms  {failed} failed"
    )


def best_of(repeats: int, run: Callable[[], Any]) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_product_s(problem: ConvProblem) -> float:
    """The same multiplications as one float64 matrix product for each group."""
    rng = np.random.default_rng(0)
    pixels = problem.batch * problem.out_height * problem.out_width
    weight = rng.standard_normal((problem.out_channels // problem.groups, problem.reduction_length))
    taps = rng.standard_normal((problem.reduction_length, pixels))
    return problem.groups * best_of(3, lambda: weight @ taps)


def real_layers() -> None:
    cases = load_suite("resnet50").cases
    reference_s = product_s = flops = 0.0
    for case in cases:
        operands = normal_operands(case.problem, 0)
        reference_s += best_of(3, lambda o=operands, p=case.problem: convolve(p, o.x, o.w, o.b))
        product_s += matrix_product_s(case.problem)
        flops += case.problem.flops
    rates = [f"{s * 1e3:.0f} ms ({flops / s / 1e9:.0f} GFLOP/s)" for s in (reference_s, product_s)]
    print(f"ResNet-50, {len(cases)} layers: reference {rates[0]}, float64 matrix products of their sizes {rates[1]}:")
    print(f"{reference_s / product_s:.2f} times as long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", default=[])
    arguments = parser.parse_args()
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['usable_cpus']} CPUs, {facts['vector_isa']}, NumPy {np.__version__}")
    for name in arguments.backend or ["torch", "onnxruntime", "numpy-gemm", "numba-direct"]:
        questions_a_second(name)
    real_layers()


if __name__ == "__main__":
    main()
