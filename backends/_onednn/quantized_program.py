"""A quantised convolution as a C++ program for oneDNN, for reports to its project."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convbench.problem import ConvProblem, Scales
from convbench.problem.quantization import LIMITS

from .program import can_be_written, geometry_slots

if TYPE_CHECKING:
    import numpy as np

_TYPES = {"u8": "uint8_t", "s8": "int8_t", "s32": "int32_t", "f32": "float"}
_PROGRAM = """\
// g++ -std=c++17 conv.cpp -ldnnl -o conv && ./conv
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <unordered_map>
#include <vector>
#include "oneapi/dnnl/dnnl.hpp"
using namespace dnnl;
using type = memory::data_type;
using tag = memory::format_tag;

int main() {{
    const int N = {n}, C = {c}, H = {h}, W = {w}, O = {o}, G = {g}, KH = {kh}, KW = {kw}, P = {p}, Q = {q};
    const int SH = {sh}, SW = {sw}, DH = {dh}, DW = {dw}, TOP = {top}, LEFT = {left};
    std::vector<{x_type}> x{{{x}}};
    std::vector<int8_t> w{{{weight}}};
    std::vector<int32_t> b{{{b}}};
    float x_scale = {x_scale}, y_scale = {y_scale};
    int32_t x_zero = {x_zero}, y_zero = {y_zero};
    std::vector<float> w_scale{{{w_scale}}};  // one for all channels, or one for each

    engine cpu(engine::kind::cpu, 0);
    stream s(cpu);
    auto plain = [&](void *from, const memory::dims &dims, type of, tag layout) {{
        return memory({{dims, of, layout}}, cpu, from);
    }};
    auto moved = [&](memory source, const memory::desc &to) {{
        memory target(to, cpu);
        reorder(source, target).execute(s, source, target);
        s.wait();
        return target;
    }};
    primitive_attr attributes;
{attributes}
    std::vector<{bias_type}> bias(b.begin(), b.end());
{scaled_bias}
    const memory::dims xd{{N, C, H, W}}, wd{{{weight_dims}}}, yd{{N, O, P, Q}}, bd{{O}};
    const memory::dims strides{{SH, SW}}, dilates{{DH - 1, DW - 1}}, before{{TOP, LEFT}}, after{{{bottom}, {right}}};
    const memory::desc x_any(xd, type::{x_word}, tag::any), w_any(wd, type::s8, tag::any);
    const memory::desc y_any(yd, type::{y_word}, tag::any);
    const memory::desc b_desc = b.empty() ? memory::desc() : memory::desc(bd, type::{bias_word}, tag::a);
    convolution_forward::primitive_desc pd(cpu, prop_kind::forward_inference, algorithm::convolution_direct, x_any,
        w_any, b_desc, y_any, strides, dilates, before, after, attributes);
    memory y(pd.dst_desc(), cpu);
    std::unordered_map<int, memory> arguments{{
        {{DNNL_ARG_SRC, moved(plain(x.data(), xd, type::{x_word}, tag::nchw), pd.src_desc())}},
        {{DNNL_ARG_WEIGHTS, moved(plain(w.data(), wd, type::s8, tag::{weight_tag}), pd.weights_desc())}},
        {{DNNL_ARG_DST, y}}}};
    if (!b.empty()) arguments.insert({{DNNL_ARG_BIAS, memory(b_desc, cpu, bias.data())}});
{arguments}
    convolution_forward(pd).execute(s, arguments);
    std::vector<{y_type}> out(size_t(N) * O * P * Q);
    memory result({{yd, type::{y_word}, tag::nchw}}, cpu, out.data());
    reorder(y, result).execute(s, y, result);
    s.wait();

    int wrong = 0;
    size_t at = 0;
    for (int n = 0; n < N; n++) for (int o = 0; o < O; o++)
    for (int p = 0; p < P; p++) for (int q = 0; q < Q; q++) {{
        int64_t sum = b.empty() ? 0 : b[o];  // exact
        for (int i = 0; i < C / G; i++) for (int r = 0; r < KH; r++) for (int t = 0; t < KW; t++) {{
            const int row = p * SH - TOP + r * DH, column = q * SW - LEFT + t * DW;
            if (row < 0 || row >= H || column < 0 || column >= W) continue;  // padding stands for 0
            const int channel = o / (O / G) * (C / G) + i;
            sum += int64_t(x[((size_t(n) * C + channel) * H + row) * W + column] - x_zero)
                * w[((size_t(o) * (C / G) + i) * KH + r) * KW + t];
        }}
        const double scale = double(x_scale) * w_scale[o % w_scale.size()] / y_scale, real = sum * scale;
        // Six roundings in float32, of the sum, the scale, their product, the bias and the zero point.
        const double error = {error};
        const double least = {least}, most = {most}, got = out[at++];
        if (least <= got && got <= most) continue;
        if (!wrong++) std::printf("at [%d, %d, %d, %d]: got %.9g, expected %.9g\\n", n, o, p, q, got, {expected});
    }}
    std::printf("%s: %d of %zu elements wrong\\n", pd.impl_info_str(), wrong, out.size());
}}
"""
_ERROR = "6 / 16777216. * (std::fabs(real) + 2 * (b.empty() ? 0 : std::fabs(double(b[o]))) * scale + std::abs(y_zero))"


def quantized_program(
    problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
) -> str | None:
    """The program; None for what oneDNN does not have, and for operands that are too large to write out."""
    quantization = problem.quantization
    assert quantization is not None
    if quantization.weight_zero_point or not can_be_written(problem, x, w, b):
        return None
    is_scaled = quantization.result != "s32"
    return _PROGRAM.format(
        **geometry_slots(problem),
        **_judged(quantization.result),
        x_type=_TYPES[quantization.input],
        y_type=_TYPES[quantization.result],
        bias_type="float" if is_scaled else "int32_t",
        x_word=quantization.input,
        y_word=quantization.result,
        bias_word="f32" if is_scaled else "s32",
        x=_numbers(x.reshape(-1).tolist()),
        weight=_numbers(w.reshape(-1).tolist()),
        b="" if b is None else _numbers(b.tolist()),
        x_scale=_float(scales.x_scale),
        y_scale=_float(scales.y_scale),
        x_zero=scales.x_zero,
        y_zero=scales.y_zero,
        w_scale=", ".join(map(_float, scales.w_scale.tolist())),
        attributes="\n".join(_attributes(problem)),
        arguments="\n".join(_arguments(problem)),
        scaled_bias=_SCALED_BIAS if is_scaled else "",
    )


_SCALED_BIAS = """\
    for (size_t o = 0; o < bias.size(); o++) bias[o] = b[o] * (double(x_scale) * w_scale[o % w_scale.size()]);"""


def _judged(result: str) -> dict[str, str]:
    """What is right: the least and the most, and what is printed."""
    if result == "s32":
        return {"error": "0", "least": "sum + error", "most": "sum + error", "expected": "double(sum)"}
    if result == "f32":
        return {"error": _ERROR, "least": "real - error", "most": "real + error", "expected": "real"}
    low, high = LIMITS[result]
    return {
        "error": _ERROR,
        "least": f"std::clamp(std::ceil(real - error - .5) + y_zero, {low}., {high}.)",
        "most": f"std::clamp(std::floor(real + error + .5) + y_zero, {low}., {high}.)",
        "expected": f"std::clamp(std::nearbyint(real + y_zero), {low}., {high}.)",
    }


def _attributes(problem: ConvProblem) -> list[str]:
    quantization = problem.quantization
    assert quantization is not None
    per_channel = (3 if problem.groups > 1 else 1) if quantization.per_channel else 0
    is_scaled = quantization.result != "s32"
    lines = {
        "attributes.set_scales_mask(DNNL_ARG_SRC, 0);": is_scaled,
        f"attributes.set_scales_mask(DNNL_ARG_WEIGHTS, {per_channel});": is_scaled,
        "attributes.set_scales_mask(DNNL_ARG_DST, 0);": quantization.is_requantized,
        "attributes.set_zero_points_mask(DNNL_ARG_SRC, 0);": quantization.input_zero_point,
        "attributes.set_zero_points_mask(DNNL_ARG_DST, 0);": quantization.result_zero_point,
    }
    return [f"    {line}" for line, is_there in lines.items() if is_there]


def _arguments(problem: ConvProblem) -> list[str]:
    quantization = problem.quantization
    assert quantization is not None
    is_scaled, one = quantization.result != "s32", "{1}"
    count = "{memory::dim(w_scale.size())}"
    given = [
        ("SCALES | DNNL_ARG_SRC", f"&x_scale, {one}, type::f32", is_scaled),
        ("SCALES | DNNL_ARG_WEIGHTS", f"w_scale.data(), {count}, type::f32", is_scaled),
        ("SCALES | DNNL_ARG_DST", f"&y_scale, {one}, type::f32", quantization.is_requantized),
        ("ZERO_POINTS | DNNL_ARG_SRC", f"&x_zero, {one}, type::s32", quantization.input_zero_point),
        ("ZERO_POINTS | DNNL_ARG_DST", f"&y_zero, {one}, type::s32", quantization.result_zero_point),
    ]
    return [
        f"    arguments.insert({{DNNL_ARG_ATTR_{name}, plain({words}, tag::a)}});"
        for name, words, there in given
        if there
    ]


def _numbers(numbers: Iterable[int]) -> str:
    words = [str(number) for number in numbers]
    lines = [", ".join(words[start : start + 20]) for start in range(0, len(words), 20)]
    return ",\n        ".join(lines)


def _float(number: float) -> str:
    word = f"{number:.9g}"
    return f"{word}f" if "." in word or "e" in word else f"{word}.f"
