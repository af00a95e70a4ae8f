"""A campaign: one request that many machines fulfil, with a name that `--resume` finds again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILE = "campaigns.jsonl"


def campaign(results: Path, request: Mapping[str, Any], *, resume: bool) -> tuple[str, bool]:
    """The name of the campaign for this request, and whether it was begun before: with `resume` that of the last one,
    else a new one, which is noted in the results folder."""
    what = hashlib.blake2b(json.dumps(request, sort_keys=True).encode(), digest_size=8).hexdigest()
    file = results / _FILE
    if resume and (last := _last(file, what)) is not None:
        return last, True
    name = f"{new_name('fleet')}-{what[:6]}"
    results.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"campaign": name, "request": what}) + "\n")
    return name, False


def new_name(prefix: str) -> str:
    """A name that no other campaign has."""
    return f"{prefix}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{time.time_ns() % 0x1000000:06x}"


def _last(file: Path, what: str) -> str | None:
    last = None
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                noted = json.loads(line)
                last = noted["campaign"] if noted["request"] == what else last
            except (ValueError, TypeError, KeyError):
                continue
    return last
