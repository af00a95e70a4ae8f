"""The dialects: what is written is read back, the torch snippet runs, and hostile text is refused."""

from __future__ import annotations

import contextlib
import re
import warnings
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import problems
from torch.nn import functional

from convbench.errors import ProblemError
from convbench.problem import ConvProblem
from convbench.problem.dialects import to_benchdnn, to_miopen, to_torch
from convbench.problem.quantization import LIMITS, every_quantization

LAYER: dict[str, Any] = {"in_channels": 64, "height": 56, "width": 56, "out_channels": 64, "kernel_size": 3}


# What every dialect can say, but for the sides of the padding; without it the writers would mostly refuse.
PLAIN = problems().map(lambda p: p.replace(padding_mode="zeros", dtype="float32", direction="forward"))

QUANTIZED = st.builds(
    lambda p, quantization: p.replace(dtype="int8", quantization=quantization),
    problems(("forward",)),
    st.sampled_from(every_quantization()),
)

pytestmark = pytest.mark.usefixtures("torch_on_one_thread")


def refused(text: str) -> str:
    with pytest.raises(ProblemError) as caught:
        ConvProblem.parse(text)
    return str(caught.value)


def reference(p: ConvProblem, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> torch.Tensor:
    """The definition, by an explicit pad."""
    (top, bottom), (left, right) = p.padding
    mode = "constant" if p.padding_mode == "zeros" else p.padding_mode
    padded = functional.pad(x, (left, right, top, bottom), mode=mode)
    return functional.conv2d(padded, w, b, p.stride, 0, p.dilation, p.groups)


def integers(*shape: int) -> torch.Tensor:
    return torch.randint(-3, 4, shape, dtype=torch.float64)


# --- benchdnn -----------------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(problems() | PLAIN)
def test_benchdnn_keeps_shapes_and_values(p: ConvProblem) -> None:
    try:
        text = to_benchdnn(p)
    except ProblemError as error:
        is_unsaid = p.bias or p.direction == "step"
        assert p.padding_mode != "zeros" or min(*p.padding[0], *p.padding[1]) < 0 or is_unsaid
        assert str(p) in str(error)
        return
    read = ConvProblem.parse(text)
    assert read.replace(padding=p.padding) == p  # everything else is kept exactly
    assert read.output_shape == p.output_shape
    if all(before == after >= 0 for before, after in p.padding):
        assert read == p
    assert [before for before, _ in read.padding] == [before for before, _ in p.padding]
    x, w = integers(*p.input_shape), integers(*p.weight_shape)
    assert torch.equal(reference(read, x, w, None), reference(p, x, w, None))
    assert to_benchdnn(read) == text


@pytest.mark.parametrize(
    ("text", "case_id"),
    [
        ("mb1ic64ih56oc64oh56kh3ph1", "n1c64h56w56_o64k3_p1"),
        ("mb1_ic64ih56_oc64oh56_kh3_ph1_nfirst", "n1c64h56w56_o64k3_p1"),
        ('ic3ih227iw227_oc96oh55ow55_kh11kw11_sh4sw4ph0pw0_n"alexnet:conv1"', "n2c3h227w227_o96k11_s4"),
        ("g64mb1ic64ih56oc64oh56kh3ph1", "n1c64h56w56_o64k3_p1_g64"),
        ("mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3"),
        ("mb1ic64ih56oc64kh3ph1", "n1c64h56w56_o64k3_p1"),
        ("mb1ic64ih56oc64oh56kh3", "n1c64h56w56_o64k3_p1"),  # benchdnn finds ph1 from oh
        ("mb1ic64ih56oc64oh56kh4", "n1c64h56w56_o64k4_pt1b2l1r2"),  # the odd one goes to the bottom
        ("mb1ic64ih56oc64oh56kh3ph0", "n1c64h56w56_o64k3_pt0b2l0r2"),
        ("mb1ic64ih56oc64oh28kh1sh2ph0", "n1c64h56w56_o64k1_s2"),  # its last row is not read
        ("mb1ic64ih56oc64oh28kh3sh2ph1", "n1c64h56w56_o64k3_s2_p1"),
        ("mb1ic64ih56oc64oh28kh3sh2ph0", "n1c64h56w56_o64k3_s2_pt0b1l0r1"),
        ("ic1ih6oc1oh3kh1sh3ph2", "n2c1h6w6_o1k1_s3_pt2b0l2r0"),  # -1, 0 and 1 would do: none is the plainest
        ("mb1ic64ih56oc64oh52kh3ph0dh1", "n1c64h56w56_o64k3_d2"),
        ("mb1ic64ih56oc64oh28kh3sh2ph1pw0sw1dw0", "n1c64h56w56_o64k3_s2_p1"),  # pw0 sw1 dw0 are as good as not there
        ("mb1ic8ih9iw7oc8kh3kw5sh2ph1pw2", "n1c8h9w7_o8k3x5_s2x1_p1x2"),  # sw is 1: the width is given
        ("--conv mb1ic64ih56oc64oh56kh3ph1", "n1c64h56w56_o64k3_p1_bias"),
        ("./benchdnn --conv --dir=FWD_D mb1ic64ih56oc64oh56kh3ph1", "n1c64h56w56_o64k3_p1"),
        ("--conv --dt=f64 --dir=FWD_I ic64ih56oc64kh3ph1", "n2c64h56w56_o64k3_p1_f64"),
        ("--conv --dt=bf16:bf16:bf16 --dir=FWD_B --mb=4 ic64ih56oc64kh3", "n4c64h56w56_o64k3_bias_bf16"),
        ("--conv --cfg=f16 --dir=BWD_D --stag=axb -v5 --mb=0 mb3ic64ih56oc64kh3", "n3c64h56w56_o64k3_f16_dgrad"),
        ("--conv --mode=P --dir=BWD_WB mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3_bias_wgrad"),
        (
            "--conv --engine=cpu --allow-enum-tags-only=0 --dt=bf16 --bia-dt=f32 --dir=FWD_I --attr-scratchpad=user "
            "--attr-post-ops=sum+relu --attr-fpmath=bf16 --attr-deterministic=true mb1ic64ih56oc64kh3",
            "n1c64h56w56_o64k3_bias_bf16_add_relu",
        ),
        ("--conv --attr-post-ops=eltwise_clip:0:6+add:f32 --dir=FWD_D ic64ih56oc64kh3", "n2c64h56w56_o64k3_relu6_add"),
        ("--conv --attr-post-ops=mul:f32+relu --dir=FWD_D mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3"),  # no epilogue
        ("--conv --attr-post-ops=relu+tanh --dir=FWD_D mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3"),
        ("--conv --attr-post-ops=sum:2+relu --dir=FWD_D mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3"),
        ("--conv --bia-dt=undef --dir=FWD_D mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3"),
        ("--conv --bia_dt=f32 --dir=BWD_W mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3_bias_wgrad"),
        ("--conv --dt=f16 --mb=7 --reset --dir=FWD_D mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3"),
        ("--reset --conv --dir=FWD_D mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3"),
        ("mb1_ic64oc64_id1od1kd1sd1dd0pd0_ih56oh56kh3sh1dh0ph1_iw56ow56kw3sw1dw0pw1", "n1c64h56w56_o64k3_p1"),
        (
            "OMP_NUM_THREADS=4 numactl -l ./tests/benchdnn/benchdnn --mode=C -v1 --conv mb1ic64ih56oc64kh3",
            "n1c64h56w56_o64k3_bias",
        ),
        ("0:FAILED (12 ms) __REPRO: --conv --dir=FWD_D mb1ic64ih56oc64kh3", "n1c64h56w56_o64k3"),
        (
            'perf,cpu,jit:avx2,"net:conv1*3",--conv --mode=P --dir=FWD_I mb1ic64ih56oc64kh3n"net:conv1*3",0.1,0',
            "n1c64h56w56_o64k3",
        ),
    ],
)
def test_benchdnn_is_read_as_benchdnn_reads_it(text: str, case_id: str) -> None:
    assert ConvProblem.parse(text) == ConvProblem.parse(text) == ConvProblem.parse(case_id)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"padding": 1}, "--conv --dir=FWD_D mb1ic64ih56oc64oh56kh3ph1"),
        ({"bias": True}, "--conv --dir=FWD_B mb1ic64ih56oc64oh54kh3ph0"),
        (
            {"width": 28, "padding": (1, 0), "dtype": "bfloat16", "groups": 2, "dilation": (1, 2)},
            "--conv --dt=bf16 --dir=FWD_D g2mb1ic64ih56iw28oc64oh56ow24kh3kw3ph1pw0dh0dw1",
        ),
    ],
)
def test_benchdnn_is_written_so(changes: dict[str, Any], text: str) -> None:
    assert to_benchdnn(ConvProblem(**(LAYER | changes))) == text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"padding": 1, "padding_mode": "reflect"}, "zeros only"),
        ({"padding": -1}, r"cannot crop.*\(-1, -1\)"),
        ({"padding": ((0, -3), 0)}, r"cannot crop.*\(0, -3\)"),
        ({"bias": True, "direction": "input_gradient"}, "has no bias"),
        ({"bias": True, "direction": "bias_gradient"}, "BWD_WB"),
        ({"direction": "step"}, "no training step"),
    ],
)
def test_benchdnn_refuses_what_it_cannot_say(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        to_benchdnn(ConvProblem(**(LAYER | changes)))


def test_benchdnn_writes_a_crop_of_rows_that_nothing_reads() -> None:
    p = ConvProblem(**(LAYER | {"kernel_size": 1, "stride": 2, "padding": ((0, -1), (0, -1))}))
    assert ConvProblem.parse(to_benchdnn(p)) == p.replace(padding=0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--conv", "names one problem, and this one 0"),
        ("--conv ic3ih8oc4kh3 ic3ih9oc4kh3", "this one 2"),
        ("ic3ih8oc4", "lacks kh"),
        ("mb1ih8oc4kh3", "lacks ic"),
        ("ic3id8ih8oc4kh3", "'id8ih8oc4kh3'"),
        ("ic3ih8iw9oc4kh3", "gives iw but not both"),
        ("ic3ih8oc4kh3oh1", "oh1 is less than ih8, kh3, sh1 and padding 0 give"),
        ("ic3ih8oc4kh9", "spans 9"),
        ("ic3ih8oc4kh3sh0", "stride is 0"),
        ("ic3ih8oc4kh3ph-1", "'ph-1'"),
        ("g2ic3ih8oc4kh3", "2 groups"),
        ("--conv --dt=u8:u8:u8 ic3ih8oc4kh3", "--dt=u8:u8:u8 is no quantised convolution"),
        ("--conv --dt=f32:f32:f16 ic3ih8oc4kh3", "--dt=f32:f32:f16 is not one data type"),
        ("--conv --dt=u8:s8:u8 --attr-scales=wei:per_w ic3ih8oc4kh3", "has the policy 'per_w'"),
        ("--conv --dt=f32:f16:f32 ic3ih8oc4kh3", "f32, f64, f16, bf16"),
        ("--conv --dir=FWD ic3ih8oc4kh3", "FWD_B, FWD_D"),
        ("--conv --mb=x ic3ih8oc4kh3", "--mb=1"),
        ("--conv --attr-post-ops=relu+dw:k3s1p1 ic3ih8oc4kh3", "--attr-post-ops=relu+dw:k3s1p1 fuses a depthwise"),
        ("--conv --batch=shapes_resnet_50 ic3ih8oc4kh3", "--batch=shapes_resnet_50 is not understood"),
        ("--conv --bia-dt=s8 ic3ih8oc4kh3", "--bia-dt=s8 is no type of a bias"),
        ("--conv mb1ic3ih8oc4kh3 --dir=FWD_D", "--dir=FWD_D is behind the problem"),
        ("mb1ic3id8ih8oc4kd3kh3", "'id8ih8oc4kd3kh3'"),
        ("mb1ic3id1ih8oc4kd1kh3pd1", "'pd1'"),
        ("--conv --dri=FWD_D ic3ih8oc4kh3", "Did you mean '--dir'"),
        ("--deconv ic3ih8oc4kh3", "--deconv is not understood"),
        ("ic3ih" + "9" * 30 + "oc4kh3", "not understood"),
        ("ic3ih٣oc4kh3", "names no convolution"),
    ],
)
def test_benchdnn_text_is_refused_with_reason(text: str, words: str) -> None:
    assert words in refused(text)


