"""Writes `docs/found/`: for each known wrong answer that shows here, the report that `convbench bug` makes of it.

An entry of `convbench/verification/known_wrong.toml` is asked by its first backend that is installed and its first case
that fails on this CPU. Run it in an environment with the engines. What was found is kept in `--kept`, and is not asked
again: a run that was stopped goes on, and a report whose words have changed is written without asking. Entries that do
not show here keep the report that they have. The list in `docs/found/README.md` and the links in
`docs/found-by-convbench.md` are written, too. What shows only with fewer instructions is asked with the library held to
them, in this process, too:

    python evaluation/engines/found_reports.py [--library NAME ...] [--seen WORD] [--results DIR] [--again]
    ONEDNN_MAX_CPU_ISA=AVX2 python evaluation/engines/found_reports.py --isa avx2 --library openvino --seen VNNI

`--results` is where `convbench bisect` kept its searches: a report names the release that broke the answer.
"""

from __future__ import annotations

import argparse
import pickle
import re
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from convbench.errors import ConvbenchError
from convbench.isa import ISAS, Isa, flags_within
from convbench.measurement.machine.facts import cpu_flags, machine_facts, machine_name
from convbench.registry import Entry, discover
from convbench.reporting.verification.issue_text import issue_text
from convbench.runner.bug.first_release import first_wrong_release
from convbench.runner.bug.inquiry import Findings, Request, inquire
from convbench.runner.bug.subject import subject
from convbench.store.locations import machine_folder, results_folder
from convbench.verification.known import KnownWrong, own_table

FINDINGS, GUIDE = Path("docs/found-by-convbench.md"), Path("docs/report-a-bug.md")
INTRODUCTION = f"""\
# Reports of wrong answers

Written by [`convbench bug`](../{GUIDE.name}) for the wrong answers in [found by convbench](../{FINDINGS.name})
that showed on the machine that each report names. `python evaluation/engines/found_reports.py` writes them again, and
this page.
"""


def name_of(entry: KnownWrong) -> str:
    """The name of the entry's report, without its ending."""
    return re.sub(r"[^a-z0-9]+", "-", f"{library_of(entry)} {entry.seen}".lower())[:70].strip("-")


def library_of(entry: KnownWrong) -> str:
    return entry.library or entry.backends[0]


def looked_into(entry: KnownWrong, kept: Path, isa: Isa | None, *, again: bool) -> Findings | str:
    """What is found of an entry, or why nothing is; from the file `kept`, which this script wrote, if it is there."""
    if kept.exists() and not again:
        found: Findings | str = pickle.loads(kept.read_bytes())
    elif reason := cpu_reason(entry, isa):
        return reason
    else:
        found = inquiry(entry, isa)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(found))
    return found


def cpu_reason(entry: KnownWrong, isa: Isa | None) -> str:
    """What keeps the entry from showing on this CPU; empty for nothing."""
    flags = flags_within(isa, cpu_flags())
    if missing := entry.cpu_with - flags:
        return f"needs a CPU with {' and '.join(sorted(missing))}"
    if present := entry.cpu_without & flags:
        return f"needs a CPU without {' and '.join(sorted(present))}"
    return ""


def inquiry(entry: KnownWrong, isa: Isa | None) -> Findings | str:
    reason = "no backend of it is installed"
    for backend in backends_here(entry):
        for case in entry.cases:
            try:
                return inquire(Request(text=case, backend=backend, isa=isa), subject(case, backend))
            except ConvbenchError as error:
                reason = str(error)
    return reason


def backends_here(entry: KnownWrong) -> list[str]:
    rows = [row for row in discover() if isinstance(row, Entry) and row.unavailable() is None]
    return [row.name for pattern in entry.backends for row in rows if fnmatchcase(row.name, pattern)]


def listing(output: Path, kept: Path) -> str:
    """The page that names each entry: with its report, or with the reason why it has none."""
    with_report, without = [], []
    for entry in own_table():
        report = output / f"{name_of(entry)}.md"
        named = f"`{library_of(entry)}`: {entry.seen}"
        if report.exists():
            with_report.append(f"* [{named}]({report.name})")
        else:
            without.append(f"| {named} | `{entry.cases[0]}` | {why_none(entry, kept)} |")
    table = ["| wrong answer | asked as | why there is no report |", "|---|---|---|", *without]
    cpu = f"{machine_facts()['cpu']}, {machine_facts()['vector_isa']}"
    heading = f"## Without a report\n\nThe script ran last on this CPU: {cpu}.\n"
    return "\n".join([INTRODUCTION, *with_report, "", heading, *table]) + "\n"


def why_none(entry: KnownWrong, kept: Path) -> str:
    """Why the entry has no report."""
    file = kept / f"{name_of(entry)}.pickle"
    known: Findings | str = pickle.loads(file.read_bytes()) if file.exists() else "was not asked"
    return cpu_reason(entry, None) or (known if isinstance(known, str) else "its report was removed")


def linked(text: str, output: Path) -> str:
    """`found-by-convbench.md` with a line under each heading that names the reports of its section."""
    text = re.sub(r"^Reports?: \[.*\n\n", "", text, flags=re.MULTILINE)
    for heading in re.findall(r"^## .*$", text, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading[3:].lower()).replace(" ", "-")
        reports = [
            f"[{library_of(entry)}, `{entry.cases[0]}`]({output.name}/{name_of(entry)}.md)"
            for entry in own_table()
            if entry.reference == f"docs/{FINDINGS.name}#{anchor}" and (output / f"{name_of(entry)}.md").exists()
        ]
        if reports:
            word = "Report" if len(reports) == 1 else "Reports"
            text = text.replace(f"{heading}\n\n", f"{heading}\n\n{word}: {'; '.join(reports)}.\n\n", 1)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", action="append", help="may be repeated; by default all")
    parser.add_argument("--seen", default="", help="entries whose description has this word only")
    parser.add_argument("--output", type=Path, default=Path("docs/found"))
    parser.add_argument("--results", type=Path, help="where searches by convbench bisect are kept")
    parser.add_argument("--kept", type=Path, default=Path("results/found"), help="what was found before")
    parser.add_argument("--isa", choices=ISAS, help="ask with libraries held to this instruction set")
    parser.add_argument("--kept-only", action="store_true", help="write what is kept, and ask nothing")
    parser.add_argument("--again", action="store_true", help="ask anew what is kept")
    options = parser.parse_args()
    print(machine_facts()["cpu"])
    options.output.mkdir(parents=True, exist_ok=True)
    for entry in own_table():
        if (options.library and library_of(entry) not in options.library) or options.seen not in entry.seen:
            continue
        name, start_s = name_of(entry), time.monotonic()
        kept = options.kept / f"{name}.pickle"
        if options.kept_only and not kept.exists():
            continue
        found = looked_into(entry, kept, options.isa, again=options.again)
        if isinstance(found, Findings):
            logs = machine_folder(results_folder(options.results), machine_name())
            found = replace(found, since=first_wrong_release(logs, found.failure.question) or found.since)
            (options.output / f"{name}.md").write_text(issue_text(found), encoding="utf-8")
        said = f"not here: {found}" if isinstance(found, str) else "written"
        print(f"{time.monotonic() - start_s:6.1f} s  {name}: {said}", flush=True)
    (options.output / "README.md").write_text(listing(options.output, options.kept), encoding="utf-8")
    FINDINGS.write_text(linked(FINDINGS.read_text(encoding="utf-8"), options.output), encoding="utf-8")


if __name__ == "__main__":
    main()
