"""How long `convbench.load()` takes for a million records, and `convbench compare` for two journals of 100,000.

    python evaluation/overhead/records_at_scale.py [--records 1000000] [--pairs 100000] [--folder DIR]

Writes journals with records like those of `convbench run` (all timed, with 10 to 30 raw samples: the long kind) into a
temporary folder, and reads them in fresh processes: cold, with their pages dropped from the system's cache, and warm.
Memory is the peak of the process and of its helper process together. Takes 4 GB of disk and some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of
from convbench.suite import Case
from convbench.verification.verdict import Verdict

BACKENDS = ("torch", "torch-channels-last", "jax", "jax-nhwc", "numba-direct", "numpy-gemm", "onednn", "openvino")
A_JOURNAL = 5000
MEASURED = {
    "load()": "frame = convbench.load(sys.argv[1])",
    "load(), and the median of every wall_s list": (
        "frame = convbench.load(sys.argv[1]); frame['wall_s'].map(statistics.median).sum()"
    ),
    "load(columns=[suite, case, backend, median_s])": (
        "frame = convbench.load(sys.argv[1], columns=['suite', 'case', 'backend', 'median_s'])"
    ),
}
PROLOGUE = "import json, resource, statistics, sys, time; start = time.perf_counter(); import convbench"
EPILOGUE = (
    "used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]; "
    "print(json.dumps({'rows': len(frame), 'seconds': time.perf_counter() - start, 'peak_kib': sum(used)}))"
)


@dataclass(frozen=True)
class Part:
    """Records number `start` to `stop` of a set, to be written to `path`; of a few, times are drawn out by `slowed`."""

    path: Path
    start: int
    stop: int
    seed: int
    slowed: float = 1.0


def write(part: Part) -> int:
    """Write the journal of a part; gives its samples."""
    rng = np.random.default_rng((part.seed, part.start))
    templates = [template(number) for number in range(50)]
    samples = 0
    with part.path.open("w", encoding="utf-8") as file:
        for number in range(part.start, part.stop):
            one = record(templates[number % len(templates)], number, rng, part)
            samples += len(one["samples"]["wall_s"])
            file.write(json.dumps(one, separators=(",", ":"), ensure_ascii=False) + "\n")
    return samples


def template(number: int) -> dict[str, Any]:
    """A record as a run makes it."""
    problem = ConvProblem(in_channels=16 + number, height=56, width=56, out_channels=64, kernel_size=3, padding=1)
    verdicts = [Verdict("bound", True, 0.0123456, 1.234e-6, element=(0, 5, 11, 0), got=2.8669, expected=2.8668)] * 2
    outcome = Outcome(
        suite="sizes",
        case=Case(problem, layer="layer1.0.conv1"),
        backend=BACKENDS[number % len(BACKENDS)],
        status=Status.OK,
        settings=Settings(),
        verdicts=(*verdicts, Verdict("exact", True, 0.0, 0.0, element=(0, 0, 0, 0), got=69163.0, expected=69163.0)),
        prepare_s=1.0525000107008964e-05,
        first_call_s=0.0005872729998372961,
        samples=(RoundSample(0, 0.0, Sample(1, 1.0, 1.0, 0.0, 0)),),
        stopped="precision",
        before_bytes=35856384,
        peak_bytes=36323328,
        steady_bytes=36298752,
        versions={"numpy": "2.4.6", "torch": "2.13.0"},
        declared={"device": "cpu", "prepacks": [], "algorithm": "auto", "operand": None, "accumulate": None},
    )
    return record_of(outcome, "20260101T000000Z-sizes", "18ea786abdf690c4-496f", CheckoutState("0" * 40, False))


def record(template: dict[str, Any], number: int, rng: np.random.Generator, part: Part) -> dict[str, Any]:
    count = int(rng.integers(10, 31))
    slowed = part.slowed if number % 20 == 0 else 1.0
    wall_s = 1e-3 * slowed * np.exp(rng.normal(0, 0.02, count))
    median = float(np.median(wall_s))
    return template | {
        "run": part.path.stem,
        "session": f"18ea786abdf{part.seed}{part.start:x}",
        "suite": f"suite-{number // 400}",
        "case": f"{template['case']}_{number % 400 // 50}",
        "median_s": median,
        "low_s": float(wall_s.min()),
        "high_s": float(wall_s.max()),
        **{name: template[name] / median for name in ("gflops", "images_per_s", "gbytes_per_s")},  # of a median of 1 s
        "samples": {
            "round": list(range(count)),
            "load": rng.uniform(0, 2, count).round(2).tolist(),
            "calls": [37] * count,
            "wall_s": wall_s.tolist(),
            "cpu_s": (wall_s * 0.9997).tolist(),
            "system_s": [0.0] * count,
            "minor_faults": rng.integers(0, 3, count).tolist(),
        },
    }


def written(parts: list[Part]) -> str:
    """Write the parts; says what was written."""
    with ProcessPoolExecutor() as pool:
        samples = sum(pool.map(write, parts))
    count = sum(part.stop - part.start for part in parts)
    size = sum(part.path.stat().st_size for part in parts)
    return (
        f"{count:,} records in {len(parts)} journals, {size / 1e9:.2f} GB: {size / count:,.0f} bytes and "
        f"{samples / count:.1f} raw samples each"
    )


def forget(folder: Path) -> None:
    """Have the system drop the files' pages from its cache."""
    for path in folder.rglob("*.jsonl"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load_told(label: str, code: str, folder: Path, state: str) -> None:
    words = [sys.executable, "-c", "; ".join((PROLOGUE, code, EPILOGUE)), str(folder)]
    start = time.perf_counter()
    told = json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
    tell(label, state, time.perf_counter() - start, told["peak_kib"])


def compare_told(label: str, words: list[str], state: str) -> str:
    watch = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True); "
        "print(done.stdout[-2000:] + done.stderr); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-m", "convbench", "compare", *words]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", watch, *command], capture_output=True, check=True, text=True)
    elapsed_s = time.perf_counter() - start
    output, _, peak_kib = done.stdout.strip().rpartition("\n")
    tell(label, state, elapsed_s, int(peak_kib))
    return " ".join(output.strip().rpartition("\n\n")[2].split())


def tell(label: str, state: str, seconds: float, peak_kib: int) -> None:
    print(f"{label:50} {state:5} {seconds:7.2f} s {peak_kib / 2**20:7.2f} GiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args()
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['usable_cpus']} CPUs, {facts['os']}, Python {facts['python']}")
    print("wall time of a whole process, from its start to its end, and the most memory\n")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        many = Path(folder) / "many"
        many.mkdir()
        starts = range(0, options.records, A_JOURNAL)
        parts = [Part(many / f"{s:09}.jsonl", s, min(s + A_JOURNAL, options.records), 1) for s in starts]
        print(written(parts))
        for label, code in MEASURED.items():
            for state in ("cold", "warm"):
                if state == "cold":
                    forget(many)
                load_told(label, code, many, state)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        base, new = (Path(folder) / f"{name}.jsonl" for name in ("base", "new"))
        parts = [Part(base, 0, options.pairs, 2), Part(new, 0, options.pairs, 3, slowed=1.1)]
        print("\n" + written(parts))
        for words in ([], ["--json"]):
            for state in ("cold", "warm"):
                if state == "cold":
                    forget(Path(folder))
                last = compare_told(" ".join(["convbench compare", *words]), [*words, str(base), str(new)], state)
            if not words:
                print(f"    {last}")


if __name__ == "__main__":
    main()
