"""The history of releases in asv's files: made anew, from the journals, each time that releases have been measured.

asv's time axis is a git history, so releases have one of their own, in one folder with asv's results and configuration.
Nothing is kept there alone: journals brought or removed add or take their points.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convbench.errors import LockedError
from convbench.files.file_lock import file_lock
from convbench.files.scratch import collect_leftovers, scratch_folder
from convbench.files.user_file import real_path
from convbench.measurement.environments.releases import Release
from convbench.measurement.workers.json_child import JsonChild, read_request, send_message, send_waiting
from convbench.status import Status
from convbench.store.asv.files import (
    METRICS,
    Point,
    SlimRecord,
    benchmark_name,
    benchmark_version,
    save_benchmarks,
    slim,
    store_records,
)
from convbench.store.asv.machine_names import name_of
from convbench.store.asv.release_commits import in_order, is_sound, make_history, milliseconds, tag
from convbench.store.journal import journals, read_records
from convbench.store.line_file import JournalWarning
from convbench.store.locations import find_checkout, results_of_checkout
from convbench.store.readings import Hardware, hardware_of, table
from convbench.store.schema import Record

# Not asv.conf.json: that marks a checkout, to which `convbench run` would give what it measures.
CONFIGURED_IN = "asv.conf.jsonc"
_HISTORY, _RESULTS = "history", "results"
_CONFIGURATION: dict[str, Any] = {
    "version": 1,
    "project": "releases",
    "repo": _HISTORY,
    "results_dir": _RESULTS,
    "html_dir": "html",
    "environment_type": "existing",
    "pythons": ["same"],
}
_WAIT_S = 60.0
_MACHINE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # becomes the name of a folder
_HEADER = "// Made by `convbench releases` from the journals, and made anew the next time: changes here are lost.\n"


@dataclass(frozen=True)
class History:
    """What asv's files hold now: so many values of these tags, in order; or why they were not written."""

    values: int = 0
    tags: tuple[str, ...] = ()
    refusal: str | None = None


def history_folder(results: Path) -> Path:
    """Where the history of releases is made. Beside the results of a checkout and not in them, since asv reads every
    JSON file below its results; in any other results folder as a part of it."""
    results = real_path(results)
    checkout = find_checkout(results)
    if checkout is None or real_path(results_of_checkout(checkout)) != results:
        return results / "releases"
    return checkout / ".asv" / "releases"


def write_release_history(results: Path, say: Callable[[str], object] = lambda sentence: None) -> History:
    """Make asv's files of all releases in the journals of `results`. Never raises for what asv or git refuse. Calls
    `say` with what it waits for."""
    module, request = "convbench.store.asv.release_history", {"results": str(real_path(results))}
    with JsonChild(module, request) as child:
        made = child.answer("made", say)
        failure = child.failure()
    if made is not None and "refusal" in made:
        return History(refusal=f"asv's files of releases could not be made: {made['refusal']}")
    if failure or made is None:
        return History(refusal=f"asv's files of releases could not be made: {failure or 'its process sent no result'}")
    return History(made["values"], tuple(made["tags"]))


# --- in asv's own process ---------------------------------------------------------------------------------------------


def main() -> None:
    """Make the history for the results folder of the request, and send what was made."""
    results = Path(read_request()["results"])
    try:
        made = _make(list(_released(results)), history_folder(results))
    except LockedError as error:
        made = {"refusal": str(error)}
    send_message(made=made)


def _released(results: Path) -> Iterator[tuple[Release, Record]]:
    """The records of releases in all journals, oldest journal first, as asv's files need them."""
    for journal in journals(results):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JournalWarning)
            for number, record in enumerate(read_records(journal)):
                if number == 0 and not record.get("release"):
                    break  # a run is over releases or it is not: most journals are passed over at their first line
                if (release := _release(record)) is not None:
                    yield release, record


