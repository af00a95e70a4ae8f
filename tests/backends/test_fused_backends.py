"""Epilogues of the backends that are installed: right, whole, with further inputs, and known to be fused or apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from convbench.backends import _fusion, _hlo, litert, onnxruntime, openvino
from convbench.backends._onednn import log as onednn_log

from convbench.backend import Backend, Ready, Supports
from convbench.problem import ConvProblem, Epilogue
from convbench.problem.epilogue import EPILOGUES
from convbench.registry import discover
from convbench.verification.operands import normal_operands
from convbench.verification.oracle import oracle_for
from convbench.verification.question import Question

LAYER = ConvProblem(in_channels=8, height=7, width=6, out_channels=5, kernel_size=3, padding=1, bias=True)
_SLOW = {"iree", "jax-nhwc", "scipy-direct", "scipy-fft", "numpy-loop", "tensorflow", "torch-native", "torch-compile"}
_SLOWEST = {"torch-compile"}  # which calls a C++ compiler for each
FUSING = {
    entry.name: entry.backend
    for entry in discover(())
    if entry.backend.supports.activations and entry.backend.unavailable() is None and entry.backend.device == "cpu"
}
SOME = [Epilogue.parse(text) for text in ("relu", "add_relu6", "leaky0.25_add", "add_hswish")]
CASES = [
    (name, epilogue)
    for name, backend in FUSING.items()
    for epilogue in (SOME[1:2] if name in _SLOWEST else SOME if name in _SLOW else EPILOGUES)
    if backend.supports.dtypes and backend.unsupported(LAYER.replace(epilogue=epilogue)) is None
    and not (name == "tensorflow" and str(epilogue) == "add_leaky0.25")
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    for backend in FUSING.values():
        if backend.limits_itself_alone:
            backend.limit_threads(1)


@pytest.mark.parametrize(("name", "epilogue"), CASES, ids=lambda value: str(value))
def test_a_backend_computes_its_epilogues(name: str, epilogue: Epilogue) -> None:
    backend, problem = FUSING[name], LAYER.replace(epilogue=epilogue)
    for values in ("integers", "normal"):
        key = oracle_for(Question(problem=problem, values=values), backend.arithmetic)  # type: ignore[arg-type]
        before = key.operands.map(np.copy)
        ready = key.operands.prepared_by(backend, problem)
        for _ in range(2):  # a sum in place would show in the second call
            output = ready.run()
            ready.sync()
            verdict = key.judge(backend.arithmetic, np.array(ready.to_numpy(output)))
            assert verdict.passed, verdict.reason
        unchanged = zip(key.operands.named().values(), before.named().values(), strict=True)
        assert all(np.array_equal(now, then) for now, then in unchanged)


@pytest.mark.parametrize("name", [name for name in FUSING if name not in _SLOW])
def test_a_residual_is_given_in_the_call(name: str) -> None:
    backend, problem = FUSING[name], LAYER.replace(epilogue="add_relu")
    if not backend.supports.dtypes:
        return
    first, second = normal_operands(problem, 0), normal_operands(problem, 1)
    ready = first.prepared_by(backend, problem)
    if "numpy" not in ready.on:
        return
    given = oracle_for(Question(problem=problem, values="normal"), backend.arithmetic)
    given = type(given)(problem, type(first)(x=second.x, w=first.w, b=first.b, r=second.r), "normal")
    assert given.judge(backend.arithmetic, np.array(ready.on["numpy"](second.x, second.r))).passed


def test_what_was_fused_is_said() -> None:
    for name, words in {"torch": "apart", "torch-inplace": "apart", "torch-packed": "fused"}.items():
        if name in FUSING and FUSING[name].unsupported(LAYER.replace(epilogue="add_relu")) is None:
            problem = LAYER.replace(in_channels=16, out_channels=16, epilogue="add_relu")
            ready = normal_operands(problem, 0).prepared_by(FUSING[name], problem)
            said = ready.explain() if ready.explain else None
            assert said is None or said.endswith(words), (name, said)


def test_parts_stand_in_their_order() -> None:
    spelled = {text: _fusion.parts_of(Epilogue.parse(text)) for text in ("add_relu", "relu_add", "silu", "add")}
    assert spelled == {"add_relu": ("add", "relu"), "relu_add": ("relu", "add"), "silu": ("silu",), "add": ("add",)}
    problem = LAYER.replace(epilogue="add_relu")
    assert _fusion.implementation_with("k", problem, ("add", "relu")) == "k, fused"
    assert _fusion.implementation_with("k", problem, ("add",)) == "k, relu apart"
    assert _fusion.implementation_with("k", problem, ()) == "k, add and relu apart"
    assert _fusion.implementation_with(None, problem, ()) is None
    assert _fusion.implementation_with("k", LAYER, ()) == "k"


@pytest.mark.parametrize(
    ("attributes", "parts"),
    [
        ("attr-scratchpad:user attr-post-ops:sum+eltwise_relu", {"add", "relu", "leaky_relu"}),
        ("attr-post-ops:eltwise_clip:0:6+binary_add:f32", {"add", "relu6", "clip"}),
        ("attr-post-ops:eltwise_gelu_erf", {"gelu"}),
        ("attr-scratchpad:user", set()),
    ],
)
def test_onednns_post_ops_are_read(attributes: str, parts: set[str]) -> None:
    line = "onednn_verbose,v1,primitive,exec,cpu,convolution,brg_conv_fwd:avx512_core,forward_inference,src:f32"
    assert onednn_log.fused_in(f"{line},{attributes},alg:convolution_direct,mb1,0.1") == parts
    assert onednn_log.fused_in(f"onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src,{attributes}") == set()


def test_nodes_that_are_left_are_apart() -> None:
    problem = LAYER.replace(epilogue="add_relu")
    conv = ("com.microsoft.nchwc", "Conv")
    assert onnxruntime.fused_kernel_in([conv], problem) == "NchwcConv, fused"
    assert onnxruntime.fused_kernel_in([conv, ("", "Add"), ("", "Relu")], problem) == "NchwcConv, add and relu apart"
    graph = [("Convolution", "brgconv_avx512_f32")]
    assert openvino.fused_kernel_in(graph, {"conv", "add", "y"}, problem) == "brgconv_avx512_f32, fused"
    assert openvino.fused_kernel_in(graph, {"conv"}, problem) == "brgconv_avx512_f32, add and relu apart"
    operators = [
        {"op_name": "CONV_2D", "inputs": [0, 1, 2], "outputs": [3]},
        {"op_name": "ADD", "inputs": [3, 4], "outputs": [5]},
        {"op_name": "DELEGATE", "inputs": [0, 1, 2, 4], "outputs": [5]},
    ]
    assert litert.kernel_in(operators) == "xnnpack conv_2d"


@pytest.mark.parametrize("epilogue", ["add", "add_relu", "relu_add"])
def test_openvino_moves_no_sum_in_channels_last(epilogue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transposition that is left in the graph takes ten times as long as the convolution."""
    if "openvino-channels-last" not in FUSING:
        pytest.skip("openvino is not installed: pip install 'convbench[openvino]'")
    executed: list[str] = []
    graph_of = openvino._executed_graph

    def noted(compiled: Any) -> list[tuple[str, str]]:
        executed.extend(operation for operation, _ in graph_of(compiled))
        return graph_of(compiled)

    monkeypatch.setattr(openvino, "_executed_graph", noted)
    problem = LAYER.replace(epilogue=epilogue, in_channels=16, out_channels=16)
    ready = normal_operands(problem, 0).prepared_by(FUSING["openvino-channels-last"], problem)
    assert ready.explain and ready.explain()
    assert "Convolution" in executed and "Transpose" not in executed


