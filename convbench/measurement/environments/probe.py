"""What another environment can run, answered by its own interpreter: why each backend cannot run, or null.

Run by `JsonChild` with `{"backends": [{"origin": {...}, "name": "..."}]}`. It sends `{"missing": {...}, "reasons":
[...]}`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from convbench.measurement.workers.json_child import read_request, send_message
from convbench.registry import Origin, find

WORKER_NEEDS = ("numpy", "ml_dtypes")
"""What a worker imports besides its backend's libraries: each name is that of a module and of its distribution."""


def main() -> None:
    """Send what a worker lacks here and, if nothing, the reason for each backend."""
    request = read_request()
    missing = {name: reason for name in WORKER_NEEDS if (reason := _missing(name))}
    reasons = [] if missing else [_unavailable(backend) for backend in request["backends"]]
    send_message(missing=missing, reasons=reasons)


def _missing(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"{module} is not installed" if error.name == module else f"importing {module}: {error}"
    except Exception as error:
        return f"importing {module} raised {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def _unavailable(backend: Mapping[str, Any]) -> str | None:
    try:
        return find(Origin(**backend["origin"]), backend["name"]).unavailable()
    except (Exception, SystemExit) as error:
        return f"asking whether it is available raised {type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
