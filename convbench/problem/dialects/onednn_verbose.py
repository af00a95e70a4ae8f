"""A line of ONEDNN_VERBOSE about a convolution, as oneDNN itself prints it when it runs, read only.

    onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,forward_training,src:f32:a:blocked:abcd::f0
    wei:f32:a:blocked:Acdb16a::f0 bia:f32:a:blocked:a::f0 dst:f32:a:blocked:aBcd16b::f0,attr-scratchpad:user,
    alg:convolution_direct,mb1_ic3oc64_ih224oh112kh7sh2dh0ph3_iw224ow112kw7sw2dw0pw3,0.57

The fields vary with the version (mkldnn_verbose, dnnl_verbose, a version, a time stamp, the engine), so each is found
by its look. The problem is a benchdnn descriptor. Layouts, implementation and algorithm do not change it.
"""

from __future__ import annotations

import re
from typing import Any

from convbench.errors import ProblemError
from convbench.problem.dialects import benchdnn_int8
from convbench.problem.dialects.benchdnn import DTYPES, arguments_of, refuse_fused_convolution
from convbench.problem.dialects.post_ops import epilogue_of_post_ops
from convbench.problem.vocabulary import Direction

_LINE = re.compile(r"\b(?:onednn|dnnl|mkldnn)_verbose,(?P<fields>[^\n]*)")
_DESCRIPTOR = re.compile(r"(?:g[0-9]+_?)?mb[0-9]+[a-z0-9_]*")
_TENSOR = re.compile(
    r"(?:^|\s)(?P<format>f)?(?:diff_)?(?P<role>src|wei|bia|dst)(?:[_:](?P<dtype>[a-z0-9]+))?(?=:|\s|$)"
)
_OF_INT8 = ("attr-scales", "attr-zero-points")
_DIRECTIONS: dict[str, Direction] = {
    "forward": "forward",
    "forward_training": "forward",
    "forward_inference": "forward",
    "forward_scoring": "forward",
    "backward_data": "input_gradient",
    "backward_weights": "weight_gradient",
}


def looks_like_onednn_verbose(text: str) -> bool:
    """Whether `text` has a line that oneDNN prints when it is verbose."""
    return _LINE.search(text) is not None


def parse_onednn_verbose(text: str) -> dict[str, Any]:
    """The arguments that one line names. Raises `ProblemError`."""
    lines = [match["fields"] for match in _LINE.finditer(text)]
    convolutions = [line.split(",") for line in lines if ",convolution," in f",{line},"]
    if len(convolutions) != 1:
        kinds = "a convolution" if not convolutions else "one of them"
        raise ProblemError(
            f"of ONEDNN_VERBOSE one line of a convolution is read, and {len(convolutions)} of these {len(lines)} are; "
            f"give the line of {kinds}, such as onednn_verbose,primitive,exec,cpu,convolution,..."
        )
    (fields,) = convolutions
    refuse_fused_convolution(next((field for field in fields if "attr-" in field or "post_ops" in field), ""))
    descriptors = [field for field in fields if _DESCRIPTOR.fullmatch(field)]
    directions = [field for field in fields if field in _DIRECTIONS or field.startswith("backward")]
    if len(descriptors) != 1 or len(directions) != 1 or directions[0] not in _DIRECTIONS:
        raise ProblemError(
            "this line of ONEDNN_VERBOSE is not understood: it should have one of "
            f"{', '.join(_DIRECTIONS)} and a problem such as mb1_ic3oc64_ih8oh8kh3sh1dh0ph1_iw8ow8kw3sw1dw0pw1."
        )
    tensors = [match for field in fields for match in _TENSOR.finditer(field)]
    # The oldest versions, of float32 alone, name a layout there, in fsrc:nchw.
    dtypes = {m["role"]: "f32" if m["format"] and m["dtype"] != "undef" else m["dtype"] or "f32" for m in tensors}
    kinds_of_numbers = {dtypes[role] for role in ("src", "wei", "dst") if role in dtypes}
    numbers: dict[str, Any] = {}
    if benchdnn_int8.is_int8(dtypes.get("src", "")):
        types = ":".join(dtypes.get(role, "") for role in ("src", "wei", "dst"))
        numbers["quantization"] = benchdnn_int8.quantization_of(types, *(_attribute(fields, n) for n in _OF_INT8))
    elif len(kinds_of_numbers) != 1 or not kinds_of_numbers <= DTYPES.keys():
        raise ProblemError(
            f"this convolution is of {', '.join(sorted(kinds_of_numbers)) or 'no known type'}; convbench has one data "
            f"type for all, one of {', '.join(DTYPES)}."
        )
    direction = _DIRECTIONS[directions[0]]
    epilogue = epilogue_of_post_ops(" ".join(fields)) if direction == "forward" and not numbers else None
    # Older versions write the bias of a gradient of the input, too, which has none.
    bias = dtypes.get("bia", "undef") != "undef" and direction != "input_gradient"
    return arguments_of(descriptors[0]) | {
        "bias": bias,
        "direction": direction,
        **(numbers or {"dtype": DTYPES[kinds_of_numbers.pop()]}),
        **({} if epilogue is None else {"epilogue": epilogue}),
    }


def _attribute(fields: list[str], name: str) -> str:
    """What an attribute such as `attr-scales:src0:0:f32+wei:1:f32` says; empty without it."""
    match = re.search(rf"(?:^|\s){name}:(\S+)", " ".join(fields))
    return match[1] if match else ""
