"""What XLA compiled a convolution to, read from the text of its optimised HLO module."""

from __future__ import annotations

import re

_CALL = re.compile(r'custom_call_target="([A-Za-z0-9_$.]{1,60})"')
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?[\w.-]+ = \S+ (convolution|dot)\(")
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_FUSION = re.compile(r" fusion\(.*kind=k(\w+), calls=%?([\w.-]+)")
_LIBRARY = re.compile(r'"fusion_config":\{"kind":"_*(\w{1,40})"')
_COMPUTES = re.compile("conv|dot|gemm|matmul", re.I)


def implementation_in(hlo: str) -> str | None:
    """What computes the convolution: the target of a custom call, a library's fusion such as "ynn_fusion", a fusion of
    XLA's own such as "convolution in loop fusion", or "convolution" or "dot" alone, which XLA hands to Eigen or emits
    itself. None for a module that has none of these, or more than one."""
    found = {target.replace("$", ":").strip("_") for target in _CALL.findall(hlo) if _COMPUTES.search(target)}
    callers = {match[2]: _name_of(line, match[1]) for line in hlo.splitlines() if (match := _FUSION.search(line))}
    within = ""
    for line in hlo.splitlines():
        if match := _COMPUTATION.match(line):
            within = match[1]
        elif match := _INSTRUCTION.match(line):
            caller = callers.get(within)
            found.add(match[1] if caller is None else caller.format(match[1]))
    return found.pop() if len(found) == 1 else None


def _name_of(line: str, kind: str) -> str:
    """How the fusion in `line` is called; {} stands for the instruction in it."""
    library = _LIBRARY.search(line)
    return library[1] if library else f"{{}} in {kind.lower()} fusion"
