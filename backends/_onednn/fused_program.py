"""The parts that an epilogue adds to the C++ program of a convolution."""

from __future__ import annotations

from convbench.problem import Activation, ConvProblem, Epilogue

from .._fusion import SUM, parts_of
from .eltwise import function_of

BARE = {"attributes": "", "attr": "", "residual": "", "ended": ""}
_ATTRIBUTES = """\
        post_ops ops;
{ops}
        primitive_attr attr;
        attr.set_post_ops(ops);
"""
_RESIDUAL = """\
        const int r_place = DNNL_ARG_ATTR_MULTIPLE_POST_OP({place}) | DNNL_ARG_SRC_1;
        arguments.insert({{r_place, moved(r, yd, tag::nchw, pd.query_md(query::exec_arg_md, r_place))}});
"""
_ADD = "            expected += r[at], sizes += std::fabs(r[at]);\n"
_ACTIVATE = """\
            expected = [](double y) {{ return {formula}; }}(expected);
            sizes *= 1.5;  // no slope is larger
"""
_ITSELF = "            sizes += 1;  // the activation rounds, too\n"


def epilogue_slots(problem: ConvProblem) -> dict[str, str]:
    """What the program has for the problem's epilogue, by slot: post-ops, the residual as an argument, and the epilogue
    of what is expected."""
    epilogue = problem.epilogue
    if epilogue is None:
        return BARE
    parts = parts_of(epilogue)
    ops = [f"        {_appended(epilogue, part)}" for part in parts]
    ended = [_ADD if part == SUM else _ACTIVATE.format(formula=_formula(epilogue)) for part in parts]
    return {
        "attributes": _ATTRIBUTES.format(ops="\n".join(ops)),
        "attr": ", attr",
        "residual": _RESIDUAL.format(place=parts.index(SUM)) if SUM in parts else "",
        "ended": "".join([*ended, *([] if epilogue.activation is None else [_ITSELF])]),
    }


def _appended(epilogue: Epilogue, part: str) -> str:
    if part == SUM:
        return "ops.append_binary(algorithm::binary_add, y_any);"
    word, alpha, beta = function_of(epilogue)
    return f"ops.append_eltwise(algorithm::eltwise_{word}, {alpha!r}, {beta!r});"


def _formula(epilogue: Epilogue) -> str:
    """The activation of a double `y`."""
    formulas: dict[Activation | None, str] = {
        "relu": "y > 0 ? y : 0",
        "relu6": "std::fmin(std::fmax(y, 0), 6)",
        "clip": f"std::fmin(std::fmax(y, {epilogue.low}), {epilogue.high})",
        "leaky_relu": f"y > 0 ? y : y * {epilogue.slope}",
        "hard_swish": "y * std::fmin(std::fmax(y + 3, 0), 6) / 6",
        "sigmoid": "1 / (1 + std::exp(-y))",
        "silu": "y / (1 + std::exp(-y))",
        "gelu": "y * std::erfc(-y / std::sqrt(2.)) / 2",
        "gelu_tanh": "y / (1 + std::exp(-std::sqrt(8 / 3.141592653589793) * (y + 0.044715 * y * y * y)))",
    }
    return formulas[epilogue.activation]
