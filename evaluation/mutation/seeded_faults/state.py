"""Faults of state: what is kept from one call, or one problem, to the next."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from seeded_faults.convolution import Array
from seeded_faults.fault import Call, Fault

PAUSE_S = 0.0005  # long enough that two threads meet in it


def _wrong(out: Array) -> Array:
    return np.asarray(out + out.dtype.type(1))


def _on(number: Callable[[int], bool]) -> Callable[[Call], Array]:
    """Wrong on those calls, counted from 1, for which `number` holds."""
    return lambda call: _wrong(call.compute()) if number(call.number) else call.compute()


def _kept(name: str, key: Callable[[Call], Any]) -> Callable[[Call], Array]:
    """An operand kept from the first call that has the same key."""

    def around(call: Call) -> Array:
        operand = getattr(call, name)
        kept = call.kept.setdefault(key(call), None if operand is None else operand.copy())
        return call.compute(**{name: kept})

    return around


def _answer_kept(key: Callable[[Call], Any]) -> Callable[[Call], Array]:
    def around(call: Call) -> Array:
        if key(call) not in call.kept:
            call.kept[key(call)] = call.compute()
        return np.array(call.kept[key(call)])

    return around


def _added_to_what_was_there(call: Call) -> Array:
    total = call.kept.setdefault((call.problem, id(call.x)), np.zeros(call.problem.output_shape, call.x.dtype))
    total += call.compute()
    return np.array(total)


def _into_one_buffer(call: Call) -> Array:
    out = call.compute()
    buffer: Array = call.kept.setdefault((out.shape, out.dtype), np.empty_like(out))
    buffer[...] = out
    return buffer


def _without_clearing(call: Call) -> Array:
    # A workspace for the padded image, cleared when it is allocated, and allocated when it has to grow.
    size, left = call.kept.get("workspace", (0, 0))
    padding = left if call.x.size < size else 0
    if call.x.size >= size:
        call.kept["workspace"] = (call.x.size, call.x.flat[-1])
    x, steps = np.pad(call.x, ((0, 0), (0, 0), *call.problem.padding), constant_values=padding), call.steps
    unpadded = call.problem.replace(padding=0, height=x.shape[2], width=x.shape[3])
    return Call(unpadded, x, call.w, call.b, steps, call.number, call.kept).compute()


def _sums_in_one_buffer(call: Call) -> Array:
    out = call.compute()
    key = ("sums", out.shape, out.dtype)
    sums: Array = call.kept.setdefault(key, np.zeros_like(out))
    sums[...] = 0
    time.sleep(PAUSE_S)
    sums += out
    time.sleep(PAUSE_S)
    return sums.copy()


def _operands_in_one_place(call: Call) -> Array:
    call.kept["x", call.x.shape] = call.x
    time.sleep(PAUSE_S)
    return call.compute(x=call.kept["x", call.x.shape])


FAULTS = (
    Fault(
        "second-call",
        "state",
        "the second call is wrong",
        "n1c2h5w5_o3k3",
        seen="repeated",
        around=_on(lambda number: number == 2),
    ),
    Fault(
        "from-the-20th-call",
        "state",
        "calls are wrong from the 20th on",
        "n1c2h5w5_o3k3",
        seen="repeated",
        around=_on(lambda number: number >= 20),
    ),
    Fault(
        "every-seventh-call",
        "state",
        "every seventh call is wrong",
        "n1c2h5w5_o3k3",
        seen="repeated",
        around=_on(lambda number: number % 7 == 0),
    ),
    Fault(
        "third-call-of-a-strided-half",
        "state",
        "from the third call on, strided half formats are wrong",
        "n1c2h5w5_o3k3_s2_f16",
        "a half format & strided",
        seen="repeated",
        around=_on(lambda number: number >= 3),
    ),
    Fault(
        "stale-answer",
        "state",
        "the answer to a problem is kept, whatever the operands",
        "n1c2h5w5_o3k3",
        seen="anew",
        around=_answer_kept(lambda call: call.problem),
    ),
    Fault(
        "answer-kept-by-shape",
        "state",
        "the first answer of a shape and format is given ever after",
        "n1c2h5w5_o3k3",
        seen="anew",
        around=_answer_kept(lambda call: (call.problem.output_shape, call.problem.dtype)),
    ),
    Fault(
        "stale-input",
        "state",
        "the input of a problem is kept",
        "n1c2h5w5_o3k3",
        seen="anew",
        around=_kept("x", lambda call: call.problem),
    ),
    Fault(
        "stale-weight",
        "state",
        "the packed weight of a problem is kept",
        "n1c2h5w5_o3k3",
        seen="anew",
        around=_kept("w", lambda call: call.problem),
    ),
    Fault(
        "weight-kept-by-shape",
        "state",
        "the packed weight of a shape and format is kept",
        "n1c2h5w5_o3k3",
        seen="anew",
        around=_kept("w", lambda call: (call.w.shape, call.w.dtype)),
    ),
    Fault(
        "weight-kept-by-address",
        "state",
        "the packed weight at an address is kept, though the memory holds another by now",
        "n1c2h5w5_o3k3",
        seen="anew",
        around=_kept("w", lambda call: (call.w.ctypes.data, call.w.shape, call.w.strides, call.w.dtype)),
    ),
    Fault(
        "stale-bias",
        "state",
        "the bias of a problem is kept",
        "n1c2h5w5_o3k3_bias",
        "biased",
        seen="anew",
        around=_kept("b", lambda call: call.problem),
    ),
    Fault(
        "output-not-cleared",
        "state",
        "sums are added to what an earlier call left in the output",
        "n1c2h5w5_o3k3",
        seen="repeated",
        around=_added_to_what_was_there,
    ),
    Fault(
        "outputs-share-a-buffer",
        "state",
        "an answer is overwritten when another of its shape is computed",
        "n1c2h5w5_o3k3",
        seen="kept",
        around=_into_one_buffer,
    ),
    Fault(
        "workspace-not-cleared",
        "state",
        "where a larger image has been, the padding holds what that left there",
        "n1c2h9w9_o3k3_p1 then n1c2h5w5_o3k3_p1",
        "zeros & padded & nothing cropped",
        seen="sequence",
        around=_without_clearing,
    ),
    Fault(
        "threads-share-sums",
        "state",
        "two threads add up in one buffer, though it is said to be thread-safe",
        "n1c2h5w5_o3k3",
        seen="threads",
        around=_sums_in_one_buffer,
    ),
    Fault(
        "threads-share-operands",
        "state",
        "two threads that compute the same shape take each other's input, though it is said to be thread-safe",
        "n1c2h5w5_o3k3",
        seen="threads",
        around=_operands_in_one_place,
    ),
)
