"""Convolutions of logs: those that libraries wrote here, older forms, and files that are something else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convbench.errors import ModelError
from convbench.extraction.extract import Extracted, layers_of
from convbench.suite.toml_file import read_suite

PROGRAM = """
import torch
from torch import nn
net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=False))
with torch.no_grad():
    for _ in range(3):
        net(torch.ones(4, 3, 32, 32))
    nn.ConvTranspose2d(32, 8, 2)(torch.ones(4, 32, 16, 16))
"""
OLD = (
    "dnnl_verbose,exec,cpu,convolution,jit:avx2,forward_training,src_f32::blocked:abcd:f0 wei_f32::blocked:Acdb8a:f0 "
    "bia_f32::blocked:a:f0 dst_f32::blocked:aBcd8b:f0,,alg:convolution_direct,"
    "mb1_ic3oc64_ih224oh112kh7sh2dh0ph3_iw224ow112kw7sw2dw0pw3,{time}"
)
NEW = (
    "onednn_verbose,v1,{stamp},primitive,{what},cpu,{kind},brg:avx512_core,forward_inference,"
    "src:{t}:a:blocked:acdb::f0 wei:{t}:a:blocked:Acdb64a::f0 "
    "bia:undef::undef::: dst:{t}:a:blocked:acdb::f0,attr-scratchpad:user {attr},"
    "alg:convolution_direct,mb2_ic16oc8_ih9oh9kh3sh1dh0ph1_iw9ow9kw3sw1dw0pw1,{time}"
)
MIOPEN = (
    "MIOpen(HIP): Command [{command}] ./bin/MIOpenDriver {operation} -n 8 -c 64 -H 56 -W 56 -k 64 -y 3 -x 3 -p 1 -q 1 "
    "-u 1 -v 1 -l 1 -j 1 -m conv -g 1 -F 1 -t 1"
)


def new(what: str = "exec", kind: str = "convolution", t: str = "f32", attr: str = "", time: float = 0.5) -> str:
    return NEW.format(stamp=f"{time}01", what=what, kind=kind, t=t, attr=attr, time=time)


def of(tmp_path: Path, *lines: str, name: str = "run.log") -> Extracted:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return layers_of(str(path))


def counts(extracted: Extracted) -> dict[str, int]:
    return {case.problem.case_id: case.count for case in extracted.cases}


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN, so it writes no log")
def test_a_log_that_torch_wrote_here_has_its_convolutions_with_counts(tmp_path: Path) -> None:
    environment = os.environ | {"ONEDNN_VERBOSE": "1"}
    line = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=280, check=True)
    if ",exec," not in done.stdout:
        pytest.skip("torch computes these by other means than oneDNN on this CPU")
    extracted = of(tmp_path, "some line of the program", done.stdout)
    assert counts(extracted) == {"n4c3h32w32_o32k3_p1_bias": 3, "n4c32h32w32_o32k3_s2_p1": 3}
    assert all("deconvolution" in sentence for sentence in extracted.left_out)


def test_older_and_newer_forms_are_read_and_a_different_time_is_no_other_convolution(tmp_path: Path) -> None:
    extracted = of(tmp_path, *(OLD.format(time=t) for t in (0.5, 0.7)), new(time=1.5), new(time=2.5), new(t="bf16"))
    assert counts(extracted) == {
        "n1c3h224w224_o64k7_s2_p3_bias": 2,
        "n2c16h9w9_o8k3_p1": 2,
        "n2c16h9w9_o8k3_p1_bf16": 1,
    }
    assert extracted.suite().summary.startswith(f"The 5 convolutions of {tmp_path / 'run.log'}: 3 distinct, ")


def test_what_did_not_run_is_not_counted_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    lines = [new("create:cache_miss"), new(), new(kind="reorder"), new(kind="deconvolution"), new(t="u8"), new(t="u8")]
    extracted = of(tmp_path, *lines, new(attr="attr-post-ops:eltwise_relu"))
    assert counts(extracted) == {"n2c16h9w9_o8k3_p1": 2}
    said = " ".join(extracted.left_out)
    assert "A deconvolution, which is not torch's conv2d: runs once." in said
    assert "--dt=u8:u8:u8 is no quantised convolution of convbench" in said and "runs twice" in said
    assert "What was joined to a convolution (eltwise_relu): runs once." in said


def test_commands_that_miopen_logged_are_read_without_its_searches(tmp_path: Path) -> None:
    run, find = ("LogCmdConvolution", "LogCmdFindConvolution")
    lines = [MIOPEN.format(command=command, operation="conv") for command in (find, run, run)]
    half = MIOPEN.format(command=run, operation="convfp16")
    pool = MIOPEN.format(command="LogCmdPooling", operation="pool")
    extracted = of(tmp_path, *lines, half, pool, name="miopen.txt")
    assert counts(extracted) == {"n8c64h56w56_o64k3_p1": 2, "n8c64h56w56_o64k3_p1_f16": 1}


def test_a_log_becomes_a_suite_file(tmp_path: Path) -> None:
    log, suite = tmp_path / "run.log", tmp_path / "mine.toml"
    log.write_text(f"{new()}\n{new()}\n{OLD.format(time=1)}\n")
    words = [sys.executable, "-m", "convbench", "extract", log, "--output", suite, "--where", "kernel_size == 3"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=280, check=True)
    assert "2 of the 3 convolutions" in " ".join(done.stdout.split())
    assert [(case.problem.case_id, case.count) for case in read_suite(suite).cases] == [("n2c16h9w9_o8k3_p1", 2)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no line of a convolution that ran"),
        (b"nothing of the kind\n", "no line of a convolution that ran"),
        (b"\xff\xfe\x00\x01" * 50, "no line of a convolution that ran"),
        (new("create:cache_miss").encode(), "no line of a convolution that ran"),
    ],
)
def test_a_file_without_convolutions_is_refused_with_its_path(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said) as refused:
        layers_of(str(path))
    assert str(path) in str(refused.value)


def test_hostile_lines_cost_themselves(tmp_path: Path) -> None:
    long = "onednn_verbose,exec,cpu,convolution," + "x" * 100_000
    huge = new().replace("mb2", "mb99999999999999999999")
    escapes = new().replace("mb2_", "\x1b[31mmb2_")
    extracted = of(tmp_path, long, huge, escapes, "MIOpenDriver conv -n", "MIOpenDriver conv -n -1", new())
    assert counts(extracted) == {"n2c16h9w9_o8k3_p1": 1}
    assert any("more than 16 KiB" in sentence for sentence in extracted.left_out)
    assert len(extracted.left_out) >= 3


def test_inputs_say_nothing_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(new())
    with pytest.raises(ModelError, match="has the shapes of its run"):
        layers_of(str(tmp_path / "x.log"), batch=2)
    with pytest.raises(ModelError, match="there is no such file"):
        layers_of(str(tmp_path / "missing.log"))


WORDS = ["onednn_verbose", "exec", "convolution", "mb1_ic1", "MIOpenDriver conv", "-n 1", ",", " "]


@given(st.lists(st.sampled_from(WORDS)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mixture_of_words_is_read_or_refused(tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(words))
    try:
        extracted = layers_of(str(path))
        assert extracted.cases or extracted.left_out
    except ModelError as error:
        assert str(path) in str(error)
