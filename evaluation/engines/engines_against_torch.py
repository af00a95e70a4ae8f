"""The inference engines beside torch on two layers, one thread: medians and ratios to `torch-channels-last`.

    python evaluation/engines/engines_against_torch.py [--backend 'onnx*'] [--threads 1]

Every backend that is available takes part, or those named; torch-channels-last always does. Rounds interleave them, so
the ratios hold on a machine whose speed drifts.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from convbench.analysis.paired_ratio import ratio
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of
from convbench.suite import Case

REFERENCE = "torch-channels-last"
LAYERS = {"dense": "n1c64h56w56_o64k3_p1", "depthwise": "n1c144h56w56_o144k3_p1_g144"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", action="append", default=[], help="a glob; repeatable")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    names = [*options.backend, REFERENCE] if options.backend else []
    entries = [entry for entry in discover().select(names) if entry.unavailable() is None]
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, threads: {options.threads}")
    settings = replace(Settings(), threads=options.threads, fewest_rounds=20)
    with Engine(settings) as engine:
        for label, case_id in LAYERS.items():
            case = Case(ConvProblem.parse(case_id), name=label)
            outcomes = list(engine.measure("engines", case, entries))
            found = {o.backend: record_of(o, "", "", CheckoutState()) for o in outcomes}
            print(f"\n{label} {case_id}\n{'backend':28} {'ms':>9} {'to ' + REFERENCE:>22}  95 % interval")
            for name, record in sorted(found.items(), key=lambda item: item[1]["median_s"] or float("inf")):
                to = ratio(record, found[REFERENCE])
                if to is None:
                    print(f"{name:28} {record['status']}: {record['reason']}")
                else:
                    interval = f"[{to.low:.3f}, {to.high:.3f}]"
                    print(f"{name:28} {record['median_s'] * 1e3:9.4f} {to.value:22.3f}  {interval}")


if __name__ == "__main__":
    main()
