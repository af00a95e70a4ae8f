"""Frames between a run and its workers: they arrive as they were sent, and whatever a worker sends is only data."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import PLUGINS

from convbench.measurement.sampling.device import DeviceMetrics
from convbench.measurement.sampling.sample import Sample, SamplingPlan
from convbench.measurement.workers.messages import (
    REQUESTS,
    Examine,
    Examined,
    Failed,
    Finish,
    Finished,
    Prepare,
    Reply,
    Request,
    Sampled,
    Start,
    Started,
    TakeSample,
    WarmedUp,
    WarmUp,
)
from convbench.measurement.workers.process import WorkerError, WorkerProcess
from convbench.measurement.workers.protocol import (
    Frame,
    ProtocolError,
    read_frame,
    reply_of,
    request_of,
    write_message,
)
from convbench.problem import ConvProblem
from convbench.registry import Origin, discover
from convbench.status import Status
from convbench.verification.adversarial_calls import PhaseAnswer

PROBLEM = ConvProblem(in_channels=2, height=3, width=4, out_channels=3, kernel_size=1)
PREFIX, MARK = struct.Struct("<4sIQI"), b"\xc0nv\x02"
X = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
SAMPLE = Sample(calls=5, wall_s=1e-3, cpu_s=9e-4, system_s=0.0, minor_faults=2, launch_s=1e-6)

REPLIES: list[tuple[Request[Any], Reply]] = [
    (
        Start(backend="b", origin=Origin("module", "m"), threads=1),
        Started(import_s=0.5, versions={"library": "1.0"}, python="3.12.1", cores=(1, 2), gpu={"name": "GPU"}),
    ),
    (WarmUp(limit_s=0.1), WarmedUp(call_s=1e-3)),
    (TakeSample(plan=SamplingPlan(5, 2)), Sampled(sample=SAMPLE, was_stopped=True)),
    (TakeSample(plan=SamplingPlan(5, 0), asks_queue=True), Sampled(sample=SAMPLE, was_stopped=False, queued_s=0.25)),
    (WarmUp(limit_s=0.1), Failed(status=Status.CRASHED, reason="called sys.exit(4)")),
]


def frame(message: Request[Any] | Reply) -> Frame:
    stream = io.BytesIO()
    write_message(stream, message)
    stream.seek(0)
    received = read_frame(stream)
    assert received is not None and read_frame(stream) is None
    return received


@pytest.mark.parametrize(("request_", "reply"), REPLIES)
def test_a_reply_arrives_as_it_was_sent(request_: Request[Any], reply: Reply) -> None:
    assert reply_of(frame(reply), request_) == reply


@pytest.mark.parametrize("request_", [request for request, _ in REPLIES])
def test_a_request_arrives_as_it_was_sent(request_: Request[Any]) -> None:
    received = request_of(frame(request_))
    assert type(received) is type(request_)
    assert json.dumps(vars(received), default=vars) == json.dumps(vars(request_), default=vars)


@pytest.mark.parametrize("case_id", ["n1c2h3w4_o3k1_bias_u8zs8u8z", "n1c2h3w4_o3k1_s8s8tf32", "n1c2h3w4_o3k1"])
def test_a_problem_arrives_with_all_that_it_says(case_id: str) -> None:
    problem = ConvProblem.from_case_id(case_id)
    assert vars(request_of(frame(Prepare(problem=problem, operands={"x": X}))))["problem"] == problem


def test_every_request_has_a_reply_type() -> None:
    assert {request.reply_type() for request in REQUESTS.values()} < set(Reply.__args__)


def test_outputs_keep_their_order_dtype_and_bits() -> None:
    outputs = [X, X.astype(ml_dtypes.bfloat16)[..., ::-1], "str", np.empty((0, 2))]
    sent = Examined(answers=tuple(PhaseAnswer(str(i), o) for i, o in enumerate(outputs)), overwritten=None)
    request = Examine(problem=PROBLEM, operands={}, layout="contiguous", calls="few")
    received = reply_of(frame(sent), request)
    assert isinstance(received, Examined) and [a.phase for a in received.answers] == ["0", "1", "2", "3"]
    for answer, output in zip(received.answers, outputs, strict=True):
        assert np.array_equal(answer.output, output) and getattr(answer.output, "dtype", 0) == getattr(
            output, "dtype", 0
        )


WRONG: dict[str, tuple[Request[Any], str, dict[str, Any], str]] = {
    "another type": (WarmUp(limit_s=1), "WarmedUp", {"call_s": "1"}, r"Expected `float`, got `str`.*call_s"),
    "a missing field": (WarmUp(limit_s=1), "WarmedUp", {}, "missing required field `call_s`"),
    "another reply": (WarmUp(limit_s=1), "Sampled", {"call_s": 1.0}, "'Sampled' and no 'WarmedUp'"),
    "no status": (WarmUp(limit_s=1), "Failed", {"status": "fine", "reason": "x"}, "Invalid enum value 'fine'"),
    "no answers": (
        Examine(problem=PROBLEM, operands={}, layout="contiguous", calls="few"),
        "Examined",
        {"answers": [], "overwritten": None},
        "no answers",
    ),
    "deep inside": (
        Finish(energy_s=0),
        "Finished",
        {
            "inputs_changed": False,
            "output": 1,
            "peak_bytes": None,
            "steady_bytes": None,
            "backend_s": 0,
            "device": {"held_bytes": []},
        },
        "held_bytes",
    ),
}


@pytest.mark.parametrize(("request_", "name", "fields", "says"), WRONG.values(), ids=WRONG)
def test_a_reply_of_another_type_is_refused_with_the_field(
    request_: Request[Any], name: str, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ProtocolError, match=says):
        reply_of(Frame(name, fields), request_)


def test_the_same_reply_is_accepted_with_the_right_types() -> None:
    finished = Finished(
        inputs_changed=False, output=X, peak_bytes=1, steady_bytes=None, backend_s=0.0, device=DeviceMetrics(send_s=1.0)
    )
    received = reply_of(frame(finished), Finish(energy_s=0))
    assert isinstance(received, Finished) and received.device == finished.device


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$array", "$shared", "output", "call_s"]), inner, max_size=3)
    ),
)


@given(st.tuples(st.sampled_from(["WarmedUp", "Checked", "Failed"]), JSON) | JSON, st.binary(max_size=8))
def test_any_json_is_a_frame_or_refused(header: Any, rest: bytes) -> None:
    text = json.dumps(header).encode()
    with contextlib.suppress(ProtocolError, EOFError):
        received = read_frame(io.BytesIO(PREFIX.pack(MARK, 1, 1, len(text)) + text + rest))
        assert received is not None
        reply_of(received, WarmUp(limit_s=1))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_frame_or_refused(content: bytes) -> None:
    with contextlib.suppress(ProtocolError, EOFError):
        read_frame(io.BytesIO(content))


IMPOSTOR = """
import json, os, struct, sys, time
sys.path.insert(0, {folder!r})
from convbench.measurement.workers.protocol import read_frame, write_message
from convbench.measurement.workers.messages import Checked
def send(length, header, number=1):
    prefix = struct.pack("<4sIQI", b"\\xc0nv\\x02", os.getpid(), number, length)
    sys.stdout.buffer.write(prefix + header)
