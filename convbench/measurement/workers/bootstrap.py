"""Run a module of this convbench: `python -P .../bootstrap.py MODULE`, in this interpreter or another environment's.

It is run by its path because another environment need not have convbench, and because `python -m` would take a folder
of that name in the current one. It imports the package from its own location and leaves the folder around the package
off `sys.path`: that folder may hold all the libraries of this environment.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Make convbench importable, then call `main` of the module named on the command line."""
    init = Path(__file__).resolve().parents[2] / "__init__.py"
    spec = importlib.util.spec_from_file_location("convbench", init, submodule_search_locations=[str(init.parent)])
    assert spec is not None and spec.loader is not None
    sys.modules["convbench"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["convbench"])
    from convbench.measurement.workers.lifeline import hold

    hold()
    importlib.import_module(sys.argv[1]).main()


if __name__ == "__main__":
    main()
