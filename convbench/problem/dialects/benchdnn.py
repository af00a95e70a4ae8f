"""oneDNN's benchdnn: `--conv --dir=FWD_D mb1ic64ih56oc64oh56kh3ph1`, read and written.

As benchdnn reads it itself (tests/benchdnn/conv in oneDNN's sources):

* A descriptor is a sequence of keys with numbers, and may end in `n` and a name. `_` means nothing. `mb` defaults to 2.
* Without any key of the width, the width equals the height (iw=ih, kw=kh, sw=sh ...). With some of them, iw and kw are
  needed, and the others have their plain defaults: sw is then 1, whatever sh is.
* `dh` counts the holes: dh0 is dilation 1.
* Without `oh`, a symmetric `ph` determines it. Without `ph`, `oh` determines it, and an odd row goes to the bottom.
* The bottom padding is never written, because oh implies it. If the stride does not divide, several paddings imply the
  same oh, and differ only in rows that no output reads. The reader takes the symmetric one if it is among them, else
  the smallest that crops nothing. So writing and reading keep every shape and value, and every symmetric padding.
* Without `--dir`, a command line means FWD_B, with a bias. A bare descriptor does not mention a bias, and is read as
  without. The writer always writes `--dir`. `--bia-dt` gives a bias to FWD_D and FWD_I, too.
* Options hold for the problems behind them. `--reset` takes back those before it.
* The depth of a 3-D descriptor may be there, when it is 1 throughout.

Lines are read as they are pasted: behind a path, environment variables or a prompt, and as benchdnn's own output
repeats them ("0:FAILED __REPRO: --conv ...", "perf,cpu,jit:avx2,,--conv ...").
"""

from __future__ import annotations

import re
from typing import Any

from convbench.errors import ProblemError, did_you_mean
from convbench.problem.dialects import benchdnn_int8
from convbench.problem.dialects.post_ops import epilogue_of_post_ops, post_ops_of
from convbench.problem.vocabulary import Direction, Dtype, Pair, Problem

_KEYS = ("g", "mb", "ic", "ih", "iw", "oc", "oh", "ow", "kh", "kw", "sh", "sw", "ph", "pw", "dh", "dw")
_DEPTH = {"id": 1, "od": 1, "kd": 1, "sd": 1, "pd": 0, "dd": 0}  # of a 2-D problem that is written as a 3-D one
_ITEM = re.compile(r"_*([a-z]+)([0-9]{1,18})_*")
_NAME = re.compile(r"_*n.*", re.DOTALL)
_DESCRIPTOR = re.compile(r"_*(?:(?:g|mb|[ioksdp][dhwc])[0-9]+_*){2,}")

DTYPES: dict[str, Dtype] = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16"}
_CONFIGURATIONS: dict[str, Dtype] = {**DTYPES, "bf16bf16bf16": "bfloat16"}
_DIRS: dict[str, tuple[Direction, bool]] = {
    "FWD_B": ("forward", True),
    "FWD_D": ("forward", False),
    "FWD_I": ("forward", False),
    "BWD_D": ("input_gradient", False),
    "BWD_W": ("weight_gradient", False),
    "BWD_WB": ("weight_gradient", True),
}
# Options on how to run, which do not change the problem.
_IGNORED = {
    "conv", "mode", "mode-modifier", "v", "verbose", "stag", "wtag", "dtag", "alg", "engine", "skip-impl", "impl",
    "match", "max-ms-per-prb", "fix-times-per-prb", "num-streams", "cpu-isa-hints", "memory-kind", "perf-template",
    "repeats-per-prb", "cold-cache", "canonical", "mem-check", "allow-enum-tags-only", "fast-ref", "fast-ref-gpu",
    "global-impl", "start", "stream-kind", "summary", "ctx-init", "ctx-exe", "execution-mode", "buffer-prefix",
    "bitwise", "check-ref-impl", "attr-same-pd-check", "inplace", "strides",
}  # fmt: skip
# Attributes change what is done with the result, or how it is computed, and no shape.
_ATTRIBUTE = re.compile(r"attr-[a-z-]+")
_FUSED = re.compile(r"(?:attr-post[-_]ops|post_ops)[=:].*\bdw(?:[:_]|\b)")
_MEANT_FOR_WHAT_FOLLOWS = ("dt", "cfg", "dir", "mb", "bia-dt", "reset")