def send_json(header, number=1):
    text = json.dumps(header).encode()
    send(len(text), text, number)
read_frame(sys.stdin.buffer)
{act}
sys.stdout.buffer.flush()
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("act", "says"),
    [
        ("sys.stdout.buffer.write(b'hello, this is a library that prints')", "which no message begins with"),
        ("send(2, b'[[')", "a header that cannot be read"),
        ("send(2**31, b'')", "a header of 2,147,483,648 bytes"),
        ("send_json(['WarmedUp', ['call_s']])", "a header without a name and fields"),
        ("send_json(['WarmedUp', {'call_s': {'$array': ['float32', [2**50]]}}])", "4,503,599,627,370,496 bytes"),
        ("send_json(['WarmedUp', {'call_s': {'$array': ['float32', [-8]]}}])", "an array of shape [-8]"),
        ("send_json(['WarmedUp', {'call_s': {'$array': ['float32', [1.5]]}}])", "an array of shape [1.5]"),
        ("send_json(['WarmedUp', {'call_s': {'$array': ['object', [1]]}}])", "an array of dtype 'object'"),
        ("send_json(['WarmedUp', {'call_s': {'$array': 7}}])", "a header that cannot be read"),
        ("send_json(['WarmedUp', {'call_s': float('nan')}])", "NaN is no finite number"),
        ('send(40, b\'["WarmedUp", {"call_s": 1e999}]\'.ljust(40))', "1e999 is no finite number"),
        ("send_json(['WarmedUp', {'call_s': -1.0}])", "-1 seconds"),
        ("send_json(['WarmedUp', {'call_s': 1e9}])", "it says that 1e+09 s passed, where the run waited "),
        ("send_json(['Failed', {'status': 'ok', 'reason': ''}])", "a failure whose status is 'ok'"),
        ("send_json(['WarmedUp', {'call_s': 1e-9}], number=7)", "it answers request 7, and 1 was the last"),
        ("write_message(sys.stdout.buffer, Checked(prepare_s=0, call_s=0, output='x'), 1)", "'Checked' and no 'Warm"),
    ],
)
def test_a_worker_that_replies_nonsense_is_an_error_and_is_ended(
    act: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = discover([PLUGINS / "fakes.py"]).select(["right"])
    popen, code = subprocess.Popen, IMPOSTOR.format(folder=str(PLUGINS.parents[2]), act=act)
    monkeypatch.setattr(subprocess, "Popen", lambda words, **rest: popen([sys.executable, "-c", code], **rest))
    worker = WorkerProcess(entry, 1, "steady")
    worker.send(WarmUp(limit_s=1))
    with pytest.raises(WorkerError) as caught:
        worker.receive(WarmUp(limit_s=1), 30)
    assert caught.value.status is Status.ERROR
    assert "its worker's reply to 'warm_up' is invalid: " in caught.value.reason and says in caught.value.reason
    assert not worker.alive


def test_operands_are_sent_with_a_request() -> None:
    received = request_of(frame(Prepare(problem=PROBLEM, operands={"x": X})))
    assert isinstance(received, Prepare) and received.problem == PROBLEM and np.array_equal(received.operands["x"], X)
