"""Make the images of docs/tutorial.md with the commands that stand in it: some 30 seconds.

    python evaluation/tutorial_images.py

It runs the page's `picture`, `run` and `report` commands in a temporary folder, and writes docs/images/tutorial-*.
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIDTH = 640  # px, as a page shows them
FROM = {
    "tutorial-sheet.jpg": "picture/sheet.png",
    "tutorial-time-against-work.png": "figures/time-against-work.png",
}


def commands() -> list[str]:
    """The commands of the page that make pictures, run the suite and report, in its order."""
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8").replace("\\\n", "")
    return re.findall(r"^\$ (convbench (?:picture|run|report) .*)$", page, re.MULTILINE)


def run(command: str, folder: Path) -> None:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "XDG_DATA_HOME": str(folder / "home"), "CONVBENCH_MACHINE": "laptop"}
    print(f"$ {command}", flush=True)
    subprocess.run(command, shell=True, cwd=folder, env=environment, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="convbench-") as place:
        folder = Path(place)
        for command in commands():
            run(command, folder)
        for name, source in FROM.items():
            with Image.open(folder / source) as image:
                small = image.convert("RGB").resize((WIDTH, round(image.height * WIDTH / image.width)))
                small.save(DOCS / "images" / name, optimize=True, quality=85)


if __name__ == "__main__":
    main()