# --- ONEDNN_VERBOSE -----------------------------------------------------------------------------------------------

_PROBLEM = "mb1_ic3oc64_ih224oh112kh7sh2dh0ph3_iw224ow112kw7sw2dw0pw3"


@pytest.mark.parametrize(
    ("text", "case_id"),
    [
        (
            "dnnl_verbose,exec,cpu,convolution,jit:avx512_common,forward_inference,src_f32::blocked:abcd:f0 "
            f"wei_f32::blocked:Acdb16a:f0 bia_undef::undef::f0 dst_f32::blocked:aBcd16b:f0,,"
            f"alg:convolution_direct,{_PROBLEM},0.988037",
            "n1c3h224w224_o64k7_s2_p3",
        ),
        (
            "onednn_verbose,primitive,exec,cpu,convolution,jit:avx2,forward_training,src_f32:a:blocked:abcd::f0 "
            "wei_f32:a:blocked:Acdb8a::f0 bia_f32:a:blocked:a::f0 dst_f32:a:blocked:aBcd8b::f0,attr-scratchpad:user "
            f"attr-post-ops:eltwise_relu:0:1 ,alg:convolution_direct,{_PROBLEM},0.57",
            "n1c3h224w224_o64k7_s2_p3_bias_relu",
        ),
        (
            "onednn_verbose,v1,1733000000.125,primitive,exec,cpu,convolution,jit:avx512_core_amx,forward_inference,"
            "src:bf16:a:blocked:acdb::f0 wei:bf16:a:blocked:Acdb16a::f0 bia:f32:a:blocked:a::f0 "
            f"dst:bf16:a:blocked:acdb::f0,attr-scratchpad:user attr-fpmath:bf16,alg:convolution_direct,{_PROBLEM},0.05",
            "n1c3h224w224_o64k7_s2_p3_bias_bf16",
        ),
        (
            "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,backward_weights,src:f32::blocked:abcd::f0 "
            "diff_wei:f32::blocked:abcd::f0 diff_bia:undef::undef::: diff_dst:f32::blocked:abcd::f0,,"
            "alg:convolution_direct,g32mb1_ic32oc32_ih112oh112kh3sh1dh0ph1_iw112ow112kw3sw1dw0pw1,0.2",
            "n1c32h112w112_o32k3_p1_g32_wgrad",
        ),
        (
            "onednn_verbose,primitive,exec,cpu,convolution,jit:avx2,backward_data,diff_src_f32::blocked:abcd::f0 "
            "wei_f32::blocked:abcd::f0 bia_undef::undef::: diff_dst_f32::blocked:abcd::f0,,alg:convolution_direct,"
            "mb2_ic8oc4_id1od1kd1sd1dd0pd0_ih9oh9kh3sh1dh0ph1_iw7ow7kw3sw1dw0pw1,0.2",
            "n2c8h9w7_o4k3_p1_dgrad",
        ),
        (
            "mkldnn_verbose,exec,convolution,jit:avx2,forward_inference,fsrc:nChw8c fwei:OIhw8i8o fbia:x fdst:nchw,"
            "alg:convolution_direct,mb1_g32ic32oc32_ih112oh112kh3sh1dh0ph1_iw112ow112kw3sw1dw0pw1,0.1",
            "n1c32h112w112_o32k3_p1_g32_bias",
        ),
        ("[rank0] onednn_verbose,primitive,create:cache_hit,gpu,convolution,jit:ir,forward_inference,"
         "src_f16::blocked:abcd::f0 wei_f16::blocked:abcd::f0 bia_undef::undef::: dst_f16::blocked:abcd::f0,,"
         f"alg:convolution_direct,{_PROBLEM},0.1",
         "n1c3h224w224_o64k7_s2_p3_f16"),
    ],
)  # fmt: skip
def test_a_line_of_onednn_verbose_is_read(text: str, case_id: str) -> None:
    assert ConvProblem.parse(text) == ConvProblem.parse(case_id)


