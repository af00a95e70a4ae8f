"""AMD's MIOpenDriver: `MIOpenDriver conv -n 1 -c 64 -H 56 -W 56 -k 64 -y 3 -x 3 -p 1 -q 1`, read and written.

Missing flags have the driver's own defaults (a batch of 100, 3 channels of 32x32, 32 filters of 3x3). The driver has
symmetric zero padding and three of the four dtypes. Without `-F` it runs every direction; here that means forward.
"""

from __future__ import annotations

import re
from typing import Any

from convbench.errors import ProblemError, did_you_mean
from convbench.problem.vocabulary import Direction, Dtype, Problem

_DTYPES: dict[str, Dtype] = {"conv": "float32", "convfp16": "float16", "convbfp16": "bfloat16"}
_DIRECTIONS: dict[str, Direction] = {"0": "forward", "1": "forward", "2": "input_gradient", "4": "weight_gradient"}
# By long name: the short letter and the default.
_NUMBERS = {
    "batchsize": ("n", 100),
    "in_channels": ("c", 3),
    "in_h": ("H", 32),
    "in_w": ("W", 32),
    "out_channels": ("k", 32),
    "fil_h": ("y", 3),
    "fil_w": ("x", 3),
    "pad_h": ("p", 0),
    "pad_w": ("q", 0),
    "conv_stride_h": ("u", 1),
    "conv_stride_w": ("v", 1),
    "dilation_h": ("l", 1),
    "dilation_w": ("j", 1),
    "group_count": ("g", 1),
}
_WORDS = {"bias": "b", "forw": "F", "mode": "m", "pad_mode": "z", "spatial_dim": "_", "pad_val": "r"}
# The values of a plain 2-D convolution. convbench has no word for what any other value means.
_PLAIN = {
    "mode": ("conv",),
    "pad_mode": ("default", "conv"),
    "spatial_dim": ("2",),
    "pad_val": ("0",),
    "bias": ("0", "1"),
    "forw": tuple(_DIRECTIONS),
}
# Flags on how to run, on what data, or for a third axis, which do not change a 2-D problem.
_IGNORED = {
    "in_layout": "I", "out_layout": "O", "fil_layout": "f", "iter": "i", "verify": "V", "verification_cache": "C",
    "time": "t", "wall": "w", "search": "s", "printconv": "P", "dump_output": "o", "in_data": "d", "weights": "e",
    "tensor_vect": "Z", "vector_length": "L", "in_bias": "a", "dout_data": "D", "solution": "S", "gpualloc": "G",
    "gpubuffer_check": "", "warmup_reps": "", "cache": "", "in_d": "!", "fil_d": "@", "pad_d": "$",
    "conv_stride_d": "#", "dilation_d": "^", "trans_output_pad_h": "Y", "trans_output_pad_w": "X",
    "trans_output_pad_d": "%",
}  # fmt: skip


def looks_like_miopen(text: str) -> bool:
    """Whether `text` starts like a MIOpenDriver command line, with or without the name of the driver."""
    return re.match(r"\s*(?:\S*MIOpenDriver\b|conv(?:fp16|bfp16|int8)?\s+-)", text) is not None


