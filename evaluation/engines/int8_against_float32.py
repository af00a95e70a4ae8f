"""int8 beside float32 on layers of ResNet-50: numba-direct and the libraries, interleaved, one thread.

    python evaluation/engines/int8_against_float32.py [--backend onednn ...] [--isa avx2] [--quick]

Prints the whole report of `convbench run` on these layers, and then, for each layer, milliseconds of each backend in
both dtypes and the speed-up. Ratios are what to quote: the rounds of both sides met the same disturbances.
"""

from __future__ import annotations

import argparse

import convbench
from convbench.store.schema import Record

LAYERS = (
    "n1c64h56w56_o64k3_p1",
    "n1c64h56w56_o256k1",
    "n1c128h28w28_o128k3_p1",
    "n1c256h14w14_o256k3_p1",
    "n1c512h7w7_o512k3_p1",
    "n1c144h56w56_o144k3_p1_g144",
)
BACKENDS = ("numba-direct", "torch", "torch-packed", "onednn", "onnxruntime", "openvino", "litert")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backend", nargs="+", default=list(BACKENDS))
    parser.add_argument("--layer", nargs="+", default=list(LAYERS), metavar="CASE_ID")
    parser.add_argument("--isa", nargs="+", default=[])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    result = convbench.run(
        options.layer, backend=options.backend, dtype=["float32", "int8"], isa=options.isa, quick=options.quick
    )
    print(result)
    print(f"\n{'layer':30} {'backend':14} {'float32 ms':>10} {'int8 ms':>10} {'speed-up':>9}")
    for line in _lines(result.records):
        print(line)


def _lines(records: tuple[Record, ...]) -> list[str]:
    """A line for each layer and backend that was timed in both dtypes."""
    times: dict[tuple[str, str], dict[str, float]] = {}
    for record in records:
        if record["status"] == "ok" and record["median_s"]:
            layer = record["case_id"].removesuffix("_u8zs8u8z")
            times.setdefault((layer, record["backend"]), {})[str(record["dtype"])] = record["median_s"]
    lines = []
    for (layer, backend), by_dtype in times.items():
        if {"float32", "int8"} <= by_dtype.keys():
            wide_s, narrow_s = by_dtype["float32"], by_dtype["int8"]
            lines.append(
                f"{layer:30} {backend:14} {wide_s * 1e3:10.3f} {narrow_s * 1e3:10.3f} {wide_s / narrow_s:9.2f}"
            )
    return lines


if __name__ == "__main__":
    main()
