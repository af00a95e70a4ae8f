"""Case ids: the short, stable, unique name of a problem, such as `n1c64h56w56_o64k3_p1`.

A case id is a key in stored history: once released, the spelling of a problem never changes. The grammar, with defaults
left out and the parts always in this order:

    n<batch>c<in_channels>h<height>w<width>_o<out_channels>k<kernel>
    _s<stride>  _p<padding>  _d<dilation>  _g<groups>  _bias  _reflect | _replicate | _circular
    _f64 | _f16 | _bf16 | _<quantization>  _dgrad | _wgrad | _bgrad | _step  _<epilogue>

A pair of two sizes is written `3x5` (height x width). Padding is `_p1` or `_p1x2` (height x width). When the two sides
of an axis differ, every side is named: `_pt0b1l0r1` (top, bottom, left, right). Negative sizes carry a minus. An
epilogue is written as `convbench.problem.epilogue` says, such as `_relu` or `_add_leaky0.01`; a quantization as
`convbench.problem.quantization` says, without colons, such as `_u8zs8u8z`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from convbench.errors import ProblemError
from convbench.problem import epilogue
from convbench.problem.quantization import PATTERN, Quantization
from convbench.problem.vocabulary import Pair, Problem, Sides

_WORDS = {"float32": "", "float64": "_f64", "float16": "_f16", "bfloat16": "_bf16"}
_WORDS |= {"forward": "", "input_gradient": "_dgrad", "weight_gradient": "_wgrad", "bias_gradient": "_bgrad"}
_WORDS |= {"step": "_step"}

_INT = "[0-9]{1,19}"  # not \d, which matches the digits of every script
_PAIR = rf"{_INT}(?:x{_INT})?"
_CASE_ID = re.compile(
    rf"n(?P<batch>{_INT})c(?P<in_channels>{_INT})h(?P<height>{_INT})w(?P<width>{_INT})"
    rf"_o(?P<out_channels>{_INT})k(?P<kernel_size>{_PAIR})"
    rf"(?:_s(?P<stride>{_PAIR}))?"
    rf"(?:_p(?P<padding>t-?{_INT}b-?{_INT}l-?{_INT}r-?{_INT}|-?{_INT}(?:x-?{_INT})?))?"
    rf"(?:_d(?P<dilation>{_PAIR}))?"
    rf"(?:_g(?P<groups>{_INT}))?"
    r"(?P<bias>_bias)?"
    r"(?:_(?P<padding_mode>reflect|replicate|circular))?"
    rf"(?:(?P<dtype>_f64|_f16|_bf16)|_(?P<quantization>{PATTERN}))?"
    r"(?P<direction>_dgrad|_wgrad|_bgrad|_step)?"
    rf"(?:_(?P<epilogue>{epilogue.PATTERN}))?"
)


def format_case_id(problem: Problem) -> str:
    """The case id of `problem`, from which `parse_case_id` gives its arguments back."""
    n, c, h, w = problem.input_shape
    parts = (
        f"n{n}c{c}h{h}w{w}_o{problem.out_channels}k{_pair_text(problem.kernel_size)}",
        f"s{_pair_text(problem.stride)}" if problem.stride != (1, 1) else "",
        f"p{_padding_text(problem.padding)}" if problem.padding != ((0, 0), (0, 0)) else "",
        f"d{_pair_text(problem.dilation)}" if problem.dilation != (1, 1) else "",
        f"g{problem.groups}" if problem.groups != 1 else "",
        "bias" if problem.bias else "",
        problem.padding_mode if problem.padding_mode != "zeros" else "",
    )
    quantization = problem.quantization
    numbers = _WORDS[problem.dtype] if quantization is None else f"_{quantization}".replace(":", "")
    ending = f"_{problem.epilogue}" if problem.epilogue else ""
    return "_".join(filter(None, parts)) + numbers + _WORDS[problem.direction] + ending


def parse_case_id(text: str) -> dict[str, Any]:
    """The arguments of `ConvProblem` that `text` names, which may have blanks between its parts. Raises `ProblemError`
    when it is not a case id."""
    match = _CASE_ID.fullmatch(_joined(text))
    if match is None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise ProblemError(f"{shown!r} is not a case id; one looks like 'n1c64h56w56_o64k3_p1' (see `convbench show`).")
    return {name: _READERS.get(name, int)(value) for name, value in match.groupdict().items() if value is not None}


def _joined(text: str) -> str:
    """A case id that is written in words, `n1 c64 h56 w56 o64 k3 p1`, as one word."""
    first, *others = re.split(" +", text.strip())
    return first + "".join(
        part if re.fullmatch(r"[chwk][0-9].*", part) else f"_{part.removeprefix('_')}" for part in others
    )


def parse_sizes(text: str) -> Pair | Sides:
    """(height, width) of `3` or `3x5`, or ((top, bottom), (left, right)) of `t0b1l0r1`."""
    if text.startswith("t"):
        top, bottom, left, right = (int(n) for n in re.findall(r"-?[0-9]+", text))
        return ((top, bottom), (left, right))
    height, _, width = text.partition("x")
    return (int(height), int(width or height))


_READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("kernel_size", "stride", "padding", "dilation"), parse_sizes),
    **dict.fromkeys(("dtype", "direction"), {word: name for name, word in _WORDS.items()}.__getitem__),
    "bias": bool,
    **dict.fromkeys(("padding_mode", "epilogue"), str),
    "quantization": Quantization.parse,
}


def _pair_text(pair: Pair) -> str:
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _padding_text(sides: Sides) -> str:
    (top, bottom), (left, right) = sides
    if top == bottom and left == right:
        return _pair_text((top, left))
    return f"t{top}b{bottom}l{left}r{right}"
