"""This installation of convbench: its version, its folder, and the checkout that it runs from."""

from pathlib import Path

VERSION = "0.1.0"
PACKAGE = Path(__file__).resolve().parent


def _checkout() -> Path | None:
    # In a checkout `backends/` and `suites/` stand beside the package; installed, they are inside it.
    folder = PACKAGE.parent
    return folder if (folder / "backends").is_dir() and (folder / "pyproject.toml").is_file() else None


CHECKOUT = _checkout()
"""The folder of the checkout; None when convbench is installed."""
