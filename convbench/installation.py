"""This installation of convbench: its version, its folder, and the checkout that it runs from.

It imports what every interpreter has imported already, and nothing else (`convbench/__main__.py` says why).
"""
# ruff: noqa: PTH112, PTH113, PTH118, PTH120, PTH121

import os

VERSION = "0.1.0"
PACKAGE = os.path.dirname(os.path.realpath(__file__))


def _checkout() -> "str | None":
    # In a checkout `backends/` and `suites/` stand beside the package; installed, they are inside it.
    folder = os.path.dirname(PACKAGE)
    is_one = os.path.isdir(os.path.join(folder, "backends")) and os.path.isfile(os.path.join(folder, "pyproject.toml"))
    return folder if is_one else None


CHECKOUT = _checkout()
"""The folder of the checkout; None when convbench is installed."""


def pip_line(requirement: str) -> str:
    """What to type to install `requirement`. In a checkout, the extra `convbench[torch]` is installed from it."""
    extra = requirement.strip("'")
    if not extra.startswith("convbench["):
        return f"pip install {requirement}"
    if CHECKOUT is None:
        return f"pip install '{extra}'"
    try:
        folder = "." if os.path.samefile(os.curdir, CHECKOUT) else CHECKOUT
    except OSError:  # the current folder is gone
        folder = CHECKOUT
    return f"pip install -e '{folder}{extra.removeprefix('convbench')}'"
