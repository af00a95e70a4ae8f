"""Write records into asv's own files: `asv publish`, `show` and `compare` then work on what `convbench run` measured.

asv keeps state in module globals, so this module also runs as a short-lived process. Its files are written beside and
renamed, under a lock: two runs at once lose nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convbench.errors import LockedError
from convbench.files.file_lock import file_lock
from convbench.files.user_file import real_path
from convbench.measurement.machine.facts import machine_name
from convbench.measurement.workers.json_child import JsonChild, read_request, send_message, send_waiting
from convbench.store.asv.files import (
    Point,
    SlimRecord,
    clear_leftovers,
    left_out,
    save_benchmarks,
    slim,
    store_records,
)
from convbench.store.asv.machine_names import first_hardware, name_of
from convbench.store.locations import CONFIGURATION, checkout_state
from convbench.store.readings import hardware_of
from convbench.store.schema import Record


@dataclass(frozen=True)
class Written:
    """What became of an attempt: how many values are in asv's files now, or why none."""

    values: int = 0
    commit: str | None = None
    refusal: str | None = None
    left_out: str | None = None
    """What of the records is no part of the benchmarks that asv knows, as a clause."""
    machine: str | None = None
    """Under which other machine they were stored, and why, as a clause."""


_WAIT_S = 60.0
_TIME_LIMIT_S = 600.0


def write_asv_results(
    records: Iterable[Record],
    results: Path,
    checkout: Path | None,
    *,
    allow_dirty: bool = False,
    wait_s: float = _WAIT_S,
    say: Callable[[str], object] = lambda sentence: None,
) -> Written:
    """Store `records` under the commit that `checkout` stands at. Never raises for what asv refuses: says it. Waits at
    most `wait_s` seconds for another process that stores, and calls `say` with which one."""
    if checkout is None:
        return Written(refusal=f"this is no checkout with an {CONFIGURATION}")
    state = checkout_state(checkout)
    if state.commit is None:
        return Written(refusal="the checkout has no commit to store them under (is it under git?)")
    if state.dirty and not allow_dirty:
        why = "the checkout has uncommitted changes (--allow-dirty stores them under its commit all the same)"
        return Written(refusal=why)
    request = {"checkout": str(checkout), "results": str(real_path(results)), "wait_s": wait_s}
    request |= {"records": [slim(r) for r in records]}
    limit_s = wait_s + _TIME_LIMIT_S
    with JsonChild("convbench.store.asv.results", request, folder=checkout, time_limit_s=limit_s) as child:
        written = child.answer("written", say)
        failure = child.failure()
    if child.timed_out:
        return Written(refusal=f"asv could not store them: it took more than {limit_s:.0f} s")
    if failure or written is None:
        return Written(refusal=f"asv could not store them: its process {failure or 'sent no result'}")
    return Written(**written)


# --- in asv's own process ---------------------------------------------------------------------------------------------


def main() -> None:
    """Store what the request has, and send what was done."""
    from asv.util import UserError

    request = read_request()
    try:
        written = _store(Path(request["checkout"]), Path(request["results"]), request["records"], request["wait_s"])
    except LockedError as error:
        written = {"refusal": str(error)}
    except UserError as error:
        written = {"refusal": f"asv could not store them: {str(error).strip().rstrip('.')}"}
    send_message(written=written)


def _store(checkout: Path, results: Path, records: list[SlimRecord], wait_s: float) -> dict[str, Any]:
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.environment import get_environments
    from asv.plugin_manager import plugin_manager
    from asv.repo import get_repo
    from asv_runner.discovery import list_benchmarks

    conf = Config.load(CONFIGURATION)
    conf.results_dir = str(results)
    for plugin in conf.plugins:
        plugin_manager.import_plugin(plugin)
    repo = get_repo(conf)
    commit = repo.get_hash_from_name("HEAD")
    environment = next(iter(get_environments(conf, None)))
    date = repo.get_date(commit)
    discovered = io.StringIO()
    list_benchmarks(str(checkout / conf.benchmark_dir), discovered)
    benchmarks = Benchmarks(conf, json.loads(discovered.getvalue()))
    values, remarks = 0, []
    results.mkdir(parents=True, exist_ok=True)
    with file_lock(results / ".asv.held", wait_s, send_waiting):
        clear_leftovers(results)
        save_benchmarks(conf, benchmarks, results)
        for known_as, of_machine in _by_machine(records).items():
            facts = of_machine[0]["machine"]
            here = hardware_of(facts)
            first = first_hardware(results, known_as, here)
            machine = _machine(results, name_of(known_as, first, here), facts)
            if machine["machine"] != known_as:
                remarks.append(f"as machine {machine['machine']}, because {known_as} was {first} when its series began")
            python = environment.python if known_as == machine_name() else _minor(str(facts["python"]))
            values += store_records(results, benchmarks, Point(commit, date, python), machine, of_machine)
    return {
        "values": values,
        "commit": commit,
        "left_out": left_out(benchmarks, records),
        "machine": "; ".join(remarks) or None,
    }


def _by_machine(records: Iterable[SlimRecord]) -> dict[str, list[SlimRecord]]:
    grouped: dict[str, list[SlimRecord]] = {}
    for record in records:
        grouped.setdefault(str(record["machine"]["machine"]), []).append(record)
    return grouped


def _minor(version: str) -> str:
    """`3.11` of `3.11.4`, as asv has it."""
    return ".".join(version.split(".")[:2])


_OF_MACHINE = ("os", "arch", "cpu", "num_cpu", "ram")


def _machine(results: Path, name: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """The machine as asv knows it already: its strings are axes, so none may change by being detected anew. Of another
    machine than this one `facts` say them."""
    from asv.machine import Machine, MachineCollection
    from asv.util import UserError, load_json, write_json

    path = results / name / "machine.json"
    if path.exists():
        known = load_json(str(path), Machine.api_version)
    else:
        try:
            known = MachineCollection.load(name)
        except UserError:
            is_here = facts["machine"] == machine_name()
            known = Machine.get_defaults() if is_here else {field: str(facts.get(field, "")) for field in _OF_MACHINE}
        known = {**known, "machine": name}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(str(path), known, Machine.api_version)
    return {key: str(value) for key, value in known.items() if key != "version"}


if __name__ == "__main__":
    main()
