"""oneDNN's post-ops as an epilogue, in the words of benchdnn and of ONEDNN_VERBOSE, read and written.

    --attr-post-ops=sum+relu                     benchdnn
    attr-post-ops:eltwise_clip:0:6+binary_add:f32  ONEDNN_VERBOSE

A sum (`sum`, `add`, `binary_add`) and an element-wise function stand in the order in which they are computed. A sum may
have a scale of 1 and a data type; a function has its numbers after colons. Whatever else there is, such as a scale, a
product or two functions, is no epilogue, and is passed over as all attributes are that change no shape.
"""

from __future__ import annotations

import re
from typing import Any

from convbench.errors import ProblemError
from convbench.problem.epilogue import Activation, Epilogue, Residual

_OPTION = re.compile(r"attr-post[-_]ops[=:](\S+)")
_SUMS = ("sum", "add", "binary_add")
_WORDS: dict[str, Activation] = {
    "relu": "relu", "clip": "clip", "clip_v2": "clip", "hardswish": "hard_swish", "swish": "silu",
    "logistic": "sigmoid", "gelu_erf": "gelu", "gelu_tanh": "gelu_tanh",
}  # fmt: skip
_WRITTEN: dict[Activation, str] = {
    "relu": "relu", "relu6": "clip:0:6", "hard_swish": "hardswish:0.166667:0.5", "silu": "swish:1",
    "sigmoid": "logistic", "gelu": "gelu_erf", "gelu_tanh": "gelu_tanh",
}  # fmt: skip


def epilogue_of_post_ops(text: str) -> Epilogue | None:
    """The epilogue that the post-ops in an option or a field name; None without any, and for what is no epilogue."""
    match = _OPTION.search(text)
    if match is None:
        return None
    sums, functions = [], []
    for place, part in enumerate(match[1].strip("'\"").split("+")):
        name, *numbers = part.split(":")
        if name in _SUMS:
            sums.append((place, _is_plain_sum(name, numbers)))
        else:
            functions.append((place, _activation(name.removeprefix("eltwise_"), numbers)))
    if len(sums) > 1 or len(functions) > 1 or not all(plain for _, plain in sums):
        return None
    arguments = functions[0][1] if functions else {}
    if arguments is None:
        return None
    residual: Residual | None = None
    if sums:
        residual = "after" if functions and functions[0][0] < sums[0][0] else "before"
    try:
        return Epilogue(residual=residual, **arguments)
    except ProblemError:
        return None


def post_ops_of(epilogue: Epilogue) -> str:
    """benchdnn's post-ops for `epilogue`, such as `sum+relu`."""
    own = [] if epilogue.activation is None else [_word(epilogue, epilogue.activation)]
    before, after = (["sum"] * (epilogue.residual == when) for when in ("before", "after"))
    return "+".join([*before, *own, *after])


def _word(epilogue: Epilogue, activation: Activation) -> str:
    if activation == "leaky_relu":
        return f"relu:{epilogue.slope!r}"
    if activation == "clip":
        return f"clip:{epilogue.low!r}:{epilogue.high!r}"
    return _WRITTEN[activation]


def _is_plain_sum(name: str, numbers: list[str]) -> bool:
    """Whether it adds an array of the output's shape once: a sum of scale 1, a binary addition of one element each."""
    if name == "sum":
        return not numbers or numbers[0] in ("", "1", "1.0", "1.")
    return len(numbers) < 2 or numbers[1] in ("per_tensor", "15")


def _activation(name: str, numbers: list[str]) -> dict[str, Any] | None:
    """The arguments of `Epilogue` for an element-wise function; None for one that is no activation of it."""
    activation = _WORDS.get(name)
    try:
        alpha, beta = (float(number) for number in [*numbers, "0", "0"][:2])
    except ValueError:
        return None
    if activation == "relu":
        return {"activation": "leaky_relu", "slope": alpha}
    if activation == "clip":
        return {"activation": "clip", "low": alpha, "high": beta}
    if activation == "hard_swish" and not (abs(alpha - 1 / 6) < 1e-3 and beta == 0.5):
        return None
    if activation == "silu" and alpha != 1:
        return None
    return None if activation is None else {"activation": activation}