_LINE = (
    "onednn_verbose,primitive,exec,cpu,convolution,jit:avx2,forward_training,src_f32::blocked:abcd::f0 "
    "wei_f32::blocked:abcd::f0 bia_undef::undef::: dst_f32::blocked:abcd::f0,,alg:convolution_direct,"
    f"{_PROBLEM},0.5"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_LINE.replace(",convolution,", ",deconvolution,"), "0 of these 1"),
        (f"{_LINE}\n{_LINE}", "2 of these 2"),
        (_LINE.replace("src_f32", "src_u8"), "--dt=u8:f32:f32 is no quantised convolution"),
        (_LINE.replace("src_f32", "src_bf16"), "is of bf16, f32"),
        (_LINE.replace("dst_f32", "dst_bf16"), "is of bf16, f32"),
        (_LINE.replace("forward_training", "backward"), "is not understood"),
        (_LINE.replace(f",{_PROBLEM}", ""), "is not understood"),
        (_LINE.replace(",,alg", ",attr-post-ops:dw:k3s1p1,alg"), "fuses a depthwise"),
        (_LINE.replace("ih224", "ih224id8od8kd3"), "'id8od8kd3"),
        ("onednn_verbose,info,oneDNN v3.4.2 (commit 1137e04)", "0 of these 1"),
    ],
)
def test_a_line_of_onednn_verbose_is_refused_with_reason(text: str, words: str) -> None:
    assert words in refused(text)


