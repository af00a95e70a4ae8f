"""convbench: is this conv2d right, how fast is it here, which should I use, and did that change?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# In a checkout `backends/` and `suites/` stand beside this package and are part of it; installed, they are inside it.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "backends").is_dir() and (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))

if TYPE_CHECKING:
    from convbench.problem import ConvProblem
    from convbench.store.frame import load

__all__ = ["ConvProblem", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # Late, so that `convbench --help` does not pay for pandas.
    if name == "ConvProblem":
        from convbench.problem import ConvProblem

        return ConvProblem
    if name == "load":
        from convbench.store.frame import load

        return load
    raise AttributeError(f"module 'convbench' has no attribute {name!r}")
