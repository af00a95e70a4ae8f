"""What a page weighs with the library that draws its figures: vl-convert's bundle of Vega, or plotly.js.

    python evaluation/overhead/page_libraries.py

plotly is not installed: pip downloads its wheel, which has plotly.min.js in it, into a temporary folder.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import vl_convert


def plotly() -> tuple[str, bytes]:
    """The version of the newest plotly, and its plotly.min.js."""
    with tempfile.TemporaryDirectory(prefix="convbench-") as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder]
        subprocess.run([*command, "plotly"], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/plotly.min.js"))
            return wheel.name.split("-")[1], archive.read(name)


def main() -> None:
    version, script = plotly()
    bundle = vl_convert.javascript_bundle().encode()
    print(f"{'library':40} {'MB':>6} {'MB gzipped':>11}")
    for name, content in (
        (f"Vega, of vl-convert {vl_convert.__version__}", bundle),
        (f"plotly.js, of plotly {version}", script),
    ):
        print(f"{name:40} {len(content) / 1e6:6.2f} {len(gzip.compress(content)) / 1e6:11.2f}")


if __name__ == "__main__":
    main()
