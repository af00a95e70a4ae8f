"""oneDNN's verbose log: what it prints during a call, and the kernels that it names there.

Its lines are comma-separated fields, such as

    onednn_verbose,v1,primitive,exec,cpu,convolution,brg_conv_fwd:avx512_core,forward_training,src:f32::blocked:...

The format is documented (oneDNN's developer guide, "Verbose Mode") and has changed between releases. So only lines are
read whose fields up to the kernel are the ones of a known release.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Callable

_MOST_BYTES, _MOST_KERNELS = 2**20, 3
_LINE = re.compile(
    r"(?:onednn|dnnl)_verbose,(?:v1,)?(?:primitive,)?(?:exec|create:cache_hit|create:cache_miss|create:dispatch),cpu,"
    r"(convolution|matmul|inner_product),([A-Za-z0-9_.:+]{2,60}),[a-z_]+,"
)


def kernels_in(log: str) -> str | None:
    """The kernels that computed convolutions or matrix products according to `log`, in their order, such as
    "brg_conv_fwd:avx512_core"; None if there is none, or so many that it was no single convolution."""
    names: dict[str, None] = {}
    for line in log.splitlines():
        if match := _LINE.match(line):
            primitive, name = match.groups()
            names[name if primitive == "convolution" else f"{primitive} {name}"] = None
    return " + ".join(names) if 0 < len(names) <= _MOST_KERNELS else None


def printed_by(call: Callable[[], object]) -> str:
    """What the process prints on its standard output during `call`, from C as well as from Python. Raises what `call`
    raises, and `OSError` without a standard output."""
    _flush()
    with tempfile.TemporaryFile() as file:
        output = os.dup(1)
        try:
            os.dup2(file.fileno(), 1)
            call()
        finally:
            _flush()
            os.dup2(output, 1)
            os.close(output)
        file.seek(0)
        return file.read(_MOST_BYTES).decode(errors="replace")


def _flush() -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # Windows has no library of the process
        ctypes.CDLL(None).fflush(None)
