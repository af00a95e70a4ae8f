"""conv2d of IREE: a StableHLO module in NHWC, compiled by LLVM for this CPU."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from convbench.backend import WITH_STEP, Arithmetic, Backend, Ready, touching
from convbench.problem import ACTIVATIONS, RESIDUALS, ConvProblem, Scales

from . import _int8_correction
from ._fusion import implementation_with, parts_of
from ._issue_forms import IREE
from ._stablehlo import convolution, gradients

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

_CPU = "CONVBENCH_IREE_TARGET_CPU"  # the compiler takes flags only
_FLAGS = (
    f"--iree-llvmcpu-target-cpu={os.environ.get(_CPU, 'host')}",
    "--iree-opt-level=O3",
    "--iree-input-demote-f64-to-f32=false",  # otherwise IREE computes float64 in float32
)


_ISA_SWITCHES = {
    "avx2": {_CPU: "haswell"},
    "avx512": {_CPU: "skylake-avx512"},
    "vnni": {_CPU: "cascadelake"},
    "bf16": {_CPU: "cooperlake"},
    "amx": {_CPU: "sapphirerapids"},
}


class Iree(Backend):
    name = "iree"
    requires = ("iree.compiler", "iree.runtime")
    issue_form = IREE
    install = "'convbench[iree]'"
    summary = "IREE: stablehlo.convolution in NHWC, compiled for this CPU"
    supports = replace(
        WITH_STEP, activations=set(ACTIVATIONS), residuals=set(RESIDUALS), quantized=_int8_correction.SUPPORT
    )
    arithmetic = Arithmetic("direct", quantized=_int8_correction.ARITHMETIC)
    prepacks = ("input", "weight", "output")
    threads = 1
    isa_switches = _ISA_SWITCHES

    def limit_threads(self, n: int) -> None:
        self.threads = n

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self.prepare_fused(problem, x, w, b, None)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        arrays = [x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)] + ([] if b is None else [b])
        arrays += [] if r is None else [r.transpose(0, 2, 3, 1)]
        return self._ready(problem, arrays, [0] if r is None else [0, -1])

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        from ._stablehlo import quantized

        assert problem.quantization is not None
        ready = self._ready(problem, quantized.operands(problem, x, w, b, scales), [0])
        result = problem.quantization.dtypes["y"]
        return replace(ready, to_numpy=lambda y: _to_numpy(y, _ORDER["forward"]).view(result))

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        arrays = [g.transpose(0, 2, 3, 1)]
        if w is not None:
            arrays.append(gradients.turned(problem, w))
        elif x is not None:
            arrays.append(x.transpose(0, 2, 3, 1))
        return self._ready(problem, arrays, [0])

    def _ready(self, problem: ConvProblem, arrays: list[np.ndarray], images: list[int]) -> Ready:
        """The arrays are those of the module, of which the `images` are what the layer before has written."""
        import numpy as np
        from iree import runtime

        compute, device = _compiled(problem, self.threads)
        operands = [runtime.asdevicearray(device, np.array(a, order="C")) for a in arrays]
        touch = touching(*(operands[image].to_host() for image in images))  # on the CPU that is the memory itself
        explain, order = lambda: _explained(problem), _ORDER[problem.direction]
        return Ready(lambda: compute(*operands), to_numpy=lambda y: _to_numpy(y, order), touch=touch, explain=explain)

    def script(self, problem: ConvProblem) -> str | None:
        arrays = ["x.transpose(0, 2, 3, 1)", "w.transpose(2, 3, 1, 0)"] + (["b"] if problem.bias else [])
        arrays += ["r.transpose(0, 2, 3, 1)"] if "r" in problem.operand_shapes else []
        return _program(problem, convolution.lines(problem), arrays)

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self.script(problem)

    def gradient_script(self, problem: ConvProblem) -> str | None:
        other = {
            "input_gradient": [gradients.turned_code(problem)],
            "weight_gradient": ["x.transpose(0, 2, 3, 1)"],
            "bias_gradient": [],
        }
        arrays = ["g.transpose(0, 2, 3, 1)", *other[problem.direction]]
        return _program(problem, gradients.lines(problem), arrays)


def _program(problem: ConvProblem, module: Iterable[str], arrays: list[str]) -> str:
    return _SCRIPT.format(
        module=",\n".join(f"    {line!r}" for part in module for line in part.splitlines()),
        flags=_FLAGS,
        arrays=", ".join(arrays),
        order=_ORDER[problem.direction],
    )


_SCRIPT = """\
from iree import compiler, runtime
text = "\\n".join([
{module},
])
flags = {flags}
code = compiler.compile_str(text, input_type="stablehlo", target_backends=["llvm-cpu"], extra_args=flags)
config = runtime.Config("local-sync")
module = runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, code), config)
operands = [runtime.asdevicearray(config.device, np.array(a, order="C")) for a in [{arrays}]]
def convolve():
    y = module["conv2d"](*operands)  # to_host gives memory that goes with it
    return y.to_host().transpose{order}.copy()