# --- MIOpenDriver -------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(problems() | PLAIN)
def test_miopen_gives_the_problem_back_or_says_why_not(p: ConvProblem) -> None:
    symmetric = all(before == after >= 0 for before, after in p.padding)
    unsaid = p.direction in ("bias_gradient", "step")
    if p.dtype == "float64" or p.padding_mode != "zeros" or not symmetric or unsaid:
        with pytest.raises(ProblemError, match=r"MIOpenDriver (has|pads|knows)"):
            to_miopen(p)
    else:
        assert ConvProblem.parse(to_miopen(p)) == p


@pytest.mark.parametrize(
    ("text", "case_id"),
    [
        ("MIOpenDriver conv", "n100c3h32w32_o32k3"),
        ("./bin/MIOpenDriver conv -W 32 -H 28 -c 3 -k 8 -x 5 -y 3 -p 2 -q 1 -n 1", "n1c3h28w32_o8k3x5_p2x1"),
        ("convfp16 -n 1 -c 8 -H 9 -W 9 -k 8 -u 2 -v 1 -l 1 -j 2 -g 4 -b 1 -F 1", "n1c8h9w9_o8k3_s2x1_d1x2_g4_bias_f16"),
        ("convbfp16 -n 1 -F 2 -t 1 -V 0 -m conv", "n1c3h32w32_o32k3_bf16_dgrad"),
        (
            "./bin/MIOpenDriver conv --batchsize 2 --spatial_dim 2 --pad_h 1 --pad_w 0 --pad_d 0 --conv_stride_h 1 "
            "--conv_stride_w 2 --conv_stride_d 0 --dilation_h 1 --dilation_w 1 --dilation_d 0 --group_count 1 "
            "--mode conv --pad_mode default --out_layout NCHW --in_layout NCHW --fil_layout NCHW --in_d 1 --in_h 62 "
            "--in_w 50 --fil_d 1 --fil_h 3 --fil_w 1 --in_channels 256 --out_channels 12 --bias 0 --forw 4",
            "n2c256h62w50_o12k3x1_s1x2_p1x0_wgrad",
        ),
    ],
)
def test_miopen_is_read(text: str, case_id: str) -> None:
    assert ConvProblem.parse(text) == ConvProblem.parse(case_id)


