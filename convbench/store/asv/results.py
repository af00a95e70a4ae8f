"""Write records into asv's own files: `asv publish`, `show` and `compare` then work on what `convbench run` measured.

asv keeps state in module globals, so this module also runs as a short-lived process. Its files are written beside and
renamed, under a lock: two runs at once lose nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convbench.measurement.workers.json_child import JsonChild, read_request, send_message
from convbench.store.asv.files import Point, SlimRecord, clear_leftovers, save_benchmarks, slim, store_records
from convbench.store.locations import CONFIGURATION, checkout_state
from convbench.store.schema import Record


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
    state = checkout_state(checkout)
    if state.commit is None:
        return Written(refusal="the checkout has no commit to store them under (is it under git?)")
    if state.dirty and not allow_dirty:
        why = "the checkout has uncommitted changes (--allow-dirty stores them under its commit all the same)"
        return Written(refusal=why)
    request = {"checkout": str(checkout), "results": str(results.resolve()), "records": [slim(r) for r in records]}
    with JsonChild("convbench.store.asv.results", request, folder=checkout) as child:
        written = next((message["written"] for message in child.messages() if "written" in message), None)
        failure = child.failure()
    if failure or written is None:
        return Written(refusal=f"asv could not store them: its process {failure or 'sent no result'}")
    return Written(**written)


# --- in asv's own process ---------------------------------------------------------------------------------------------


def main() -> None:
    """Store what the request has, and send what was done."""
    from asv.util import UserError

    request = read_request()
    try:
        written = _store(Path(request["checkout"]), Path(request["results"]), request["records"])
    except UserError as error:
        written = {"refusal": f"asv could not store them: {str(error).strip().rstrip('.')}"}
    send_message(written=written)


def _store(checkout: Path, results: Path, records: list[SlimRecord]) -> dict[str, Any]:
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.environment import get_environments
    from asv.plugin_manager import plugin_manager
    from asv.repo import get_repo
    from asv_runner.discovery import list_benchmarks
    from filelock import FileLock

    conf = Config.load(CONFIGURATION)
    conf.results_dir = str(results)
    for plugin in conf.plugins:
        plugin_manager.import_plugin(plugin)
    repo = get_repo(conf)
    commit = repo.get_hash_from_name("HEAD")
    environment = next(iter(get_environments(conf, None)))
    point = Point(commit, repo.get_date(commit), environment.python)
    discovered = io.StringIO()
    list_benchmarks(str(checkout / conf.benchmark_dir), discovered)
    benchmarks = Benchmarks(conf, json.loads(discovered.getvalue()))
    values = 0
    results.mkdir(parents=True, exist_ok=True)
    with FileLock(results / ".asv.lock"):
        clear_leftovers(results)
        save_benchmarks(conf, benchmarks, results)
        if records:
            machine = _machine(results, records[0]["machine"])
            values = store_records(results, benchmarks, point, machine, records)
    return {"values": values, "commit": commit}


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


if __name__ == "__main__":
    main()