def looks_like_benchdnn(text: str) -> bool:
    """Whether `text` has a word that is a benchdnn descriptor, or starts as a benchdnn command line."""
    words = text.split()
    return any(_DESCRIPTOR.match(word) for word in words) or text.lstrip().startswith(("--", "benchdnn", "./benchdnn"))


def parse_benchdnn(text: str) -> dict[str, Any]:
    """The arguments that one descriptor names, with its driver options in front of it. Raises `ProblemError`."""
    words = [word.strip("`") for word in _command(text).split()]
    options = [word for word in words if word.startswith("-")]
    descriptors = [word for word in words if not word.startswith("-")]
    if len(descriptors) != 1:
        raise ProblemError(
            f"a benchdnn line names one problem, and this one {len(descriptors)}; "
            "it should look like '--conv --dir=FWD_D mb1ic64ih56oc64oh56kh3ph1'."
        )
    if late := [word for word in words[words.index(descriptors[0]) :] if _name(word) in _MEANT_FOR_WHAT_FOLLOWS]:
        raise ProblemError(f"{late[0]} is behind the problem, where benchdnn does not apply it; write it in front.")
    numbers, (direction, bias), batch = _read_options(options)
    arguments = arguments_of(descriptors[0]) | numbers | {"bias": bias, "direction": direction}
    return arguments | ({"batch": batch} if batch else {})


def arguments_of(descriptor: str) -> dict[str, Any]:
    """The arguments that a descriptor names: shapes, strides, padding, dilation. Raises `ProblemError`."""
    numbers = _read_descriptor(descriptor)
    return {
        "batch": numbers.get("mb", 2),
        "in_channels": numbers["ic"],
        "height": numbers["ih"],
        "width": numbers["iw"],
        "out_channels": numbers["oc"],
        "kernel_size": (numbers["kh"], numbers["kw"]),
        "stride": (numbers.get("sh", 1), numbers.get("sw", 1)),
        "padding": (_axis(numbers, "h"), _axis(numbers, "w")),
        "dilation": (numbers.get("dh", 0) + 1, numbers.get("dw", 0) + 1),
        "groups": numbers.get("g", 1),
    }


def refuse_fused_convolution(option: str) -> None:
    """Raise `ProblemError` for post-ops that are a second convolution, which changes the shape of the result."""
    if _FUSED.search(option):
        raise ProblemError(
            f"{option.strip()} fuses a depthwise convolution with this one, which is another problem; leave it out to "
            "have the first of the two."
        )


def _command(text: str) -> str:
    """The options and the problem in a line, without what is in front of them."""
    words = text.split()
    programs = [place for place, word in enumerate(words) if word.strip("`").endswith(("benchdnn", "benchdnn.exe"))]
    if programs:
        return " ".join(words[programs[-1] + 1 :])
    return text if text.lstrip(" `").startswith("--") or "--conv " not in text else text[text.index("--conv ") :]


def _name(option: str) -> str:
    """The name of an option, with hyphens, as newer versions write it."""
    return option.lstrip("-").partition("=")[0].replace("_", "-") if option.startswith("-") else ""


