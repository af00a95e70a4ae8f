"""The formats of a quantised convolution in benchdnn's options: `--dt=u8:s8:u8`, with scales and zero points.

`--attr-scales=src:common:0.5+wei:per_oc+dst:common:2 --attr-zero-points=src:common:1+dst:common:1`. Only the policy of
the weight's scales and which operands have zero points are part of a problem. Without scales for the weight there is
one for all channels, 1. The values that are written are examples.
"""

from __future__ import annotations

from convbench.errors import ProblemError
from convbench.problem.quantization import INPUT_FORMATS, RESULT_FORMATS, Quantization

_POLICIES = {"common": False, "per_oc": True, "per_ocic": True, "per_tensor": True}


def is_int8(value: str) -> bool:
    """Whether the value of `--dt` is of a quantised convolution."""
    return "s8" in value.split(":") or "u8" in value.split(":")


def quantization_of(types: str, scales: str, zero_points: str) -> Quantization:
    """Of the values of `--dt`, `--attr-scales` and `--attr-zero-points`, the latter perhaps empty. Raises
    `ProblemError`."""
    first, weight, result = [*types.split(":"), "", ""][:3]
    if first not in INPUT_FORMATS or weight != "s8" or result not in RESULT_FORMATS or types.count(":") != 2:
        raise ProblemError(
            f"--dt={types} is no quantised convolution of convbench; it should look like u8:s8:u8: an input of u8 or "
            f"s8, a weight of s8, and a result of {', '.join(RESULT_FORMATS)}."
        )
    scaled, shifted = _policies("attr-scales", scales), _policies("attr-zero-points", zero_points)
    return Quantization(
        input=first,
        result=result,
        per_channel=scaled.get("wei", False),
        input_zero_point="src" in shifted,
        weight_zero_point="wei" in shifted,
        result_zero_point="dst" in shifted,
    )


def to_options(quantization: Quantization) -> list[str]:
    """The options from which `quantization_of` reads it."""
    q = quantization
    options = [f"--dt={q.input}:s8:{q.result}"]
    of_weight = "wei:per_oc" if q.per_channel else "wei:common:0.25"
    if q.result != "s32":
        options.append(f"--attr-scales=src:common:0.25+{of_weight}" + "+dst:common:4" * q.is_requantized)
    elif q.weight_zero_point:
        options.append(f"--attr-scales={of_weight}")
    shifted = {"src": q.input_zero_point, "wei": q.weight_zero_point, "dst": q.result_zero_point}
    if any(shifted.values()):
        options.append("--attr-zero-points=" + "+".join(f"{name}:common:1" for name, has in shifted.items() if has))
    return options


def _policies(option: str, value: str) -> dict[str, bool]:
    """Whether each operand has a number for each channel, by its name. ONEDNN_VERBOSE has a mask for the policy, 0 for
    one number."""
    policies = {}
    for part in filter(None, value.split("+")):
        name, policy, *_ = [*part.split(":"), ""]
        if policy not in _POLICIES and not policy.isdecimal():
            raise ProblemError(f"{option} {value} has the policy {policy!r}; known are {', '.join(_POLICIES)}.")
        policies[name.removesuffix("0")] = _POLICIES.get(policy, policy != "0")
    return policies