def test_miopen_is_written_so() -> None:
    p = ConvProblem(**(LAYER | {"height": 28, "kernel_size": (3, 5), "padding": (1, 2), "bias": True}))
    assert to_miopen(p) == (
        "MIOpenDriver conv -n 1 -c 64 -H 28 -W 56 -k 64 -y 3 -x 5 -p 1 -q 2 -u 1 -v 1 -l 1 -j 1 -g 1 -b 1 "
        "-m conv -F 1 -t 1"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MIOpenDriver", "conv, convfp16, convbfp16"),
        ("MIOpenDriver pool -n 1", "'pool'"),
        ("convint8 -n 1", "'convint8'"),
        ("conv -n", "-n has no value"),
        ("conv -n x", "--batchsize is 'x'"),
        ("conv -n ٣", "--batchsize is '٣'"),
        ("conv --in_chanels 3", "Did you mean '--in_channels'"),
        ("conv n 1 -c 3", "names no convolution"),
        ("MIOpenDriver conv n 1", "'n' is no flag"),
        ("conv -m trans", "--mode is 'trans'"),
        ("conv -z same", "--pad_mode is 'same'"),
        ("conv --spatial_dim 3", "--spatial_dim is '3'"),
        ("conv -p 3 -H 1 -y 9", "spans 9"),
    ],
)
def test_miopen_text_is_refused_with_reason(text: str, words: str) -> None:
    assert words in refused(text)


