"""A convolution as a C++ program for oneDNN, for reports to its project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench.problem import ConvProblem

from .fused_program import epilogue_slots

if TYPE_CHECKING:
    import numpy as np

_MOST_NUMBERS = 4096
_TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_ROUNDING = {"float32": "1e-5", "float16": "4e-3", "bfloat16": "2e-2"}
_PROGRAM = """\
// g++ -std=c++17 conv.cpp -ldnnl -o conv && ./conv
#include <cmath>
#include <cstdio>
#include <unordered_map>
#include <vector>
#include "oneapi/dnnl/dnnl.hpp"
using namespace dnnl;
using tag = memory::format_tag;

int main() {{
    const auto f32 = memory::data_type::f32, type = memory::data_type::{type};
    const int N = {n}, C = {c}, H = {h}, W = {w}, O = {o}, G = {g}, KH = {kh}, KW = {kw}, P = {p}, Q = {q};
    const int SH = {sh}, SW = {sw}, DH = {dh}, DW = {dw}, TOP = {top}, LEFT = {left};
    std::vector<float> x{{{x}}};
    std::vector<float> w{{{weight}}};
    std::vector<float> b{{{b}}};
{r}
    engine cpu(engine::kind::cpu, 0);
    stream s(cpu);
    const memory::dims xd{{N, C, H, W}}, wd{{{weight_dims}}}, yd{{N, O, P, Q}}, bd{{O}};
    auto moved = [&](std::vector<float> &from, const memory::dims &dims, tag plain, const memory::desc &to) {{
        memory source({{dims, f32, plain}}, cpu, from.data()), target(to, cpu);
        reorder(source, target).execute(s, source, target);
        s.wait();
        return target;
    }};
    for (auto layout : {{tag::nchw, tag::nhwc, tag::any}}) {{
        const memory::desc x_any(xd, type, layout), w_any(wd, type, tag::any), y_any(yd, type, layout);
        const memory::desc b_desc = b.empty() ? memory::desc() : memory::desc(bd, f32, tag::a);
        const memory::dims strides{{SH, SW}}, dilates{{DH - 1, DW - 1}};
        const memory::dims before{{TOP, LEFT}}, after{{{bottom}, {right}}};
{attributes}        convolution_forward::primitive_desc pd(cpu, prop_kind::forward_inference,
            algorithm::convolution_direct, x_any, w_any, b_desc, y_any, strides, dilates, before, after{attr});
        memory y(pd.dst_desc(), cpu);
        std::unordered_map<int, memory> arguments{{
            {{DNNL_ARG_SRC, moved(x, xd, tag::nchw, pd.src_desc())}},
            {{DNNL_ARG_WEIGHTS, moved(w, wd, tag::{weight_tag}, pd.weights_desc())}}, {{DNNL_ARG_DST, y}}}};
        if (!b.empty()) arguments.insert({{DNNL_ARG_BIAS, memory(b_desc, cpu, b.data())}});
{residual}        convolution_forward(pd).execute(s, arguments);
        std::vector<float> out(size_t(N) * O * P * Q);
        memory result({{yd, f32, tag::nchw}}, cpu, out.data());
        reorder(y, result).execute(s, y, result);
        s.wait();

        int wrong = 0;
        size_t at = 0;
        for (int n = 0; n < N; n++) for (int o = 0; o < O; o++)
        for (int p = 0; p < P; p++) for (int q = 0; q < Q; q++) {{
            double expected = b.empty() ? 0 : b[o], sizes = std::fabs(expected);
            for (int i = 0; i < C / G; i++) for (int r = 0; r < KH; r++) for (int t = 0; t < KW; t++) {{
                const int row = p * SH - TOP + r * DH, column = q * SW - LEFT + t * DW;
                if (row < 0 || row >= H || column < 0 || column >= W) continue;
                const int channel = o / (O / G) * (C / G) + i;
                const double product = double(x[((size_t(n) * C + channel) * H + row) * W + column])
                    * w[((size_t(o) * (C / G) + i) * KH + r) * KW + t];
                expected += product;
                sizes += std::fabs(product);
            }}
{ended}            const double got = out[at++];
            if (std::fabs(got - expected) <= {rounding} * sizes) continue;
            if (!wrong++) std::printf("  at [%d, %d, %d, %d]: got %.9g, expected %.9g\\n", n, o, p, q, got, expected);
        }}
        const char *name = layout == tag::nchw ? "nchw" : layout == tag::nhwc ? "nhwc" : "any";
        std::printf("%s, %s: %d of %zu elements wrong\\n", name, pd.impl_info_str(), wrong, out.size());
    }}
}}
"""


def onednn_program(
    problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None = None
) -> str | None:
    """The program, which computes with sources in three layouts; None for what oneDNN does not have, and for operands
    that are too large to write out. An epilogue is its post-ops."""
    if problem.dtype not in _TYPES or problem.direction != "forward" or not can_be_written(problem, x, w, b, r):
        return None
    return _PROGRAM.format(
        **geometry_slots(problem),
        **epilogue_slots(problem),
        type=_TYPES[problem.dtype],
        rounding=_ROUNDING[problem.dtype],
        x=_floats(x),
        weight=_floats(w),
        b="" if b is None else _floats(b),
        r="" if r is None else f"    std::vector<float> r{{{_floats(r)}}};\n",
    )


def can_be_written(problem: ConvProblem, *operands: np.ndarray | None) -> bool:
    """Whether oneDNN has the padding, and the operands are few numbers enough to be written out."""
    sides = [side for both in problem.padding for side in both]
    numbers = sum(array.size for array in operands if array is not None)
    return problem.padding_mode == "zeros" and min(sides) >= 0 and numbers <= _MOST_NUMBERS


def geometry_slots(problem: ConvProblem) -> dict[str, object]:
    """Sizes, strides, dilations and padding, and how the weight lies, by slot of a program."""
    n, c, h, w = problem.input_shape
    (kh, kw), (sh, sw), (dh, dw) = problem.kernel_size, problem.stride, problem.dilation
    (top, bottom), (left, right) = problem.padding
    is_grouped = problem.groups > 1
    return {
        "n": n,
        "c": c,
        "h": h,
        "w": w,
        "o": problem.out_channels,
        "g": problem.groups,
        "kh": kh,
        "kw": kw,
        "p": problem.out_height,
        "q": problem.out_width,
        "sh": sh,
        "sw": sw,
        "dh": dh,
        "dw": dw,
        "top": top,
        "bottom": bottom,
        "left": left,
        "right": right,
        "weight_dims": "G, O / G, C / G, KH, KW" if is_grouped else "O, C, KH, KW",
        "weight_tag": "goihw" if is_grouped else "oihw",
    }


def _floats(array: np.ndarray) -> str:
    words = [_word(float(value)) for value in array.reshape(-1)]
    lines = [", ".join(words[start : start + 16]) for start in range(0, len(words), 16)]
    return ",\n        ".join(lines)


def _word(value: float) -> str:
    if value != value:
        return "NAN"
    if value in (float("inf"), float("-inf")):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{value:.9g}f" if "." in f"{value:.9g}" or "e" in f"{value:.9g}" else f"{value:.9g}"
