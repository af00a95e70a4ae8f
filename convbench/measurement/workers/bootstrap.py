"""Run a module of this convbench in the interpreter of another environment: `python .../bootstrap.py MODULE`.

It is run by its path because that environment need not have convbench. It imports the package from its own location and
leaves the folder around the package off `sys.path`: that folder may hold all the libraries of this environment.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Make convbench importable, then call `main` of the module named on the command line."""
    here = Path(__file__).resolve().parent
    # Python puts a script's folder first on the path, where its modules would hide others of the same names.
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != here]
    init = here.parents[1] / "__init__.py"
    spec = importlib.util.spec_from_file_location("convbench", init, submodule_search_locations=[str(init.parent)])
    assert spec is not None and spec.loader is not None
    sys.modules["convbench"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["convbench"])
    importlib.import_module(sys.argv[1]).main()


if __name__ == "__main__":
    main()
