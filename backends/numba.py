"""numba-direct: a register-tiled direct convolution, compiled by Numba and its LLVM for this CPU.

`_numba/vectors.py` has the register tile in machine code, `_numba/plan.py` turns a problem into tables,
`_numba/kernel.py` computes by them, and `_numba/tasks.py` hands its tasks to all threads. A call has two steps: pad
into a scratch image, then convolve that.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from convbench.backend import WITH_EPILOGUES, Arithmetic, Backend, Ready, touching

from ._fusion import implementation_with, parts_of
from ._issue_forms import NUMBA
from ._numba import gradients, quantized
from ._numpy.fused import WITHOUT_ERF

if TYPE_CHECKING:
    import numpy as np

    from convbench.problem import ConvProblem, Epilogue, Scales

    from ._numba.plan import Register, Scratch
    from ._numba.tasks import Job

_AVX2 = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe"
_AVX512 = f"{_AVX2},+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd"

_ISA_SWITCHES = {
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": _AVX2},
    "avx512": {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": _AVX512},
    "vnni": {"NUMBA_CPU_NAME": "cascadelake", "NUMBA_CPU_FEATURES": f"{_AVX512},+avx512vnni"},
}


# A Ready has one scratch image, and only one thread at a time may enter some of Numba's threading layers.
_one_at_a_time = threading.Lock()


class NumbaDirect(Backend):
    name = "numba-direct"
    requires = ("numba",)
    issue_form = NUMBA
    summary = "register-tiled direct convolution, compiled by Numba; weights packed beforehand"
    supports = replace(WITH_EPILOGUES, activations=WITHOUT_ERF, quantized=quantized.SUPPORT)
    thread_safe = True
    # The call converts half formats to float32, sums in float32, and rounds once at the end.
    arithmetic = Arithmetic("direct", quantized=quantized.ARITHMETIC)
    prepacks = ("weight",)
    isa_switches = _ISA_SWITCHES
    without_isa_switch = "it computes in float32, float64 and pairs of int16, for which there is nothing beyond VNNI"

    def __init__(self, vector_bytes: int | None = None) -> None:
        """`vector_bytes` is the size of vectors to compile for: 16, 32, 64, or None for the CPU's registers."""
        self.vector_bytes = vector_bytes

    def isa_in_use(self) -> str | None:
        """By the registers in machine code that Numba compiles."""
        import numba
        import numpy as np

        @numba.njit(fastmath=True)
        def total(x: np.ndarray) -> np.floating:
            result = np.float32(0)
            for value in x:
                result += value
            return result

        total(np.ones(1, np.float32))
        return next((register for register in ("zmm", "ymm") if register in str(total.inspect_asm())), None)

    def limit_threads(self, n: int) -> None:
        if "numba" not in sys.modules:
            os.environ["NUMBA_NUM_THREADS"] = str(n)
            return
        import numba

        # Numba cannot have more threads than it was imported with.
        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self.prepare_fused(problem, x, w, b, None)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        import numpy as np

        from ._numba import plan

        dtype = np.dtype("float64" if problem.dtype == "float64" else "float32")
        register = register_tile(dtype.itemsize, self.vector_bytes)
        scratch = plan.Scratch.of(problem)
        by_pixels = plan.pixels_fit_better(scratch, register)
        bias = np.zeros(problem.out_channels, dtype) if b is None else np.ascontiguousarray(b, dtype)
        convolve = _convolution(scratch, register, by_pixels, w.astype(dtype), bias, problem.epilogue)
        x, residual = np.ascontiguousarray(x), [] if r is None else [np.ascontiguousarray(r)]
        # Pixels in the lanes are read up to a tile beyond the image; what that gives is not stored.
        use_input = scratch.is_input and not by_pixels
        size = 0 if use_input else problem.batch * problem.in_channels * scratch.channel + register.columns
        padded = np.zeros(size, dtype)
        pad = _padding(scratch, register, padded)

        def on(x: np.ndarray, r: np.ndarray | None = None) -> np.ndarray:
            with _one_at_a_time:
                image = x.astype(dtype, copy=False)
                added = {} if r is None else {"residual": r.astype(dtype, copy=False)}
                if not use_input:
                    pad.point(x=image)
                    pad.run()
                out = plan.aligned_empty(problem.output_shape, dtype)
                convolve.point(x=image if use_input else padded, out=out, **added)
                convolve.run()
            return out.astype(x.dtype, copy=False)

        lanes = f"direct {'pixels' if by_pixels else 'channels'} {register.lanes} lanes"
        kernel = implementation_with(lanes, problem, () if problem.epilogue is None else parts_of(problem.epilogue))
        return Ready(lambda: on(x, *residual), on={"numpy": on}, touch=touching(x, *residual), explain=lambda: kernel)

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        register = register_tile(4, self.vector_bytes)
        return quantized.prepared(problem, x, w, b, scales, register, _convolution, _one_at_a_time)

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        import numpy as np

        dtype = np.dtype("float64" if problem.dtype == "float64" else "float32")
        if x is not None:
            register = register_tile(dtype.itemsize, self.vector_bytes)
            return gradients.weight_gradient(problem, g, x, dtype, register, _padding, _one_at_a_time)
        if w is None:
            return gradients.bias_gradient(problem, g, dtype, _one_at_a_time)
        back = gradients.back_problem(problem, dtype.name)
        ready = self.prepare(back, np.zeros(back.input_shape, dtype), gradients.turned_weight(problem, w), None)
        run = gradients.by_convolution(problem, g, dtype, ready.on["numpy"])
        return Ready(run, touch=touching(np.ascontiguousarray(g)), explain=ready.explain)


