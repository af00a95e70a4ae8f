"""DuckDB and polars in place of `convbench.load()`'s own reader: time, memory, and which odd lines differ.

    python evaluation/overhead/readers_compared.py [--records 100000] [--rounds 3] [--folder DIR]

Writes journals of records like those of `convbench run`, 5,000 in each. `convbench.load()`, the same in one process,
and the readers of `other_readers.py` read them in turn, each in a process of its own; printed are its wall time and
peak memory. Read are all columns, four columns, and all columns with a torn last line. Then each reads journals with an
odd line; printed are the frames that differ from `load()`'s. Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from other_readers import BY, load_by
from records_at_scale import A_JOURNAL, EPILOGUE, PROLOGUE, Part, template, written

import convbench
from convbench.measurement.machine.facts import machine_facts

LIBRARIES = {"duckdb": ("duckdb",), "polars": ("polars", "polars-runtime-32")}
READERS = {
    "convbench.load()": "load = convbench.load",
    "convbench.load(), one process": (
        "import convbench.store.parallel_read as p; p.usable_cpus = lambda: 1; load = convbench.load"
    ),
    **{f"by {name}": f"import functools, other_readers as o; load = functools.partial(o.load_by, o.BY['{name}'])"
       for name in (*LIBRARIES, "read_records") if name == "read_records" or importlib.util.find_spec(name)},
}  # fmt: skip
FOUR = ["suite", "case", "backend", "median_s"]
ODD_MEMBERS = [
    '"median_s":NaN', '"median_s":1e400', '"median_s":"1.5"', '"median_s":"x"', '"median_s":true', '"count":2.5',
    '"count":true', '"count":123456789012345678901234567890', '"count":null', '"status":1', '"case":null',
    '"samples":[1]', '"samples":null', '"samples":{"wall_s":[1e400]}', '"samples":{"wall_s":[1.0]}',
    '"samples":{"unheard_of":[1]}', '"layer":"a","layer":"b"', '"Layer":"b"', '"layer":3', '"layer":["x",1]',
    '"layer":"\\ud800"', '"layer":"\udcff"', '"layer":"µ🙂\\u0000"', '"dirty":"true"', '"declared":{"a":"x\\"y\\n"}',
    f'"hazards":{"[" * 900}{"]" * 900}', f'"hazards":{"[" * 9000}{"]" * 9000}', f'"odd":{"[" * 100000}{"]" * 100000}',
]  # fmt: skip
UNHEARD_OF = ['"site":"3"', '"site":["x",1.0]', '"a b":1', '"Layer":"b"']
ODD_LINES = ["", " ", "null", "[1]", '{"case":"c","back', "{} {}"]


def timed(code: str, folder: Path, arguments: str) -> tuple[float, float]:
    """Seconds of a process that loads what is in `folder`, and the GiB that it had."""
    words = "; ".join((PROLOGUE, code, f"frame = load(sys.argv[1], {arguments})", EPILOGUE))
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", words, str(folder)], capture_output=True, check=True, text=True)
    return time.perf_counter() - start, json.loads(done.stdout)["peak_kib"] / 2**20


def print_times(label: str, folder: Path, arguments: str, rounds: int, readers: Sequence[str]) -> None:
    print(f"\n{label}")
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    for number in range(rounds):
        for name in readers if number % 2 == 0 else reversed(readers):
            figures[name].append(timed(READERS[name], folder, arguments))
    first = statistics.median(seconds for seconds, _ in figures[readers[0]])
    for name, found in figures.items():
        (low, _), (high, gib), median = min(found), max(found), statistics.median(taken for taken, _ in found)
        print(f"  {name:30} {median:7.2f} s ({low:.2f} to {high:.2f}), {median / first:5.2f} times, {gib:5.2f} GiB")


def print_libraries(rounds: int) -> None:
    print("\nto import, beyond an empty process, and on disk")
    for name in filter(importlib.util.find_spec, ("msgspec", *LIBRARIES)):
        seconds: dict[str, list[float]] = {"pass": [], f"import {name}": []}
        for _ in range(3 * rounds):
            for code, taken in seconds.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", code], check=True)
                taken.append(time.perf_counter() - start)
        empty, imported = (statistics.median(taken) for taken in seconds.values())
        parts = (importlib.metadata.files(part) or () for part in LIBRARIES.get(name, (name,)))
        files = [file.locate() for part in parts for file in part]
        size = sum(file.stat().st_size for file in files if file.is_file())
        print(f"  {name} {importlib.metadata.version(name)}: {(imported - empty) * 1e3:.0f} ms, {size / 2**20:.0f} MiB")


def description(load: Callable[[Path], pd.DataFrame], place: Path) -> dict[str, str]:
    """What a frame says of each column, its type and values, and how many warnings there were."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = load(place)
    found = {"warnings": str(len(caught)), "columns": str(list(frame))}
    for name in frame:
        try:
            cells = [None if cell is None or cell != cell else cell for cell in frame[name]]
            found[name] = f"{cells} {frame[name].dtype if set(map(id, cells)) != {id(None)} else ''}"
        except RecursionError:
            found[name] = "too deep to look at"
    return found


def differences(load: Callable[[Path], pd.DataFrame], place: Path) -> list[str]:
    """The odd lines of which a reader says something else than `convbench.load()`."""
    ordinary = template(0) | {"samples": {"round": [0]}}
    journals = []
    for member in ODD_MEMBERS:
        rest = json.dumps({key: value for key, value in ordinary.items() if not member.startswith(f'"{key}"')})
        journals.append((member, [json.dumps(ordinary), f"{rest[:-1]},{member}}}", json.dumps(ordinary)]))
    journals += [(f"all {member}", [f"{json.dumps(ordinary)[:-1]},{member}}}"] * 2) for member in UNHEARD_OF]
    journals += [(f"the line {line}", [json.dumps(ordinary), line, json.dumps(ordinary)]) for line in ODD_LINES]
    found = []
    for odd, lines in journals:
        place.write_bytes("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
        expected, given = description(convbench.load, place), description(load, place)
        changed = [name for name, text in expected.items() if text != given.get(name)]
        found += [ascii(f"{odd[:45]} {n}: {expected[n][:80]} -> {given.get(n, '')[:80]}") for n in changed[:1]]
    return [f"{len(journals) - len(found)} of {len(journals)} the same, but not", *found]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args()
    print("{cpu}, {usable_cpus} CPUs, {os}, Python {python}".format(**machine_facts()))
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        starts = range(0, options.records, A_JOURNAL)
        parts = [Part(folder / f"{s:09}.jsonl", s, min(s + A_JOURNAL, options.records), 1) for s in starts]
        print(written(parts))
        few = [name for name in READERS if name != "by read_records"]  # which takes minutes
        print_times("load()", folder, "", options.rounds, list(READERS) if options.records <= 10_000 else few)
        print_times(f"load(columns={FOUR})", folder, str(FOUR), options.rounds, few)
        with parts[-1].path.open("ab") as file:
            file.write(b'{"format":1,"run":"x')
        print_times("load(), the last of the journals with half a line at its end", folder, "", options.rounds, few)
    print_libraries(options.rounds)
    for name in (*filter(importlib.util.find_spec, LIBRARIES), "read_records"):
        load = functools.partial(load_by, BY[name])
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            print(f"\nodd lines by {name}:", *differences(load, Path(place) / "odd.jsonl"), sep="\n  ")


if __name__ == "__main__":
    main()
