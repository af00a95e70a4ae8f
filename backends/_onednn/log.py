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

from .._fusion import SUM

_MOST_BYTES, _MOST_KERNELS = 2**20, 3
_LINE = re.compile(
    r"(?:onednn|dnnl)_verbose,(?:v1,)?(?:primitive,)?(?:exec|create:cache_hit|create:cache_miss|create:dispatch),cpu,"
    r"(convolution|matmul|inner_product),([A-Za-z0-9_.:+]{2,60}),[a-z_]+,"
)

LOSES_NAN = ("relu", "relu6", "clip", "sigmoid")
"""The activations that oneDNN's post-ops compute by minima and maxima of vectors, which make numbers of NaN."""
_POST_OPS = re.compile(r"attr-post-ops:([A-Za-z0-9_.:+-]+)")
_PARTS: dict[str, set[str]] = {
    "sum": {SUM},
    "binary_add": {SUM},
    "eltwise_relu": {"relu", "leaky_relu"},
    "eltwise_clip": {"relu6", "clip"},
    "eltwise_clip_v2": {"relu6", "clip"},
    "eltwise_hardswish": {"hard_swish"},
    "eltwise_swish": {"silu"},
    "eltwise_logistic": {"sigmoid"},
    "eltwise_gelu_erf": {"gelu"},
    "eltwise_gelu_tanh": {"gelu_tanh"},
    "eltwise_gelu": {"gelu_tanh"},
}


def kernels_in(log: str) -> str | None:
    """The kernels that computed convolutions or matrix products according to `log`, in their order, such as
    "brg_conv_fwd:avx512_core"; None if there is none, or so many that it was no single convolution."""
    names: dict[str, None] = {}
    for line in log.splitlines():
        if match := _LINE.match(line):
            primitive, name = match.groups()
            names[name if primitive == "convolution" else f"{primitive} {name}"] = None
    return " + ".join(names) if 0 < len(names) <= _MOST_KERNELS else None


def fused_in(log: str) -> set[str]:
    """The parts of an epilogue (`_fusion.parts_of`) that oneDNN computed within a convolution, by its post-ops, such as
    attr-post-ops:sum+eltwise_relu."""
    fused: set[str] = set()
    for line in log.splitlines():
        match = _POST_OPS.search(line)
        if match and _LINE.match(line):
            for name in match[1].split("+"):
                fused |= _PARTS.get(name.split(":")[0], set())
    return fused


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
