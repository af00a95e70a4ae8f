"""Faults of form, and breakdowns: the wrong shape or dtype, and calls that end without an answer."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import numpy as np

from seeded_faults.changes import output
from seeded_faults.convolution import Array
from seeded_faults.fault import Call, Fault

_BLOCK_BYTES = 2**30
_FOREVER_S = 10**6


def _crash(call: Call) -> Any:
    return ctypes.string_at(0)


def _hang(call: Call) -> Any:
    time.sleep(_FOREVER_S)


def _exit(call: Call) -> Any:
    os._exit(0)


def _raise(call: Call) -> Any:
    raise RuntimeError("could not create a primitive")


def _eat_memory(call: Call) -> Any:
    # Never touched, so that it ends at a limit, or at the end of the address space, without harm to anybody.
    blocks: list[Array] = []
    while True:
        blocks.append(np.empty(_BLOCK_BYTES, np.uint8))


FAULTS = (
    Fault(
        "float32-for-bfloat16",
        "form",
        "bfloat16 is given in float32",
        "n1c2h5w5_o3k3_bf16",
        "bfloat16",
        steps=output(lambda out: out.astype(np.float32)),
    ),
    Fault(
        "float32-for-float64",
        "form",
        "float64 of one channel is given in float32",
        "n1c1h5w5_o3k3_f64",
        "float64 & one channel",
        steps=output(lambda out: out.astype(np.float32)),
    ),
    Fault(
        "axes-of-one-dropped",
        "form",
        "one image's one channel is given without their axes",
        "n1c2h5w5_o1k3",
        "one image & one filter",
        steps=output(lambda out: out[0, 0]),
    ),
    Fault(
        "channels-last-output",
        "form",
        "depthwise outputs are given as NHWC",
        "n1c3h5w6_o3k3_g3",
        "depthwise",
        steps=output(lambda out: out.transpose(0, 2, 3, 1)),
    ),
    Fault(
        "crash",
        "breakdown",
        "a segmentation fault where there are groups, dilation and reflection",
        "n1c4h6w6_o4k3_p1_d2_g2_reflect",
        "grouped & dilated & reflect",
        seen="breakdown",
        around=_crash,
    ),
    Fault(
        "exit",
        "breakdown",
        "the process ends, without an error, where there are stride, bias and float16",
        "n1c2h5w5_o3k3_s2_bias_f16",
        "strided & biased & float16",
        seen="breakdown",
        around=_exit,
    ),
    Fault(
        "hang",
        "breakdown",
        "a call that never ends where wrapping round, stride and an even kernel meet",
        "n1c2h6w6_o3k2_s2_p1_circular",
        "circular & strided & even kernel",
        seen="breakdown",
        around=_hang,
    ),
    Fault(
        "memory-eaten",
        "breakdown",
        "more and more memory is asked for where negative padding and dilation meet in float64",
        "n1c2h9w9_o3k3_p-1_d2_f64",
        "negative padding & dilated & float64",
        seen="breakdown",
        around=_eat_memory,
    ),
    Fault(
        "exception",
        "breakdown",
        "an exception instead of a refusal where a depthwise kernel has one row and wraps round",
        "n1c3h5w6_o3k1x3_p0x1_g3_circular",
        "depthwise & 1xN kernel & circular",
        seen="breakdown",
        around=_raise,
    ),
)