_HLO = """HloModule m

%conv (p0: f32[1,3], p1: f32[3]) -> f32[1,3] {{
  %p0 = f32[1,3]{{1,0}} parameter(0)
  %c.1 = f32[1,3]{{1,0}} convolution(%p0, %p0), window={{}}
  ROOT %r = f32[1,3]{{1,0}} maximum(%c.1, %c.1)
}}

%after (p0: f32[1,3]) -> f32[1,3] {{
  %p0.1 = f32[1,3]{{1,0}} parameter(0)
  ROOT %m = f32[1,3]{{1,0}} maximum(%p0.1, %p0.1)
}}

ENTRY %main (x: f32[1,3]) -> f32[1,3] {{
  %x = f32[1,3]{{1,0}} parameter(0)
  {first}
  {last}
}}
"""


def test_an_instruction_after_the_convolution_is_apart() -> None:
    problem = LAYER.replace(epilogue="relu")
    fusion = "%f = f32[1,3]{1,0} fusion(%x), kind=kLoop, calls=%conv"
    fused = _HLO.format(first="", last=f"ROOT {fusion}")
    apart = _HLO.format(first=fusion, last="ROOT %g = f32[1,3]{1,0} fusion(%f), kind=kLoop, calls=%after")
    assert (_hlo.implementation_in(fused, problem) or "").endswith(", fused")
    assert (_hlo.implementation_in(apart, problem) or "").endswith(", relu apart")
    assert "apart" not in (_hlo.implementation_in(apart) or "")


def test_a_backend_that_declares_epilogues_and_has_no_method_says_so() -> None:
    class Promising(Backend):
        name = "promising"
        supports = Supports(activations={"relu"})

        def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
            raise AssertionError("it is asked for the fused one")

    problem = LAYER.replace(epilogue="relu")
    with pytest.raises(NotImplementedError, match="has no prepare_fused"):
        normal_operands(problem, 0).prepared_by(Promising(), problem)
