"""What XLA compiled a convolution to, read from the text of its optimised HLO module."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ._fusion import implementation_with, parts_of

if TYPE_CHECKING:
    from convbench.problem import ConvProblem

_CALL = re.compile(r'custom_call_target="([A-Za-z0-9_$.]{1,60})"')
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?[\w.-]+ = \S+ (convolution|dot)\(")
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_FUSION = re.compile(r" fusion\(.*kind=k(\w+), calls=%?([\w.-]+)")
_LIBRARY = re.compile(r'"fusion_config":\{"kind":"_*(\w{1,40})"')
_STEP = re.compile(r"\s+(?:ROOT )?%?[\w.-]+ = \S+ (?!parameter\(|copy\(|bitcast\(|transpose\(|constant\()[\w-]+\(")
_CALLS = re.compile(r"calls=%?([\w.-]+)")
_COMPUTES = re.compile("conv|dot|gemm|matmul", re.I)


def implementation_in(hlo: str, problem: ConvProblem | None = None) -> str | None:
    """As `convolution_in`, and whether the epilogue of `problem`, if it has one, is computed together with it: whether
    the same instruction gives the result."""
    kernel = convolution_in(hlo)
    if kernel is None or problem is None or problem.epilogue is None:
        return kernel
    return implementation_with(kernel, problem, parts_of(problem.epilogue) if _is_last(hlo) else ())


def _is_last(hlo: str) -> bool:
    """Whether what computes the convolution is the last thing that the module computes, but for moving it."""
    entry = hlo[hlo.rindex("ENTRY") :].splitlines() if "ENTRY" in hlo else []
    computed = [line for line in entry if _STEP.match(line)]
    callee = _CALLS.search(computed[-1]) if computed else None
    body = "" if callee is None else _body(hlo, callee[1])
    return bool(computed) and any(map(_computes, [computed[-1], *body.splitlines()]))


def _body(hlo: str, name: str) -> str:
    """The lines of a computation."""
    match = re.search(rf"^%?{re.escape(name)} \([^\n]*\{{$(.*?)^\}}$", hlo, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def _computes(line: str) -> bool:
    target = _CALL.search(line)
    return bool(_INSTRUCTION.match(line)) or (target is not None and bool(_COMPUTES.search(target[1])))


def convolution_in(hlo: str) -> str | None:
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
