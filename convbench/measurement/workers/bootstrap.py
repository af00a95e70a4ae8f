"""Start a module of this convbench in the interpreter of another environment: `python .../bootstrap.py MODULE`.

Run by its path, since that environment need not have convbench. The package alone is made known there, by its place:
the folder it stands in may hold all the libraries of the environment that it was installed in, and so must not come
onto `sys.path`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Make convbench importable, then call `main` of the module that is named on the command line."""
    here = Path(__file__).resolve().parent
    # A script's own folder comes first, and its modules are not to be found by their bare names.
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != here]
    make_known(here.parents[1])
    importlib.import_module(sys.argv[1]).main()


def make_known(package: Path) -> None:
    """Import the folder `package` as `convbench`."""
    spec = importlib.util.spec_from_file_location(
        "convbench", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["convbench"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
