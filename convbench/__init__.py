"""convbench: is this conv2d right, how fast is it here, which should I use, and did that change?"""

from __future__ import annotations

import os
import sys

try:
    from convbench.installation import CHECKOUT, VERSION
except KeyboardInterrupt:
    if "convbench" in (os.path.basename(sys.argv[0]), *sys.orig_argv[2:3]):  # noqa: PTH119, pathlib takes long to import
        os._exit(130)  # as the command does from its own first line on
    raise

__version__ = VERSION

if CHECKOUT is not None:  # where `backends/` and `suites/` stand beside this package and are part of it
    __path__.append(CHECKOUT)

TYPE_CHECKING = False  # that of `typing`, which takes long to import: an interrupt meanwhile would show a traceback
if TYPE_CHECKING:
    from typing import Any

    from convbench.api.choose import choose as choose
    from convbench.api.choose_dtypes import choose_dtypes as choose_dtypes
    from convbench.api.cluster import Cluster as Cluster
    from convbench.api.cluster import choose_hardware as choose_hardware
    from convbench.api.compare import compare as compare
    from convbench.api.picture import picture as picture
    from convbench.api.report import report as report
    from convbench.api.run import run as run
    from convbench.api.verify import verify as verify
    from convbench.backend import Arithmetic as Arithmetic
    from convbench.backend import Backend as Backend
    from convbench.backend import Ready as Ready
    from convbench.backend import Supports as Supports
    from convbench.plans.application import apply as apply
    from convbench.plans.dispatch import Conv2d as Conv2d
    from convbench.plans.dispatch import conv2d as conv2d
    from convbench.plans.plan import read_plan as read_plan
    from convbench.problem import ConvProblem as ConvProblem
    from convbench.problem import Epilogue as Epilogue
    from convbench.store.frame import load as load
    from convbench.suite import load_suite as load_suite

_NAMES = {
    "api.choose": "choose",
    "api.cluster": "Cluster choose_hardware",
    "api.choose_dtypes": "choose_dtypes",
    "api.compare": "compare",
    "api.picture": "picture",
    "api.report": "report",
    "api.run": "run",
    "api.verify": "verify",
    "backend": "Arithmetic Backend Ready Supports",
    "plans.application": "apply",
    "plans.dispatch": "Conv2d conv2d",
    "plans.plan": "read_plan",
    "problem": "ConvProblem Epilogue",
    "store.frame": "load",
    "suite": "load_suite",
}
_MODULES = {name: f"convbench.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    # Late, because `convbench --help` must not pay for pandas.
    if name not in _MODULES:
        raise AttributeError(f"module 'convbench' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
