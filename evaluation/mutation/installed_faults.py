"""The seeded faults as an installed plugin: the machines of a cluster have what is installed there, and nothing else.

python evaluation/mutation/installed_faults.py FOLDER     # on each machine, in the same checkout
PYTHONPATH=FOLDER convbench worker tls://head:8786
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

HERE = Path(__file__).resolve().parent
_PLUGIN = """
import sys

sys.path.append({folder!r})
import faults

names = {names!r}
BACKENDS = tuple(backend for backend in faults.BACKENDS if names is None or backend.name in names)
"""


def install(folder: Path, names: Collection[str] | None = None) -> None:
    """Make a plugin in `folder`, for PYTHONPATH, with the backends of faults.py of these names, or all."""
    about = folder / "seeded-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: seeded\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[convbench.backends]\nseeded = seeded_for_fleet\n")
    chosen = None if names is None else tuple(names)
    (folder / "seeded_for_fleet.py").write_text(_PLUGIN.format(folder=str(HERE), names=chosen))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    install(Path(sys.argv[1]))