def to_benchdnn(problem: Problem) -> str:
    """The options and the descriptor for benchdnn. Raises `ProblemError` for what benchdnn cannot express."""
    if problem.padding_mode != "zeros":
        raise ProblemError(f"benchdnn pads with zeros only; {problem} has padding_mode {problem.padding_mode!r}.")
    for axis, name in enumerate(("height", "width")):
        before, after = problem.padding[axis]
        size, out, stride = problem.input_shape[2 + axis], problem.output_shape[2 + axis], problem.stride[axis]
        span = problem.dilation[axis] * (problem.kernel_size[axis] - 1) + 1
        largest_after = out * stride + span - 1 - size - before  # with which the output has this size
        if before < 0 or largest_after < 0:
            raise ProblemError(f"benchdnn cannot crop; {problem} has padding ({before}, {after}) in {name}.")
    options = ["--conv"]
    if problem.quantization is not None:
        options += benchdnn_int8.to_options(problem.quantization)
    elif problem.dtype != "float32":
        options.append(f"--dt={next(word for word, dtype in DTYPES.items() if dtype == problem.dtype)}")
    words = [word for word, meant in _DIRS.items() if meant == (problem.direction, problem.bias)]
    if problem.direction == "bias_gradient":
        raise ProblemError(
            f"benchdnn has the gradient of the bias only together with that of the weight (--dir=BWD_WB); {problem} is "
            "that of the bias alone."
        )
    if problem.direction == "step":
        raise ProblemError(
            f"benchdnn times one direction at a time and has no training step; {problem} is one. Write its parts "
            "(FWD_D, BWD_D and BWD_W), or give a torch snippet."
        )
    if not words:
        raise ProblemError(f"benchdnn's {problem.direction} has no bias, and {problem} has one; leave the bias out.")
    if problem.epilogue is not None:
        options.append(f"--attr-post-ops={post_ops_of(problem.epilogue)}")
    return " ".join([*options, f"--dir={words[0]}", _descriptor(problem)])


def _read_options(options: list[str]) -> tuple[dict[str, Any], tuple[Direction, bool], int]:
    """The dtype or quantization, the direction and bias, and the batch that overrides the descriptor's, or 0."""
    types, batch, bias, settings = "f32", 0, False, dict[str, str]()
    meant = _DIRS["FWD_B"] if options else ("forward", False)
    for option in options:
        name, value = _name(option), option.partition("=")[2]
        if name == "reset":
            types, batch, bias, meant, settings = "f32", 0, False, _DIRS["FWD_B"], {}
        elif name in ("dt", "cfg"):
            types = value
            _read_numbers(value, settings)
        elif name == "bia-dt":
            bias = _read_bias(option, value)
        elif name == "dir":
            if value not in _DIRS:
                raise ProblemError(f"{option} is no direction; it should be one of {', '.join(_DIRS)}.")
            meant = _DIRS[value]
        elif name == "mb":
            if not re.fullmatch("[0-9]{1,18}", value):
                raise ProblemError(f"{option} should give a number, such as --mb=1.")
            batch = int(value)
        else:
            _pass_over(option, name)
            settings[name] = value
    direction, has_bias = meant
    numbers = _read_numbers(types, settings)
    epilogue = epilogue_of_post_ops(f"attr-post-ops={settings.get('attr-post-ops', '')}")
    if epilogue is not None and direction == "forward" and "quantization" not in numbers:
        numbers["epilogue"] = epilogue
    return numbers, (direction, has_bias or (bias and direction != "input_gradient")), batch


def _pass_over(option: str, name: str) -> None:
    """Raise `ProblemError` for an option that may change the problem."""
    refuse_fused_convolution(option)
    if name in _IGNORED or _ATTRIBUTE.fullmatch(name) or re.fullmatch("v[0-9]+", name):
        return
    known = ("--dt", "--dir", "--mb", "--bia-dt", *(f"--{word}" for word in sorted(_IGNORED)))
    raise ProblemError(
        f"{option} is not understood; of benchdnn's options --conv, --dt, --dir, --bia-dt and --mb are, and those that "
        f"leave the problem as it is.{did_you_mean('--' + name, known)}"
    )


def _read_bias(option: str, value: str) -> bool:
    """Whether there is a bias. Its own type is not kept: oneDNN adds it to what was accumulated."""
    if value not in ("undef", "s32", *DTYPES):
        raise ProblemError(f"{option} is no type of a bias; it should be undef or one of {', '.join(DTYPES)}.")
    return value != "undef"


