"""A process on a machine of the fleet that says what the machine is: `convbench.fleet.remote` starts it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from convbench.fleet.machines.machine_lock import machine_lock
from convbench.installation import CHECKOUT, PACKAGE, VERSION
from convbench.measurement.machine.facts import machine_facts, machine_name
from convbench.measurement.machine.gpu import first_gpu
from convbench.measurement.workers.json_child import read_request, send_message
from convbench.registry import discover, versions


def main() -> None:
    """Read the request, and send the description."""
    request = read_request()
    gpu = first_gpu()
    described = {
        "name": machine_name(),
        "facts": machine_facts(),
        "gpus": [str(gpu.facts().get("name", "GPU"))] if gpu else [],
        "convbench": VERSION,
        "source": source_digest(),
        "backends": {entry.name: versions(entry.backend) for entry in discover() if entry.unavailable() is None},
        "boot": _boot(),
        "lock_place": _folder_number(Path(request["lock"]).parent),
        "doctor": _doctor(request["lock"]) if request.get("doctor") else None,
    }
    send_message(type="described", described=described)


def source_digest() -> str:
    """A digest of the source text of convbench, its backends and its suites: the same for a checkout and its wheel."""
    sources = _python_files(Path(PACKAGE), "")
    for part in ("backends", "suites") if CHECKOUT is not None else ():
        sources |= _python_files(Path(str(CHECKOUT)) / part, f"{part}/")
    digest = hashlib.sha256()
    for name, path in sorted(sources.items()):
        digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _python_files(folder: Path, prefix: str) -> dict[str, Path]:
    return {prefix + path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _folder_number(folder: Path) -> str:
    """The same for two processes where the same folder is meant, whatever containers call it."""
    status = folder.stat()
    return f"{status.st_dev}:{status.st_ino}"


def _doctor(lock: str) -> dict[str, Any]:
    """How well it can measure, in some 12 seconds."""
    from convbench.runner.doctor import QUICK, examine, subject

    def advance(*_: object, **__: object) -> None:
        send_message(type="alive")

    with machine_lock(lock, lambda sentence: send_message(type="message", text=sentence)):
        diagnosis = examine(*subject("numpy-gemm", "n1c64h28w28_o64k3_p1", ()), 1, QUICK, advance)
    return {
        "typical_error": diagnosis.wall.typical,
        "worst_error": diagnosis.wall.worst,
        "limit": str(diagnosis.limit.hazard.kind) if diagnosis.limit.hazard else None,
        "hazards": [hazard.sentence for hazard in diagnosis.hazards],
    }
