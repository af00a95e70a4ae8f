"""`convbench compare`: two sets of records, worst first, with an exit code for CI."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.comparison import Change, Comparison, Verdict, compare
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.interface.figures import aligned, milliseconds
from convbench.interface.tables import plain_table, print_json, show_journal_warnings, stdout
from convbench.store.folder import results_folder
from convbench.store.journal import JournalWarning, Record
from convbench.store.records import records

_STYLES = {Verdict.SLOWER: "bold red", Verdict.FASTER: "bold green", Verdict.SAME: "dim", Verdict.UNCLEAR: "yellow"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given."""

    base: str
    new: str
    backend: str | None = None
    against: str | None = None
    threshold: float = 0.05
    results: Path | None = None
    as_json: bool = False
    markdown: bool = False


def compare_records(request: Request) -> int:
    """Compare, show, and give the exit code: 1 on a regression or something broken, 3 when nothing is comparable."""
    show_journal_warnings()
    base, new = (_records(text, request.results) for text in (request.base, request.new))
    if request.backend is not None:
        base = [r for r in base if r["backend"] == request.backend]
        wanted = request.against or request.backend
        # Two backends are compared as if they were one that changed.
        new = [r | {"backend": request.backend} for r in new if r["backend"] == wanted]
    found = compare(base, new, request.threshold)
    if not found.changes and not found.broken:
        raise NothingMeasuredError(
            f"nothing to compare: {request.base} has {len(base)} records and {request.new} {len(new)}, and no suite, "
            "case, backend and number of threads is timed in both."
        )
    if request.as_json:
        print_json(_row(change) for change in found.changes)
    elif request.markdown:
        stdout().print(Text(_markdown(found, request)), soft_wrap=True)
    else:
        stdout().print(_report(found, request))
    regressed = any(change.regressed(request.threshold) for change in found.changes)
    return 1 if regressed or found.broken else 0


def _records(text: str, results: Path | None) -> list[Record]:
    """The records that `text` names: a journal or a folder of them, a machine, or a commit, tag or branch."""
    path = Path(text)
    if path.exists():
        return list(records(path))
    folder = results_folder(results)
    if (folder / text).is_dir() and text not in ("", ".", ".."):
        return list(records(folder / text))
    if commit := _commit(text):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JournalWarning)
            found = [r for r in records(folder) if r.get("commit") == commit] if folder.is_dir() else []
        if found:
            return found
        raise ResultsError(f"{text!r} is commit {commit[:8]}, and no record in {folder} was measured at it.")
    raise ResultsError(
        f"{text!r} is no journal, no machine in {folder} and no commit here; give the path of a .jsonl file or of a "
        "folder of them, the name of a machine, or a commit, tag or branch."
    )


def _commit(text: str) -> str | None:
    if text.startswith("-"):
        return None
    words = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except (OSError, ValueError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _row(change: Change) -> dict[str, Any]:
    return {
        "suite": change.suite,
        "case": change.case,
        "backend": change.backend,
        "base_s": change.base["median_s"],
        "new_s": change.new["median_s"],
        "ratio": change.ratio.value,
        "low": change.ratio.low,
        "high": change.ratio.high,
        "q_value": change.q_value,
        "verdict": str(change.verdict),
    }


_HEADERS = ("verdict", "suite", "case", "backend", "base ms", "new ms", "new/base", "95 % interval")


def _cells(changes: Sequence[Change]) -> list[tuple[str, ...]]:
    olds, news = (aligned([milliseconds(r["median_s"]) for r in side]) for side in zip(*_sides(changes), strict=True))
    return [
        (
            str(c.verdict),
            c.suite,
            c.case,
            c.backend,
            old,
            new,
            f"{c.ratio.value:.3f}",
            f"{c.ratio.low:.3f} – {c.ratio.high:.3f}",
        )
        for c, old, new in zip(changes, olds, news, strict=True)
    ]


def _sides(changes: Sequence[Change]) -> list[tuple[Record, Record]]:
    return [(change.base, change.new) for change in changes]


def _report(found: Comparison, request: Request) -> RenderableType:
    parts: list[RenderableType] = []
    if found.changes:
        rows: list[tuple[str | Text, ...]] = [
            (Text(cells[0], style=_STYLES[change.verdict]), *cells[1:])
            for change, cells in zip(found.changes, _cells(found.changes), strict=True)
        ]
        parts += [plain_table(_HEADERS, rows, right=range(4, 8)), Text()]
    parts += [
        Text(f"broken: {r['backend']} on {r['case']} was right and is now {r['status']}: {r['reason']}", style="red")
        for r in found.broken
    ]
    return Group(*parts, Text(_sentence(found, request)))


def _markdown(found: Comparison, request: Request) -> str:
    lines = ["| " + " | ".join(_HEADERS) + " |", "|" + "---|" * 4 + "---:|" * 4]
    rows = _cells(found.changes) if found.changes else []
    lines += ["| " + " | ".join(_escaped(cell) for cell in cells) + " |" for cells in rows]
    lines += [
        f"\n**broken**: {_escaped(r['backend'])} on {_escaped(r['case'])} is now {_escaped(r['status'])}."
        for r in found.broken
    ]
    return "\n".join([*lines, "", _sentence(found, request)])


def _escaped(text: str) -> str:
    return "".join("\\" + c if c in "\\`*_{}[]<>|~#!&" else c for c in " ".join(text.split()))


def _sentence(found: Comparison, request: Request) -> str:
    regressions = sum(change.regressed(request.threshold) for change in found.changes)
    counts = [(v, sum(change.verdict is v for change in found.changes)) for v in Verdict]
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
    sentence = f"{len(found.changes)} pairs: {told or 'none timed in both'}."
    if found.geometric_mean is not None:
        sentence += f" Geometric mean new/base {found.geometric_mean:.3f}."
    sentence += f" {regressions} slower by more than {request.threshold:.0%}."
    if found.only_base or found.only_new:
        sentence += f" Not compared: {found.only_base} only in the base, {found.only_new} only in the new."
    return sentence