def _release(record: Record) -> Release | None:
    """The release that a record is of; None for one that is not whole: a journal may come from anywhere."""
    try:
        release = Release(**record["release"])
        Status(record["status"])
        whole = isinstance(record["suite"], str) and _MACHINE.fullmatch(record["machine"]["machine"]) and slim(record)
    except (KeyError, TypeError, ValueError):
        return None
    return release if whole and is_sound(release) else None


def _make(released: list[tuple[Release, Record]], folder: Path) -> dict[str, Any]:
    # A release has one date: the one that it was last recorded with.
    dated = {(release.library, release.version): release for release, _ in released}
    points: dict[tuple[Release, str, str], list[SlimRecord]] = {}
    first: dict[str, Hardware] = {}
    for release, record in released:
        name, here = record["machine"]["machine"], hardware_of(record["machine"])
        name = name_of(name, first.setdefault(name, here), here)
        key = (dated[release.library, release.version], name, _python(record))
        # Under the backend's own name, so that its releases are one series.
        fields = slim(record) | {"backend": record["backend"].removesuffix(f"@{release.version}")}
        points.setdefault(key, []).append(fields)
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / ".held", _WAIT_S, send_waiting), scratch_folder(folder, "new") as new:
        collect_leftovers(folder)
        commits = make_history(new / _HISTORY, dated.values())
        values = _store(new / _RESULTS, points, commits)
        for name in (_HISTORY, _RESULTS):
            if (folder / name).exists():
                (folder / name).rename(new / f"old-{name}")
            (new / name).rename(folder / name)
        _configure(folder, dict.fromkeys(release.library for release in in_order(commits)))
    return {"values": values, "tags": [tag(release) for release in in_order(commits)]}


def _store(
    results: Path, points: Mapping[tuple[Release, str, str], list[SlimRecord]], commits: Mapping[Release, str]
) -> int:
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.machine import Machine
    from asv.util import write_json

    results.mkdir()
    conf = Config.from_json(_CONFIGURATION | {"branches": ["none"]})
    benchmarks = Benchmarks(conf, list(_benchmarks(record for records in points.values() for record in records)))
    save_benchmarks(conf, benchmarks, results)
    machines: dict[str, dict[str, str]] = {}
    values = 0
    for (release, name, python), records in points.items():
        if name not in machines:
            # The same strings at every point: they are axes.
            facts = records[0]["machine"]
            machines[name] = {key: str(facts.get(key, "")) for key in ("os", "arch", "cpu", "num_cpu", "ram")} | {
                "machine": name
            }
            (results / name).mkdir()
            write_json(str(results / name / "machine.json"), machines[name], Machine.api_version)
        point = Point(commits[release], milliseconds(release), python)
        values += store_records(results, benchmarks, point, machines[name], records)
    return values


def _python(record: Record) -> str:
    """The version of the environment's Python, such as 3.11."""
    full = table(record, "versions").get("python") or record["machine"].get("python") or "unknown"
    return ".".join(str(full).split(".")[:2])


def _benchmarks(records: Iterable[SlimRecord]) -> Iterator[dict[str, Any]]:
    """asv's descriptions of what was measured: a benchmark per suite and metric, over all backends and cases seen."""
    seen: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for record in records:
        backends, cases = seen.setdefault(record["suite"], ({}, {}))
        backends[repr(record["backend"])] = cases[repr(record["case"])] = None
    for suite, (backends, cases) in seen.items():
        for metric in METRICS:
            yield {
                "name": benchmark_name(suite, metric),
                "pretty_name": f"{suite}: {metric.name.replace('_', ' ')}",
                "type": metric.type,
                "unit": metric.unit,
                "version": benchmark_version(suite),
                "param_names": ["backend", "case"],
                "params": [list(backends), list(cases)],
                "code": f"convbench releases ... --suite {suite}",
                "timeout": 0,
            }


def _configure(folder: Path, libraries: Iterable[str]) -> None:
    text = json.dumps(_CONFIGURATION | {"branches": list(libraries)}, indent=4)
    draft = folder / f".{CONFIGURED_IN}"
    draft.write_text(_HEADER + text + "\n", encoding="utf-8")
    draft.replace(folder / CONFIGURED_IN)


if __name__ == "__main__":
    main()
