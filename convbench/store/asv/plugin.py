"""asv's plugin: the environment type `convbench`, which is the interpreter at hand under a name that does not change.

asv's own type for that names itself by the interpreter's path, so that every virtual environment starts a new series.
"""

from __future__ import annotations

from typing import Any

from asv.environment import ExistingEnvironment, get_env_name
from asv.util import check_output

_ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


class ConvbenchEnvironment(ExistingEnvironment):  # type: ignore[misc]
    """The running interpreter, known by its version."""

    tool_name = "convbench"

    def __init__(self, conf: Any, executable: str, requirements: Any, tagged_env_vars: Any) -> None:
        super().__init__(conf, executable, requirements, tagged_env_vars)
        self._python = check_output([self._executable, "-c", _ASK_VERSION]).strip()

    @property
    def name(self) -> str:
        return str(get_env_name(self.tool_name, self._python, {}, self._tagged_env_vars))