_FAKE = (
    "x = torch.fake_quantize_per_tensor_affine(torch.randn(1, 3, 8, 8), 0.1, 128, 0, 255); "
    "conv = torch.nn.Conv2d(3, 3, 3); y = torch.fake_quantize_per_tensor_affine(conv(x), 0.1, 0, -128, 127)"
)
_WEIGHT = (
    "torch.fake_quantize_per_tensor_affine(conv.weight.data, scale=s, zero_point=0, quant_min=-128, quant_max=127)"
)


# --- torch --------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(problems())
def test_the_torch_snippet_runs_and_computes_the_problem(p: ConvProblem) -> None:
    text = to_torch(p)
    assert ConvProblem.parse(text) == p
    found: dict[str, Any] = {}
    exec(text, found)
    x, conv, y = found["x"], found["conv"], found["y"]
    assert tuple(x.shape) == p.input_shape and tuple(conv.weight.shape) == p.weight_shape
    assert tuple(y.shape) == p.output_shape and y.dtype == getattr(torch, p.dtype)
    if p.direction == "step":
        assert tuple(tuple(part.shape) for part in (y, *found["gradients"])) == p.result_shapes
    elif p.direction != "forward":
        assert tuple(found["gradient"].shape) == p.result_shape


@settings(max_examples=150)
@given(problems())
def test_the_torch_snippet_gives_the_values_of_the_definition(p: ConvProblem) -> None:
    assume(p.direction == "forward")
    p = p.replace(dtype="float64")
    found: dict[str, Any] = {}
    exec(to_torch(p), found)
    with torch.no_grad():
        for weights in found["conv"].parameters():
            weights.copy_(integers(*weights.shape))
        found["x"].copy_(integers(*p.input_shape))
        exec(to_torch(p).splitlines()[-1], found)
    conv = found["conv"]
    assert torch.equal(found["y"], reference(p, found["x"], conv.weight, conv.bias))


@settings(max_examples=150)
@given(QUANTIZED)
def test_the_torch_snippet_of_a_quantised_problem_reads_back_and_gives_numbers_of_its_formats(p: ConvProblem) -> None:
    q = p.quantization
    assert q is not None
    assume(q.result != "s32")
    text = to_torch(p)
    assert ConvProblem.parse(text) == p
    found: dict[str, Any] = {}
    exec(text, found)
    formats = [(found["x"], q.input, q.input_zero_point, 32), (found["conv"].weight, "s8", q.weight_zero_point, 128)]
    formats += [(found["y"], q.result, q.result_zero_point, 32)] if q.is_requantized else []
    for values, name, shifted, steps in formats:
        integers_of = (values * steps).detach()
        low, high = (limit - shifted * {"u8": 128, "s8": 8}[name] for limit in LIMITS[name])
        assert torch.equal(integers_of, integers_of.round())
        assert low <= integers_of.min() and integers_of.max() <= high
    with torch.no_grad():
        y = reference(p, found["x"], found["conv"].weight, found["conv"].bias)
    half_a_step = 1 / 64 if q.is_requantized else 0
    low, high = (limit / 32 for limit in LIMITS.get(q.result, (-(2**40), 2**40)))
    inside = (y > low + 8 / 32) & (y < high - 128 / 32) if q.is_requantized else torch.ones_like(y, dtype=torch.bool)
    assert ((found["y"] - y)[inside].abs() <= half_a_step + 1e-4).all()