def register_tile(itemsize: int, vector_bytes: int | None) -> Register:
    """The register tile for the CPU that Numba compiles for, or for vectors of `vector_bytes`."""
    from ._numba.plan import Register
    from ._numba.vectors import VECTORS, cpu_vector_registers

    registers, cpu_bytes = cpu_vector_registers()
    if vector_bytes is not None:
        registers, cpu_bytes = (32 if vector_bytes == 64 else 16), vector_bytes
    # VECTORS registers hold operands, one or two hold the scalar, and all others hold sums.
    return Register(cpu_bytes // itemsize, VECTORS, 14 if registers == 32 else 6)


def _convolution(
    scratch: Scratch,
    register: Register,
    by_pixels: bool,
    w: np.ndarray,
    bias: np.ndarray,
    epilogue: Epilogue | None = None,
) -> Job:
    """The second step. `Job.point` gives it its image `x`, its output `out` and perhaps its `residual`."""
    import numba
    import numpy as np

    from ._numba import kernel, plan
    from ._numba.epilogue import ended_code
    from ._numba.tasks import Job

    threads, most_threads = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    tables = {"taps_table": scratch.taps()}
    if by_pixels:
        extents = plan.plan_pixels(scratch, register, w.itemsize, threads)
        task_of = kernel.pixels_task
    else:
        # Zeros of the padding can be skipped, unless a weight turns them into NaN.
        tiles = plan.Tiles.of(scratch, register, skip_zeros=bool(np.isfinite(w).all()))
        tables |= tiles._asdict()
        extents = plan.plan_channels(scratch, register, tiles, w.itemsize, threads)
        task_of = kernel.channels_task
    ends, code = epilogue is not None, None
    if epilogue is not None:
        code = ended_code(w.dtype.name, register.lanes, epilogue)
        extents = extents._replace(end_square=code.square, end_row=code.row)
    task = task_of(w.dtype.name, register.lanes, register.max_height, ends)
    packed = plan.packed_weights(w, extents)
    sums = plan.aligned_empty((most_threads, extents.sums_size), w.dtype)
    return Job(task, extents, code, **tables, weights=packed, bias=bias, sums=sums)


def _padding(scratch: Scratch, register: Register, padded: np.ndarray) -> Job:
    """The first step. `Job.point` gives it its input `x`."""
    import numba
    import numpy as np

    from ._numba import kernel
    from ._numba.tasks import Job

    margins = scratch.margins(numba.get_num_threads())
    return Job(
        kernel.pad_task(padded.dtype.name, register.lanes, register.max_height),
        margins,
        row_sources=np.ascontiguousarray(scratch.rows.source),
        column_sources=np.ascontiguousarray(scratch.columns.source),
        row_runs=scratch.rows.runs(margins.row_step),
        column_runs=scratch.columns.runs(margins.column_step),
        zeros=np.zeros(margins.columns, padded.dtype),
        padded=padded,
    )


BACKENDS = (NumbaDirect(),)
