"""A campaign: one request that many machines fulfil, with a name that `--resume` finds again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

_FILE = "campaigns.jsonl"
_NEWEST = 200


def campaign(results: Path, request: Mapping[str, Any], *, resume: bool) -> tuple[str, bool]:
    """The name of the campaign for this request, and whether it was begun before: with `resume` that of the last one,
    else a new one, which is noted in the results folder."""
    what = hashlib.blake2b(json.dumps(request, sort_keys=True).encode(), digest_size=8).hexdigest()
    file = results / _FILE
    last = _last(file, what) if resume else None
    name = f"{new_name('fleet')}-{what[:6]}" if last is None else last
    _note(results, {"campaign": name, "request": what})
    return name, last is not None


def note_gathered(results: Path, name: str, machine: str, journals: Collection[Path]) -> None:
    """Note that all records of a machine in a campaign are in these journals here; they are on disk when it returns."""
    for journal in journals:
        with journal.open("ab") as file:
            os.fsync(file.fileno())
    _note(results, {"campaign": name, "machine": machine, "gathered": sorted(journal.stem for journal in journals)})


def gathered(results: Path) -> dict[str, dict[str, list[str]]]:
    """By machine and campaign the names of journals that are here as a whole: of the newest campaigns. One that was
    begun again since is not: its machine may have more."""
    noted: dict[str, dict[str, list[str]]] = {}
    for line in _lines(results / _FILE):
        if "request" in line:
            for campaigns in noted.values():
                campaigns.pop(str(line.get("campaign")), None)
        elif isinstance(line.get("gathered"), list):
            noted.setdefault(str(line.get("machine")), {})[str(line.get("campaign"))] = line["gathered"]
    return {machine: dict(list(campaigns.items())[-_NEWEST:]) for machine, campaigns in noted.items()}


def _note(results: Path, line: Mapping[str, Any]) -> None:
    results.mkdir(parents=True, exist_ok=True)
    with (results / _FILE).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")


def new_name(prefix: str) -> str:
    """A name that no other campaign has."""
    return f"{prefix}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{time.time_ns() % 0x1000000:06x}"


def _last(file: Path, what: str) -> str | None:
    return next((str(line["campaign"]) for line in reversed(_lines(file)) if line.get("request") == what), None)


def _lines(file: Path) -> list[dict[str, Any]]:
    """The lines that can be read, as far as they name a campaign."""
    lines = []
    if file.is_file():
        for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                lines += [line] if isinstance(line, dict) and "campaign" in line else []
    return lines
