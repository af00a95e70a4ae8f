"""The verdicts of `convbench verify --cluster` on seeded faults: one command for all, over all cores of machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from installed_faults import install
from mutants_judged import Verified, first_failure


def verified_on_cluster(cluster: str, backends: Sequence[str], search_s: float) -> dict[str, Verified]:
    """What was said of each backend of faults.py, by name. Machines have them by `installed_faults.py`. Each is
    verified to its end; `seconds` is that of its campaigns. A command that says nothing ends the program."""
    with tempfile.TemporaryDirectory() as temporary:
        results, site = Path(temporary, "results"), Path(temporary, "site")
        install(site, backends)
        paths = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "convbench", "verify", "--cluster", cluster, "--search-time", str(search_s)]
        command += [word for name in backends for word in ("--backend", name)]
        done = subprocess.run(
            [*command, "--json", "--results", str(results)],
            env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        rows = {row["backend"]: row for row in map(json.loads, done.stdout.splitlines())}
        if not rows:
            raise SystemExit(f"convbench verify --cluster {cluster} ended with {done.returncode} and no answer.")
        return {name: _verdict(name, rows[name], results) for name in backends if name in rows}


def _verdict(name: str, row: dict[str, object], results: Path) -> Verified:
    status, seconds = str(row["status"]), float(str(row["seconds"]))
    if (first := first_failure(results, name)) is None:
        reason = None if row["reason"] is None else str(row["reason"])
        return Verified(status, int(str(row["cases"])) + int(str(row["searched"])), seconds, reason=reason)
    questions, finding = first
    return Verified(status, questions, seconds, finding["check"], finding["question"], finding["reason"])
