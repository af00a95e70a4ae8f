"""A wheel of the checkout that convbench runs from."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from convbench.errors import FleetError
from convbench.installation import CHECKOUT

_PARTS = ("convbench", "backends", "suites", "pyproject.toml", "README.md", "LICENSE")


def built_wheel(folder: Path) -> Path:
    """The wheel, built in `folder` from a copy: a build leaves files beside its sources. Raises `FleetError`."""
    if CHECKOUT is None:
        raise FleetError(
            "--ship builds a wheel of a checkout, and this convbench is installed; run it from a checkout."
        )
    source = folder / "source"
    source.mkdir()
    for part in _PARTS:
        _copy(Path(CHECKOUT) / part, source / part)
    # Without isolation pip needs no index; with it, pip fetches the setuptools that this environment lacks.
    is_isolated = importlib.util.find_spec("setuptools") is None
    options = ["--no-deps", "--quiet", "--wheel-dir", str(folder)] + ["--no-build-isolation"] * (not is_isolated)
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = (done.stderr or done.stdout).strip().splitlines() or ["pip said nothing"]
        raise FleetError(f"--ship could not build a wheel of {CHECKOUT}: {said[-1].strip()}")
    return wheels[0]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.is_file():
        shutil.copy(source, target)
