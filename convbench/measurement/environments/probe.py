"""What another environment can run, asked in its own interpreter: which backends, and why not the others.

Started by `start.py`. JSON comes in on standard input; the answer is the last line of standard output.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from convbench.registry import Origin, find

WORKER_NEEDS = ("numpy", "ml_dtypes")
"""What a worker imports besides its backend's libraries: each is both a module and what pip installs."""


def main() -> None:
    """Answer for the backends asked about: what a worker misses here, else each one's reason, null if it can run."""
    asked = json.load(sys.stdin)
    missing = {name: reason for name in WORKER_NEEDS if (reason := _missing(name))}
    reasons = [] if missing else [_unavailable(one) for one in asked["backends"]]
    sys.stdout.write("\n" + json.dumps({"missing": missing, "reasons": reasons}) + "\n")


def _missing(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"{module} is not installed" if error.name == module else f"importing {module}: {error}"
    except Exception as error:
        return f"importing {module} raised {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def _unavailable(asked: Mapping[str, Any]) -> str | None:
    try:
        return find(Origin(**asked["origin"]), asked["name"]).unavailable()
    except (Exception, SystemExit) as error:
        return f"asking whether it is available raised {type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
