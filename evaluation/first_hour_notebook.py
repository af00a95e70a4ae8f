"""Execute docs/notebooks/first-hour.ipynb and keep its outputs in it: a minute.

    python evaluation/first_hour_notebook.py

The site shows these outputs. A test executes the notebook, and fails where the code has changed since this script ran.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
import notebooks

CHECKOUT = Path(__file__).resolve().parents[1]
NOTEBOOK = CHECKOUT / "docs" / "notebooks" / "first-hour.ipynb"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="first-hour-") as folder:
        executed = notebooks.execute(notebooks.read(NOTEBOOK), Path(folder))
    nbformat.write(executed, NOTEBOOK)
    print(f"{NOTEBOOK.relative_to(CHECKOUT)}: {NOTEBOOK.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
