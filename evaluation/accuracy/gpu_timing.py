"""On a CUDA GPU: whether times by the device's clock agree with other timers, and with themselves.

For layers of ResNet-50, each backend in its own processes:

* times by the device's clock, with warm and with cold caches, beside torch.utils.benchmark's timer and beside events
  around each call after a flush, as triton.testing.do_bench takes them, both in a separate process;
* torch-cuda against itself in another process, which should give 1;
* the launch time of a call as a share of its time, plain and as a graph;
* the transfers of input and output, which are part of none of these.

    python evaluation/accuracy/gpu_timing.py [--layers 8] [--batch 32]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median

from convbench.cuda_driver import cuda_device_count
from convbench.measurement.machine.gpu import first_gpu
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.registry import discover
from convbench.suite import Case, load_suite

BACKENDS = ("torch-cuda", "torch-cuda-channels-last", "torch-cuda-tf32", "torch-cuda-graph", "jax-cuda")
_OTHERS = """
import json, sys
import torch
from torch.nn.functional import conv2d
from torch.utils.benchmark import Timer
torch.backends.cudnn.conv.fp32_precision = "ieee"
overwritten = torch.empty(2 * torch.cuda.get_device_properties(0).L2_cache_size, dtype=torch.uint8, device="cuda")
for line in sys.stdin:
    p = json.loads(line)
    x, w = torch.randn(p["x"], device="cuda"), torch.randn(p["w"], device="cuda")
    call = lambda: conv2d(x, w, None, p["stride"], p["padding"])
    for _ in range(10):
        call()
    names = {"call": call}
    warm = Timer("call()", globals=names).blocked_autorange(min_run_time=0.3).median
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(100)]
    for before, after in events:
        overwritten.zero_()
        before.record()
        call()
        after.record()
    torch.cuda.synchronize()
    cold = sorted(before.elapsed_time(after) for before, after in events)[50] / 1e3
    print(json.dumps([warm, cold]), flush=True)
"""


def by_others(cases: list[Case]) -> list[list[float]]:
    """Seconds a call of torch's conv2d, warm by torch.utils.benchmark and cold by events."""
    asked = [
        {
            "x": case.problem.input_shape,
            "w": case.problem.weight_shape,
            "stride": case.problem.stride,
            "padding": [side[0] for side in case.problem.padding],
        }
        for case in cases
    ]
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    run = subprocess.run([sys.executable, "-c", _OTHERS], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def measured(cases: list[Case], settings: Settings) -> list[dict[str, Outcome]]:
    entries = discover().select(BACKENDS)
    with Engine(settings) as engine:
        return [{o.backend: o for o in engine.measure("gpu", case, entries)} for case in cases]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    if cuda_device_count() == 0:
        sys.exit("there is no CUDA device here")
    gpu = first_gpu()
    print(json.dumps(gpu.facts()) if gpu else "NVML does not tell which GPU this is")
    every = load_suite("resnet50").over([], (options.batch,)).cases
    cases = [every[round(i * (len(every) - 1) / max(options.layers - 1, 1))] for i in range(options.layers)]
    others = by_others(cases)
    warm = measured(cases, Settings(self_check=True))
    cold = measured(cases, Settings(cache="cold", energy_s=0.0))

    print(
        f"\n{'layer':<34}{'backend':<28}{'warm ms':>9}{'cold ms':>9}{'launch':>8}{'send ms':>9}{'fetch ms':>9}{'mJ':>8}"
    )
    to_timer, to_events, selves = [], [], []
    for case, (timer_s, events_s), hot, chilled in zip(cases, others, warm, cold, strict=True):
        for name in BACKENDS:
            one, other = hot.get(name), chilled.get(name)
            if one is None or one.estimate is None:
                print(f"{case.name:<34}{name:<28}{one.status if one else 'nothing'}: {one.reason if one else ''}")
                continue
            launches = [taken.sample.launch_s for taken in one.samples if taken.sample.launch_s is not None]
            share = f"{median(launches) / one.estimate.median:.0%}" if launches else "–"
            device = one.on_device
            figures = [one.estimate.median, other and other.estimate and other.estimate.median]
            figures_ms = [f"{s * 1e3:9.4f}" if s else f"{'–':>9}" for s in figures]
            ways = [device and device.send_s, device and device.fetch_s, device and device.energy_j]
            ways_ms = [f"{s * 1e3:9.3f}" if s else f"{'–':>9}" for s in ways]
            print(f"{case.name:<34}{name:<28}{''.join(figures_ms)}{share:>8}{''.join(ways_ms)}")
            if name == "torch-cuda":
                to_timer.append(one.estimate.median / timer_s)
                if other and other.estimate:
                    to_events.append(other.estimate.median / events_s)
                if one.self_ratio is not None:
                    selves.append(one.self_ratio.value)
    for label, ratios in (
        ("warm, to torch.utils.benchmark", to_timer),
        ("cold, to events behind a flush", to_events),
        ("a backend to itself", selves),
    ):
        if ratios:
            off = [abs(ratio - 1) for ratio in ratios]
            print(f"{label:<34} median ratio {median(ratios):.4f}, |ratio - 1| {median(off):.2%}, worst {max(off):.2%}")


if __name__ == "__main__":
    main()
