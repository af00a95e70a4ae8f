"""Writes `docs/found/`: for each known wrong answer that shows here, the report that `convbench bug` makes of it.

An entry of `convbench/verification/known_wrong.toml` is asked by its first backend that is installed and its first case
that fails on this CPU. Run it in an environment with the engines; entries that do not show here keep the report that
they have.

    python evaluation/engines/found_reports.py [--library NAME ...] [--seen WORD] [--output docs/found]
"""

from __future__ import annotations

import argparse
import re
from fnmatch import fnmatchcase
from pathlib import Path

from convbench.errors import ConvbenchError
from convbench.measurement.machine.facts import machine_facts
from convbench.registry import Entry, discover
from convbench.reporting.verification.issue_text import issue_text
from convbench.runner.bug.inquiry import Findings, Request, inquire
from convbench.runner.bug.subject import subject
from convbench.verification.known import KnownWrong, own_table


def found(entry: KnownWrong) -> tuple[Findings | None, str]:
    """What is found of an entry, or why nothing is."""
    here = [
        name
        for pattern in entry.backends
        for name, row in rows().items()
        if fnmatchcase(name, pattern) and row.unavailable() is None
    ]
    reason = "no backend of it is installed"
    for backend in here:
        for case in entry.cases:
            request = Request(text=case, backend=backend)
            try:
                return inquire(request, subject(case, backend)), ""
            except ConvbenchError as error:
                reason = str(error)
    return None, reason


def rows() -> dict[str, Entry]:
    return {row.name: row for row in discover() if isinstance(row, Entry)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", action="append", help="may be repeated; by default all")
    parser.add_argument("--seen", default="", help="entries whose description has this word only")
    parser.add_argument("--output", type=Path, default=Path("docs/found"))
    options = parser.parse_args()
    print(machine_facts()["cpu"])
    options.output.mkdir(parents=True, exist_ok=True)
    for entry in own_table():
        if (options.library and entry.library not in options.library) or options.seen not in entry.seen:
            continue
        findings, reason = found(entry)
        name = re.sub(r"[^a-z0-9]+", "-", f"{entry.library or entry.backends[0]} {entry.seen}".lower())[:70].strip("-")
        if findings is not None:
            (options.output / f"{name}.md").write_text(issue_text(findings), encoding="utf-8")
        print(f"{'written' if findings else 'not here':<10}{name}{'' if findings else f': {reason}'}", flush=True)


if __name__ == "__main__":
    main()