def parse_miopen(text: str) -> dict[str, Any]:
    """The arguments that one MIOpenDriver line names. Raises `ProblemError`."""
    words = text.split()
    if "MIOpenDriver" in words[0]:
        words = words[1:]
    if not words or words[0] not in _DTYPES:
        raise ProblemError(
            f"MIOpenDriver {words[0] if words else ''!r} is no convolution that convbench knows; "
            f"it should be one of {', '.join(_DTYPES)}."
        )
    numbers = {name: default for name, (_, default) in _NUMBERS.items()}
    settings = {"bias": "0", "forw": "0"}
    for name, value in _flags(words[1:]):
        if name in numbers:
            if not re.fullmatch("-?[0-9]{1,18}", value):
                raise ProblemError(f"--{name} is {value!r}; it should be an integer.")
            numbers[name] = int(value)
        elif name in _PLAIN:
            if value not in _PLAIN[name]:
                raise ProblemError(
                    f"--{name} is {value!r}, which convbench has no word for; it should be "
                    f"{' or '.join(_PLAIN[name])}, as for a plain 2-D convolution."
                )
            settings[name] = value
    return {
        "batch": numbers["batchsize"],
        "in_channels": numbers["in_channels"],
        "height": numbers["in_h"],
        "width": numbers["in_w"],
        "out_channels": numbers["out_channels"],
        "kernel_size": (numbers["fil_h"], numbers["fil_w"]),
        "stride": (numbers["conv_stride_h"], numbers["conv_stride_w"]),
        "padding": (numbers["pad_h"], numbers["pad_w"]),
        "dilation": (numbers["dilation_h"], numbers["dilation_w"]),
        "groups": numbers["group_count"],
        "bias": settings["bias"] == "1",
        "dtype": _DTYPES[words[0]],
        "direction": _DIRECTIONS[settings["forw"]],
    }


def to_miopen(problem: Problem) -> str:
    """The MIOpenDriver line that runs `problem`. Raises `ProblemError` for what the driver cannot express."""
    drivers = [driver for driver, dtype in _DTYPES.items() if dtype == problem.dtype]
    if not drivers:
        raise ProblemError(f"MIOpenDriver has no {problem.dtype} convolution; it has {', '.join(_DTYPES.values())}.")
    if problem.epilogue is not None:
        raise ProblemError(f"MIOpenDriver's conv has no epilogue; {problem} has {problem.epilogue}.")
    if problem.direction == "bias_gradient":
        raise ProblemError(
            f"MIOpenDriver has the gradient of the bias only as a part of a whole backward pass; {problem} is that of "
            "the bias alone."
        )
    if problem.direction == "step":
        raise ProblemError(
            f"MIOpenDriver has no training step (with -F 0 it times its three parts one by one); {problem} is one. "
            "Write its parts, or give a torch snippet."
        )
    if problem.padding_mode != "zeros":
        raise ProblemError(f"MIOpenDriver pads with zeros only; {problem} has padding_mode {problem.padding_mode!r}.")
    (top, bottom), (left, right) = problem.padding
    if top != bottom or left != right or min(top, left) < 0:
        raise ProblemError(
            f"MIOpenDriver knows symmetric padding of at least 0 only; {problem} has ({top}, {bottom}) in height "
            f"and ({left}, {right}) in width."
        )
    sizes = (*problem.input_shape, problem.out_channels, *problem.kernel_size, top, left)
    values = (*sizes, *problem.stride, *problem.dilation, problem.groups)
    flags = [f"-{short} {value}" for (short, _), value in zip(_NUMBERS.values(), values, strict=True)]
    if problem.bias:
        flags.append("-b 1")
    forw = next(code for code, word in _DIRECTIONS.items() if word == problem.direction and code != "0")
    return " ".join(["MIOpenDriver", drivers[0], *flags, "-m conv", f"-F {forw}", "-t 1"])


def _flags(words: list[str]) -> list[tuple[str, str]]:
    """The long name and the value of each flag. Raises `ProblemError` for an unknown flag, or one without a value."""
    longs = {short: name for name, (short, _) in _NUMBERS.items()}
    longs |= {short: name for name, short in (_WORDS | _IGNORED).items() if short}
    known = set(longs.values()) | _IGNORED.keys()
    flags = []
    for position in range(0, len(words), 2):
        flag = words[position]
        name = flag[2:] if flag.startswith("--") else longs.get(flag[1:], "") if flag.startswith("-") else ""
        if name not in known:
            raise ProblemError(
                f"{flag!r} is no flag of MIOpenDriver conv that convbench knows; flags come as '-c 64' or "
                f"'--in_channels 64'.{did_you_mean(flag, [f'--{name}' for name in sorted(known)])}"
            )
        if position + 1 == len(words):
            raise ProblemError(f"{flag} has no value; flags come as '-c 64' or '--in_channels 64'.")
        flags.append((name, words[position + 1]))
    return flags