def test_the_torch_snippet_is_written_so() -> None:
    p = ConvProblem(**(LAYER | {"stride": (1, 2), "padding": ((0, 1), (2, 3)), "padding_mode": "reflect"}))
    assert to_torch(p) == (
        "import torch\n"
        "x = torch.randn(1, 64, 56, 56)\n"
        "conv = torch.nn.Conv2d(64, 64, kernel_size=3, stride=(1, 2), bias=False)\n"
        'y = conv(torch.nn.functional.pad(x, (2, 3, 0, 1), mode="reflect"))\n'
    )


@pytest.mark.parametrize(
    ("text", "case_id"),
    [
        (
            "x = torch.randn(1, 64, 56, 56); conv = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False)",
            "n1c64h56w56_o64k3_p1",
        ),
        ("nn.Conv2d(64, 64, 3, 2, 1)(torch.zeros((8, 64, 56, 56)))", "n8c64h56w56_o64k3_s2_p1_bias"),
        ("Conv2d(64, 64, 3)(torch.empty(64, 56, 56))", "n1c64h56w56_o64k3_bias"),  # unbatched
        ("Conv2d(64, 64, 3)(torch.rand(size=[1, 64, 56, 56]))", "n1c64h56w56_o64k3_bias"),
        (
            "Conv2d(64, 64, kernel_size=(3, 3), stride=(1, 1), padding=same, padding_mode=reflect)"
            "(torch.randn(1, 64, 56, 56))",
            "n1c64h56w56_o64k3_p1_bias_reflect",
        ),
        (
            "Conv2d(64, 64, 3, dtype=torch.half, device='cuda')(torch.ones(1, 64, 56, 56, dtype=torch.float16))",
            "n1c64h56w56_o64k3_bias_f16",
        ),
        ("Conv2d(64, 64, 3)(F.pad(torch.ones(1, 64, 56, 56), (1, 2)))", "n1c64h56w56_o64k3_pt0b0l1r2_bias"),
    ],
)
def test_torch_is_read(text: str, case_id: str) -> None:
    assert ConvProblem.parse(text) == ConvProblem.parse(case_id)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [0, 1, (1, 2), "same", "valid"])