def _read_numbers(types: str, settings: dict[str, str]) -> dict[str, Any]:
    """The dtype, or the quantization, for which `settings` may have options with scales and zero points."""
    if benchdnn_int8.is_int8(types):
        scales, zero_points = settings.get("attr-scales", ""), settings.get("attr-zero-points", "")
        return {"quantization": benchdnn_int8.quantization_of(types, scales, zero_points)}
    kinds = set(types.split(":"))
    dtype = _CONFIGURATIONS.get(kinds.pop()) if len(kinds) == 1 else None
    if dtype is None:
        raise ProblemError(
            f"--dt={types} is not one data type of convbench; it should be one of {', '.join(DTYPES)}, or a quantised "
            "convolution such as u8:s8:u8."
        )
    return {"dtype": dtype}


def _read_descriptor(descriptor: str) -> dict[str, int]:
    """The numbers of a descriptor, completed by those of the width."""
    numbers: dict[str, int] = {}
    position = 0
    while position < len(descriptor) and not _NAME.fullmatch(descriptor, position):
        item = _ITEM.match(descriptor, position)
        if item is not None and item[1] in _DEPTH and int(item[2]) in (_DEPTH[item[1]], 0):
            position = item.end()
            continue
        if item is None or item[1] not in _KEYS:
            raise ProblemError(
                f"{descriptor[position : position + 40]!r} in a benchdnn descriptor is not understood; it should be "
                f"keys with numbers, and for a 2-D convolution the keys are {', '.join(_KEYS)}."
            )
        numbers[item[1]] = int(item[2])
        position = item.end()
    for key in ("ic", "ih", "oc", "kh"):
        if not numbers.get(key):
            raise ProblemError(f"the benchdnn descriptor {descriptor!r} lacks {key}; ic, ih, oc and kh are needed.")
    _fill_width(descriptor, numbers)
    return numbers


def _fill_width(descriptor: str, numbers: dict[str, int]) -> None:
    unset = {"iw": 0, "ow": 0, "kw": 0, "sw": 1, "pw": 0, "dw": 0}
    present = [key for key, value in unset.items() if numbers.get(key, value) != value]
    if not present:
        for key in unset:
            numbers.pop(key, None)
            if key[0] + "h" in numbers:
                numbers[key] = numbers[key[0] + "h"]
    elif not (numbers.get("iw") and numbers.get("kw")):
        raise ProblemError(
            f"the benchdnn descriptor {descriptor!r} gives {present[0]} but not both iw and kw; "
            "leave all of the width out where it is that of the height, else give iw and kw too."
        )


def _axis(numbers: dict[str, int], axis: str) -> Pair:
    """The padding before and after along one axis. The output's size implies what is not written."""
    size, kernel, stride = numbers["i" + axis], numbers["k" + axis], numbers.get("s" + axis, 1)
    out, before = numbers.get("o" + axis, 0), numbers.get("p" + axis)
    if not out:
        return (before or 0, before or 0)
    needed = (out - 1) * stride + (numbers.get("d" + axis, 0) + 1) * (kernel - 1) + 1 - size
    if before is None:
        before = max(0, needed // 2)
    least = needed - before
    most = least + stride - 1
    if most < 0:
        raise ProblemError(
            f"o{axis}{out} is less than i{axis}{size}, k{axis}{kernel}, s{axis}{stride} and padding {before} give; "
            f"leave o{axis} out to have it computed."
        )
    return (before, before if least <= before <= most else max(least, 0))


def _descriptor(problem: Problem) -> str:
    p = problem
    pairs = {
        "i": p.input_shape[2:],
        "o": p.output_shape[2:],
        "k": p.kernel_size,
        "s": p.stride,
        "p": (p.padding[0][0], p.padding[1][0]),  # also when it is 0, because benchdnn would choose one
        "d": (p.dilation[0] - 1, p.dilation[1] - 1),
    }
    square = all(h == w for h, w in pairs.values())
    text = {key: f"{key}h{h}" if square else f"{key}h{h}{key}w{w}" for key, (h, w) in pairs.items()}
    groups = f"g{p.groups}" if p.groups != 1 else ""
    strides = text["s"] if p.stride != (1, 1) else ""
    dilations = text["d"] if p.dilation != (1, 1) else ""
    return (
        f"{groups}mb{p.input_shape[0]}ic{p.in_channels}{text['i']}oc{p.out_channels}{text['o']}"
        f"{text['k']}{strides}{text['p']}{dilations}"
    )
