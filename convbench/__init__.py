"""convbench: is this conv2d right, how fast is it here, which should I use, and did that change?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convbench.installation import CHECKOUT, VERSION

__version__ = VERSION

if CHECKOUT is not None:  # where `backends/` and `suites/` stand beside this package and are part of it
    __path__.append(str(CHECKOUT))

if TYPE_CHECKING:
    from convbench.api.compare import compare
    from convbench.plans.application import apply
    from convbench.plans.dispatch import Conv2d, conv2d
    from convbench.plans.plan import read_plan
    from convbench.problem import ConvProblem
    from convbench.store.frame import load

__all__ = ["Conv2d", "ConvProblem", "__version__", "apply", "compare", "conv2d", "load", "read_plan"]

_PLACES = {
    "Conv2d": "convbench.plans.dispatch",
    "ConvProblem": "convbench.problem",
    "apply": "convbench.plans.application",
    "compare": "convbench.api.compare",
    "conv2d": "convbench.plans.dispatch",
    "load": "convbench.store.frame",
    "read_plan": "convbench.plans.plan",
}


def __getattr__(name: str) -> Any:
    # Late, so that `convbench --help` does not pay for pandas.
    if name not in _PLACES:
        raise AttributeError(f"module 'convbench' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return found