def test_the_text_torch_prints_for_a_layer_is_read(mode: str, padding: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = torch.nn.Conv2d(4, 8, (3, 2), padding=padding, groups=2, bias=False, padding_mode=mode)
        p = ConvProblem.parse(f"{layer}(torch.randn(2, 4, 9, 7))")
        assert p.output_shape == tuple(layer(torch.randn(2, 4, 9, 7)).shape)
    assert p.padding_mode == mode and p.groups == 2 and not p.bias


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Conv2d(64, 64, 3)", "x = torch.randn(1, 64, 56, 56)"),
        ("torch.randn(1, 3, 8, 8)  # Conv2d", "one torch.nn.Conv2d(64, 64, 3), and has 0"),
        ("Conv2d(3, 3, 3)(Conv2d(3, 3, 3)(torch.randn(1, 3, 8, 8)))", "and has 2"),
        ("Conv2d(3, 3)(torch.randn(1, 3, 8, 8))", "lacks kernel_size"),
        ("Conv2d(3, 3, 3, pading=1)(torch.randn(1, 3, 8, 8))", "Did you mean 'padding'"),
        ("Conv2d(3, 3, 3, **words)(torch.randn(1, 3, 8, 8))", "no argument '**'"),
        ("Conv2d(*sizes)(torch.randn(1, 3, 8, 8))", "in_channels in the torch snippet is not a plain number"),
        ("Conv2d(1,2,3,4,5,6,7,8,9,10,11,12)(torch.randn(1, 3, 8, 8))", "12 arguments"),
        ("Conv2d(3, 3, 3)(torch.randn(1, 4, 8, 8))", "has 4 channels, and the Conv2d takes 3"),
        ("Conv2d(3, 3, 3)(torch.randn(3, 8))", "(batch, channels, height, width)"),
        ("Conv2d(3, 3, 3)(torch.randn('3'))", "four integers"),
        ("Conv2d(3, 3, 3)(torch.randn())", "four integers"),
        ("Conv2d(3, 3, n)(torch.randn(1, 3, 8, 8))", "kernel_size in the torch snippet is not a plain number"),
        ("Conv2d(3, 3, 3, dtype=torch.int8)(torch.randn(1, 3, 8, 8))", "dtype int8"),
        ("Conv2d(3, 3, 3, dtype=torch.half)(torch.randn(1, 3, 8, 8))", "the input is float32 and the Conv2d float16"),
        ("Conv2d(3, 3, 3).half()(torch.randn(1, 3, 8, 8))", "calls half()"),
        ("Conv2d(3, 3, 3, padding=1)(F.pad(torch.randn(1, 3, 8, 8), (1, 1)))", "pads twice"),
        ("Conv2d(3, 3, 3)(F.pad(torch.randn(1, 3, 8, 8), (1, 1), value=2))", "fills with 2"),
        ("Conv2d(3, 3, 3)(F.pad(torch.randn(1, 3, 8, 8), 1))", "(left, right, top, bottom)"),
        ("Conv2d(3, 3, 3)(F.pad(torch.randn(1, 3, 8, 8), (1, 1), mode='mirror'))", "'mirror'"),
        ("Conv2d(3, 3, 9)(torch.randn(1, 3, 8, 8))", "spans 9"),
        (_FAKE, "quantises its input 1 times, its weight 0 times"),
        (_FAKE.replace("0, 255", "0, 15") + "; " + _WEIGHT, "has the bounds 0 ... 15"),
        (_FAKE.replace("128, 0", "z, 0") + "; " + _WEIGHT, "zero_point in the torch snippet is no integer"),
        (_FAKE + "; torch.fake_quantize_per_tensor_affine(conv.weight.data, 1.0, 0, 0, 255)", "a weight has -128"),
        (_FAKE + "; " + _WEIGHT + "; y.backward(torch.ones_like(y)); x.grad", "computed forward only"),
        ("Conv2d(3, 3, 'x')(torch.randn(1, 3, 8, 8))", "kernel_size is 'x'"),
        ("Conv2d(3, 3, 3", "not Python"),
        ("Conv2d\0", "not Python"),
        ("Conv2d(" + "-" * 15_000 + "1)", "not Python"),
        ("Conv2d(" + "(" * 5_000, "not Python"),
        ("Conv2d(" + "9" * 5_000 + ", 3, 3)(torch.randn(1, 3, 8, 8))", ""),
    ],
)
def test_torch_text_is_refused_with_reason(text: str, words: str) -> None:
    assert words in refused(text)


def test_fake_quantization_in_other_words_is_read() -> None:
    assert str(ConvProblem.parse(f"{_FAKE}; {_WEIGHT}").quantization) == "u8z:s8t:s8"
    apart = "x = torch.randn(1, 3, 8, 8); q = torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255); "
    assert ConvProblem.parse(f"{apart} y = Conv2d(3, 3, 3)(q); {_WEIGHT}").case_id == "n1c3h8w8_o3k3_bias_u8s8tf32"


def test_a_torch_snippet_is_never_run(tmp_path: Any) -> None:
    marker = tmp_path / "ran"
    call = f"open({str(marker)!r}, 'w')"
    for text in (
        f"{call}; Conv2d(3, 3, 3)(torch.randn(1, 3, 8, 8))",
        f"Conv2d(3, 3, {call})(torch.randn(1, 3, 8, 8))",
        f"Conv2d(3, 3, 3, dtype={call})(torch.randn(1, 3, 8, 8))",
        f"__import__('os').system('touch {marker}'); Conv2d(3, 3, 3)(torch.randn(1, 3, 8, 8))",
    ):
        with contextlib.suppress(ProblemError):
            ConvProblem.parse(text)
        assert not marker.exists()


# --- anything else ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "  \n", "resnet50", "conv2d", "3x3", "n1", "--", "-n 1 -c 3", "x" * 30_000])
def test_any_other_text_is_refused_with_the_forms_that_are_understood(text: str) -> None:
    message = refused(text)
    assert "names" in message and len(message) < 800
    if text != "--":
        for form in ("case id", "benchdnn", "MIOpenDriver", "torch"):
            assert re.search(form, message)
