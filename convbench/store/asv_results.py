"""Write records into asv's own files: `asv publish`, `show` and `compare` then work on what `convbench run` measured.

asv keeps state in module globals and changes `sys.path`, so it works in a short-lived process of its own: this module
is also what runs there. Its files are written beside and renamed, under a lock: two runs at once lose nothing.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convbench.store.asv_metrics import METRICS, Metric, benchmark_name
from convbench.store.checkout import CONFIGURATION, CheckoutState, checkout_state
from convbench.store.journal import Record


@dataclass(frozen=True)
class Written:
    """What became of an attempt: how many values are in asv's files now, or why none."""

    values: int = 0
    commit: str | None = None
    refusal: str | None = None


def write_asv_results(
    records: Iterable[Record], results: Path, checkout: Path | None, *, allow_dirty: bool = False
) -> Written:
    """Store `records` under the commit that `checkout` stands at. Never raises for what asv refuses: says it."""
    if checkout is None:
        return Written(refusal=f"this is no checkout with an {CONFIGURATION}")
    if refusal := _refusal(checkout_state(checkout), allow_dirty):
        return Written(refusal=refusal)
    asked = {"checkout": str(checkout), "results": str(results.resolve()), "records": [_slim(r) for r in records]}
    done = subprocess.run(
        [sys.executable, "-m", "convbench.store.asv_results"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=checkout,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Written(refusal=f"asv could not store them: {last}")
    return Written(**json.loads(done.stdout.splitlines()[-1]))


def _refusal(state: CheckoutState, allow_dirty: bool) -> str | None:
    """Why results could stand under no commit; None when they can."""
    if state.commit is None:
        return "the checkout has no commit to store them under (is it under git?)"
    if state.dirty and not allow_dirty:
        return "the checkout has uncommitted changes (--allow-dirty stores them under its commit all the same)"
    return None


_KEPT = "suite case backend status reason first_call_s prepare_s peak_bytes samples machine".split()


def _slim(record: Record) -> Record:
    settings = record["settings"]
    return {key: record[key] for key in _KEPT} | {
        "threads": settings["threads"],
        "allocator": settings["allocator"],
    }


# --- in asv's own process ---------------------------------------------------------------------------------------------


def main() -> None:
    """Read what to store from standard input, store it, and say what was done on the last line of standard output."""
    asked = json.load(sys.stdin)
    told = _store(Path(asked["checkout"]), Path(asked["results"]), asked["records"])
    sys.stdout.write("\n" + json.dumps(told) + "\n")


def _store(checkout: Path, results: Path, records: list[Record]) -> dict[str, Any]:
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.environment import get_environments
    from asv.plugin_manager import plugin_manager
    from asv.repo import get_repo
    from filelock import FileLock

    conf = Config.load(CONFIGURATION)
    conf.results_dir = str(results)
    for plugin in conf.plugins:
        plugin_manager.import_plugin(plugin)
    repo = get_repo(conf)
    commit = repo.get_hash_from_name("HEAD")
    environment = next(iter(get_environments(conf, None)))
    benchmarks = Benchmarks(conf, _discovered(checkout / conf.benchmark_dir))
    values = 0
    results.mkdir(parents=True, exist_ok=True)
    with FileLock(results / ".asv.lock"):
        _save_benchmarks(conf, benchmarks, results)
        for tags, group in _by_settings(records).items():
            values += _store_group(results, benchmarks, environment, commit, repo.get_date(commit), dict(tags), group)
    return {"values": values, "commit": commit}


def _discovered(benchmark_dir: Path) -> list[dict[str, Any]]:
    from asv_runner.discovery import list_benchmarks

    text = io.StringIO()
    list_benchmarks(str(benchmark_dir), text)
    found: list[dict[str, Any]] = json.loads(text.getvalue())
    return found


def _by_settings(records: Iterable[Record]) -> dict[tuple[tuple[str, str], ...], list[Record]]:
    """Records by the settings that asv tells apart as environment variables; the defaults have none."""
    groups: dict[tuple[tuple[str, str], ...], list[Record]] = {}
    for record in records:
        tags = [("CONVBENCH_THREADS", str(record["threads"]))] if record["threads"] != 1 else []
        tags += [("CONVBENCH_ALLOCATOR", record["allocator"])] if record["allocator"] != "steady" else []
        groups.setdefault(tuple(tags), []).append(record)
    return groups


def _store_group(
    results: Path,
    benchmarks: Any,
    environment: Any,
    commit: str,
    date: int,
    tags: Mapping[str, str],
    records: list[Record],
) -> int:
    from asv.environment import get_env_name
    from asv.results import Results, get_filename
    from asv.runner import BenchmarkResult

    machine = _machine(results, records[0]["machine"])
    name = get_env_name(environment.tool_name, environment.python, {}, dict(tags))
    parameters = {**machine, "python": environment.python, **{f"env-{key}": value for key, value in tags.items()}}
    stored = Results(parameters, {}, commit, date, environment.python, name, dict(tags))
    values = 0
    kept = results / get_filename(machine["machine"], commit, name)
    with tempfile.TemporaryDirectory(dir=results, prefix=".asv-") as scratch:
        draft = Path(scratch) / kept.relative_to(results)
        draft.parent.mkdir(parents=True)
        if kept.exists():
            shutil.copy(kept, draft)
            stored.load_data(scratch)
        for suite in dict.fromkeys(record["suite"] for record in records):
            for metric in METRICS:
                benchmark = benchmarks.get(benchmark_name(suite, metric))
                if benchmark is not None:
                    of_suite = [record for record in records if record["suite"] == suite]
                    found, measured = _result(benchmark, metric, of_suite)
                    result = BenchmarkResult(*found, 0, "", None)
                    stored.add_result(benchmark, result, record_samples=True, selected_idx=measured)
                    values += len(measured)
        if values:
            stored.save(scratch)
            kept.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(kept)
    return values


def _result(
    benchmark: Mapping[str, Any], metric: Metric, records: list[Record]
) -> tuple[tuple[list[Any], list[Any], list[Any]], set[int]]:
    """asv's parallel lists (result, samples, number) over all parameter combinations, and which of them we have."""
    backends, cases = benchmark["params"]
    size = len(backends) * len(cases)
    result: list[Any] = [None] * size
    samples: list[Any] = [None] * size
    number: list[Any] = [None] * size
    measured: set[int] = set()
    for record in records:
        backend, case = repr(record["backend"]), repr(record["case"])
        if backend not in backends or case not in cases:
            continue  # a plugin's, or a case changed by --dtype: in the journal, and no part of the tracked series
        index = backends.index(backend) * len(cases) + cases.index(case)
        measured.add(index)
        try:
            value = metric.value(record)
        except LookupError:
            continue
        if isinstance(value, dict):
            # asv takes the median of the samples itself where it finds True.
            result[index], samples[index], number[index] = True, value["samples"], value["number"]
        else:
            result[index] = value if isinstance(value, int) or math.isfinite(value) else math.nan
    return (result, samples, number), measured


def _machine(results: Path, facts: Mapping[str, Any]) -> dict[str, str]:
    """The machine as asv knows it already: its strings are axes, so none may change by being detected anew."""
    from asv.machine import Machine, MachineCollection
    from asv.util import UserError, load_json, write_json

    name = facts["machine"]
    path = results / name / "machine.json"
    if path.exists():
        known = load_json(str(path), Machine.api_version)
    else:
        try:
            known = MachineCollection.load(name)
        except UserError:
            known = Machine.get_defaults()
        known = {**known, "machine": name}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(str(path), known, Machine.api_version)
    return {key: str(value) for key, value in known.items() if key != "version"}


def _save_benchmarks(conf: Any, benchmarks: Any, results: Path) -> None:
    with tempfile.TemporaryDirectory(dir=results, prefix=".asv-") as scratch:
        conf.results_dir = scratch  # where `save` writes to
        benchmarks.save()
        (Path(scratch) / "benchmarks.json").replace(results / "benchmarks.json")


if __name__ == "__main__":
    main()
