"""What share of a run's wall time, after its workers' start, is spent inside the backends' calls.

Runs `convbench run`. Its records say how long each backend's code ran (making ready, first calls, verified calls,
warming up, timed calls and discarded ones, in all processes), and the run says how long it waited for workers to start.
The rest is convbench's own: references, verdicts, transfer of operands and answers, the journal.

    python evaluation/overhead/run_overhead.py [options of convbench run, by default --suite sizes]
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter


def seconds_of(text: str) -> float:
    """`1 min 05 s`, `4.56 s`, `71 ms` in seconds."""
    words = text.replace(",", "").split()
    scale = {"min": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6}
    return sum(float(number) * scale[unit] for number, unit in zip(words[::2], words[1::2], strict=True))


def main() -> None:
    words = sys.argv[1:] or ["--suite", "sizes"]
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "convbench", "run", *words, "--no-asv", "--json", "--results", folder]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    said = re.search(r", after (.+?), (.+?) of them to start the workers\.$", done.stderr, re.MULTILINE)
    if said is None:
        raise SystemExit(done.stderr)
    whole_s, starting_s = map(seconds_of, said.groups())
    after_s = whole_s - starting_s
    by_backend: Counter[str] = Counter()
    for record in map(json.loads, done.stdout.splitlines()):
        by_backend[record["backend"]] += record["backend_s"] or 0.0
    print(f"convbench run {' '.join(words)}: {whole_s:.1f} s, {starting_s:.1f} s of them to start workers")
    for name, seconds in by_backend.most_common():
        if seconds:
            print(f"  {name:<22}{seconds:8.1f} s  {seconds / after_s:6.1%}")
    print(f"inside the backends {by_backend.total() / after_s:.1%} of the {after_s:.1f} s after the workers' start")


if __name__ == "__main__":
    main()
