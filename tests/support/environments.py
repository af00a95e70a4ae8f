"""Environments for tests, made in a moment and without a network: what they share with this one they have by links."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

NEEDED_BY_WORKERS = ("numpy", "ml_dtypes")


def virtual_environment(folder: Path, links: Iterable[str] = NEEDED_BY_WORKERS) -> Path:
    """A virtual environment in `folder` that has nothing but the packages `links`; gives its `site-packages`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    link(links, site)
    return site


def link(packages: Iterable[str], into: Path) -> None:
    """Link `packages` of this environment, with their shared libraries and metadata, into a folder."""
    for package in packages:
        here = Path(str(importlib.metadata.distribution(package).locate_file("")))
        found = [
            p for p in here.iterdir() if p.name in (package, f"{package}.libs") or p.name.startswith(f"{package}-")
        ]
        assert found, f"{package} is not in {here}"
        for path in found:
            (into / path.name).symlink_to(path)


def library(version: str, finish: str = "output") -> dict[str, str]:
    """The files of a library `fake_conv` whose `finish(output)` gives this expression."""
    return {
        "fake_conv.py": f"import time\n\ndef finish(output):\n    return {finish}\n",
        f"fake_conv-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: fake-conv\nVersion: {version}\n",
    }


def write(files: dict[str, str], folder: Path) -> None:
    """Write `files`, by their names, into `folder`."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def wheel(
    folder: Path, name: str, version: str, files: dict[str, str], day: tuple[int, int, int], more: str = ""
) -> None:
    """Build a wheel of `files`, all of that day; `more` are further lines of its metadata."""
    metadata = f"{name}-{version}.dist-info"
    files = files | {
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{metadata}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{metadata}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(file, (*day, 12, 0, 0)), text)
