"""A kernel that changes between two runs is named by `compare`; journals of earlier versions are resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from places import PLUGINS

BACKEND = "follows-the-environment"
RUN = (
    *("run", "--problem", "n1c2h6w5_o3k3", "--plugin", str(PLUGINS / "explaining.py"), "--backend", BACKEND),
    *("--quick", "--no-asv"),
)


def convbench(*words: str | Path, kernel: str = "") -> str:
    variables = os.environ | ({"FAKE_KERNEL": kernel} if kernel else {})
    command = [sys.executable, "-m", "convbench", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def records(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    (journal,) = folder.rglob("*.jsonl")
    return journal, [json.loads(line) for line in journal.read_text().splitlines()]


def test_a_fallback_between_two_runs_is_named_and_an_older_journal_is_resumed(tmp_path: Path) -> None:
    base, new = tmp_path / "base", tmp_path / "new"
    assert "brg_conv:avx512_core" in convbench(*RUN, "--details", "--results", base)
    convbench(*RUN, "--results", new, kernel="ref:any")
    (before, first), (after, _) = records(base), records(new)
    assert [record["implementation"] for record in first] == ["brg_conv:avx512_core"]
    (row,) = map(json.loads, convbench("compare", before, after, "--json").splitlines())
    assert (row["base_implementation"], row["new_implementation"]) == ("brg_conv:avx512_core", "ref:any")
    for record in first:
        del record["implementation"], record["settings"]["explain"]
    before.write_text("".join(json.dumps(record) + "\n" for record in first))
    convbench(*RUN, "--resume", "--results", base)
    assert records(base) == (before, first)