out = convolve()"""


# From NHWC and HWIO to the problem's.
_ORDER = {
    "forward": (0, 3, 1, 2),
    "input_gradient": (0, 3, 1, 2),
    "weight_gradient": (3, 2, 0, 1),
    "bias_gradient": (0,),
}


def _to_numpy(output: Any, order: tuple[int, ...]) -> np.ndarray:
    return output.to_host().transpose(order).copy()  # a copy, because the memory of to_host goes with `output`


def _module(problem: ConvProblem) -> str:
    from ._stablehlo import convolution as stablehlo
    from ._stablehlo import quantized as stablehlo_quantized

    if problem.quantization is not None:
        return "\n".join(stablehlo_quantized.lines(problem))
    return "\n".join((stablehlo if problem.direction == "forward" else gradients).lines(problem))


@lru_cache(maxsize=256)
def _compiled(problem: ConvProblem, threads: int) -> tuple[Any, Any]:
    """The function and its device. The weight is an argument, so preparing the problem again compiles nothing."""
    from iree import compiler, runtime

    code = compiler.compile_str(
        _module(problem), input_type="stablehlo", target_backends=["llvm-cpu"], extra_args=_FLAGS
    )
    config = _config(threads)
    module = runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, code), config)
    return module["conv2d"], config.device


def _configurations(problem: ConvProblem) -> str:
    """The module as IREE has it once it has chosen how to generate the code of each executable."""
    from iree import compiler

    flags = (*_FLAGS, "--compile-to=executable-configurations")
    module = compiler.compile_str(
        _module(problem), input_type="stablehlo", target_backends=["llvm-cpu"], extra_args=flags
    )
    return str(module.decode(errors="replace"))


def _explained(problem: ConvProblem) -> str | None:
    """`pipeline_in`; an epilogue is fused where no executable but that of the convolution computes anything."""
    module = _configurations(problem)
    pipeline = pipeline_in(module)
    if problem.epilogue is None:
        return pipeline
    computing = {name for name in _DISPATCH.findall(module) if not name.endswith("_slow_memcpy")}
    return implementation_with(pipeline, problem, parts_of(problem.epilogue) if len(computing) == 1 else ())


_DISPATCH = re.compile(r"func\.func @(\w+_dispatch_\w+)\(")
_FUNCTION = re.compile(
    r"func\.func @\w+_dispatch_\d+_"
    r"(conv|depthwise_conv|mmt4d|(?:batch_)?(?:matmul|matvec|vecmat)(?:_like)?|reduction|generic)_\w+\(\).*?"
    r"pipeline = (?:#iree_cpu\.pipeline<)?(\w{1,40})"
)


def pipeline_in(module: str) -> str | None:
    """The operation of the only executable that convolves, and the pipeline that generates its code, such as "conv
    ConvTileAndDecomposeExpert"."""
    named = [match.groups() for line in module.splitlines() if (match := _FUNCTION.search(line))]
    exact = [each for each in named if each[0] != "generic"] or named
    return " ".join(exact[0]) if len(exact) == 1 else None


@lru_cache(maxsize=1)
def _config(threads: int) -> Any:
    from iree import runtime

    if threads == 1:
        return runtime.Config("local-sync")  # computes in the calling thread
    runtime.flags.parse_flags(f"--task_topology_group_count={threads}")
    return runtime.Config("local-task")


BACKENDS = (Iree(),)
