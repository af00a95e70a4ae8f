"""convbench: is this conv2d right, how fast is it here, which should I use, and did that change?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convbench.installation import CHECKOUT, VERSION

__version__ = VERSION

if CHECKOUT is not None:  # where `backends/` and `suites/` stand beside this package and are part of it
    __path__.append(str(CHECKOUT))

if TYPE_CHECKING:
    from convbench.api.choose import choose
    from convbench.api.compare import compare
    from convbench.api.run import run
    from convbench.api.verify import verify
    from convbench.backend import Arithmetic, Backend, Ready, Supports
    from convbench.plans.application import apply
    from convbench.plans.dispatch import Conv2d, conv2d
    from convbench.plans.plan import read_plan
    from convbench.problem import ConvProblem
    from convbench.store.frame import load
    from convbench.suite import load_suite

_MODULES = {
    "Arithmetic": "convbench.backend",
    "Backend": "convbench.backend",
    "Conv2d": "convbench.plans.dispatch",
    "ConvProblem": "convbench.problem",
    "Ready": "convbench.backend",
    "Supports": "convbench.backend",
    "apply": "convbench.plans.application",
    "choose": "convbench.api.choose",
    "compare": "convbench.api.compare",
    "conv2d": "convbench.plans.dispatch",
    "load": "convbench.store.frame",
    "load_suite": "convbench.suite",
    "read_plan": "convbench.plans.plan",
    "run": "convbench.api.run",
    "verify": "convbench.api.verify",
}

__all__ = [
    "Arithmetic",
    "Backend",
    "Conv2d",
    "ConvProblem",
    "Ready",
    "Supports",
    "__version__",
    "apply",
    "choose",
    "compare",
    "conv2d",
    "load",
    "load_suite",
    "read_plan",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Late, because `convbench --help` must not pay for pandas.
    if name not in _MODULES:
        raise AttributeError(f"module 'convbench' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
