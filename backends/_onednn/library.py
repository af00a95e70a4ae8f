"""oneDNN's C library through ctypes: loading it, its objects, and what a convolution needs."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convbench.problem import ConvProblem

# Constants of oneapi/dnnl/dnnl_types.h, which are the same in all of oneDNN 3.
DTYPE = {"float16": 1, "bfloat16": 2, "float32": 3}
_NUMBER = DTYPE | {"int32": 4, "int8": 5, "uint8": 6}
SRC, DST, WEIGHTS, BIAS = 1, 17, 33, 41  # arguments of a primitive
_CPU = _IN_ORDER = _ANY = 1
_LAYOUT_OF_ARGUMENT, _IMPLEMENTATION = 255, 8  # queries in dnnl_types.h
_ALLOCATE = -1
# dnnl_cpu_isa_t: the bits of a set contain those of the sets before it.
_ISA = {0x7: "AVX2", 0x27: "AVX512_CORE", 0x67: "AVX512_CORE_VNNI", 0xE7: "AVX512_CORE_BF16", 0xFEF: "AVX512_CORE_AMX"}
_STATUS = ("success", "out of memory", "invalid arguments", "unimplemented", "last implementation", "runtime error")


class RefusedError(Exception):
    """oneDNN refused a call, with this answer."""


class Owned:
    """A oneDNN object, destroyed with this one."""

    def __init__(self, noun: str, create: str, *arguments: Any) -> None:
        self._as_parameter_ = ctypes.c_void_p()
        self._destroy = getattr(library(), f"dnnl_{noun}_destroy")
        check(getattr(library(), create)(ctypes.byref(self._as_parameter_), *arguments))

    def __del__(self) -> None:
        self._destroy(self._as_parameter_)


class Memory(Owned):
    """Memory of a layout, allocated by oneDNN or at an address."""

    def __init__(self, layout: Owned, address: int = _ALLOCATE) -> None:
        self.layout = layout
        super().__init__("memory", "dnnl_memory_create", layout, engine(), ctypes.c_void_p(address))


class _Argument(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("memory", ctypes.c_void_p))


def any_layout(shape: Sequence[int], dtype: str) -> Owned:
    """`shape` in a layout that oneDNN chooses."""
    dims = (len(shape), integers(*shape), _NUMBER[dtype])
    return Owned("memory_desc", "dnnl_memory_desc_create_with_tag", *dims, _ANY)


def row_major_layout(shape: Sequence[int], dtype: str) -> Owned:
    """`shape`, contiguous in C order."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, size * strides[0])
    dims = (len(shape), integers(*shape), _NUMBER[dtype], integers(*strides))
    return Owned("memory_desc", "dnnl_memory_desc_create_with_strides", *dims)


def row_major(shape: Sequence[int], dtype: str, address: int) -> Memory:
    """Memory at `address`, contiguous in C order."""
    return Memory(row_major_layout(shape, dtype), address)


def chosen_memory(description: Owned, argument: int) -> Memory:
    """New memory for an argument, in the layout that oneDNN chose for it."""
    layout = library().dnnl_primitive_desc_query_md(description, _LAYOUT_OF_ARGUMENT, argument)
    return Memory(Owned("memory_desc", "dnnl_memory_desc_clone", ctypes.c_void_p(layout)))


def implementation(description: Owned) -> str:
    """oneDNN's name of the kernel that it chose, such as "jit:avx512_core"."""
    name = ctypes.c_char_p()
    check(library().dnnl_primitive_desc_query(description, _IMPLEMENTATION, 0, ctypes.byref(name)))
    return (name.value or b"unknown").decode()


def effective_isa() -> str | None:
    """The widest instruction set that oneDNN uses here, by its own name; None for those narrower than AVX2."""
    bits = library().dnnl_get_effective_cpu_isa()
    return next((name for isa, name in reversed(_ISA.items()) if isa & bits == isa), None)


def check(status: int) -> None:
    """Raise `RefusedError` for a status other than success."""
    if status:
        raise RefusedError(_STATUS[status] if status < len(_STATUS) else f"status {status}")


def reorder(source: Memory, target: Memory) -> None:
    """Copy from one layout to another."""
    reordering(source, target)()


def reordering(source: Memory, target: Memory) -> Callable[[], None]:
    """A call that copies from one layout to another."""
    ends = (source.layout, engine(), target.layout, engine())
    description = Owned("primitive_desc", "dnnl_reorder_primitive_desc_create", *ends, None)
    return execution(description, {SRC: source, DST: target})


def execution(description: Owned, memory: Mapping[int, Memory]) -> Callable[[], None]:
    """A call that computes what `description` says, and waits for it."""
    primitive, stream = Owned("primitive", "dnnl_primitive_create", description), _stream()
    arguments = (_Argument * len(memory))(*(_Argument(number, part._as_parameter_) for number, part in memory.items()))
    execute, wait = library().dnnl_primitive_execute, library().dnnl_stream_wait

    def run() -> None:
        check(execute(primitive, stream, len(memory), arguments) or wait(stream))  # this also keeps the memory alive

    return run


def convolution_sizes(problem: ConvProblem) -> tuple[Any, Any, Any, Any]:
    """Strides, holes between taps, and the padding before and after, as every convolution of oneDNN takes them."""
    (top, bottom), (left, right) = problem.padding
    holes = [rate - 1 for rate in problem.dilation]
    return integers(*problem.stride), integers(*holes), integers(top, left), integers(bottom, right)


def integers(*values: int) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


def folder() -> Path:
    """The folder of the library and of those that it needs. Raises `PackageNotFoundError` if it is not installed."""
    return _installed("onednn", "libdnnl.so.3").parent


def foreign_tbb() -> str | None:
    """A libtbb that another library loaded into this process, and that would replace oneDNN's newer one."""
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libtbb.so.12" in line}
    return None if any(Path(path).parent == folder() for path in mapped) else min(mapped, default=None)


def limit_tbb(n: int) -> None:
    """Have TBB count `n` cores. It counts, once, those that it may run on; oneDNN plans for as many threads.

    A tbb::global_control would bound the threads and not the plan; DPCPP_CPU_NUM_CUS bounds nothing here.
    """
    tbb = _load(folder() / "libtbb.so.12")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:n])
    tbb._ZN3tbb6detail2r115max_concurrencyEPKNS0_2d115task_arena_baseE(None)  # tbb::this_task_arena's
    os.sched_setaffinity(0, cores)


@cache
def library() -> ctypes.CDLL:
    # The wheel is built on SYCL, which finds the CPU through OpenCL, which finds its driver by this variable.
    os.environ.setdefault("OCL_ICD_FILENAMES", str(_installed("intel-opencl-rt", "libintelocl.so")))
    loaded = _load(folder() / "libdnnl.so.3")
    loaded.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
    return loaded


@cache
def engine() -> Owned:
    try:
        return Owned("engine", "dnnl_engine_create", _CPU, ctypes.c_size_t(0))
    except RefusedError as refusal:
        raise RuntimeError(f"oneDNN finds no CPU through SYCL and OpenCL: {refusal}") from refusal


@cache
def _stream() -> Owned:
    return Owned("stream", "dnnl_stream_create", engine(), _IN_ORDER)


@cache
def _installed(distribution: str, name: str) -> Path:
    """A file of an installed distribution, from its list of files."""
    for file in importlib.metadata.files(distribution) or ():
        if file.name == name:
            return Path(str(file.locate())).resolve()
    raise importlib.metadata.PackageNotFoundError(distribution)


def _load(path: Path) -> ctypes.CDLL:
    """A library, loaded after those beside it that it needs, because it refers to them by name only."""
    while True:
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            missing = path.with_name(str(error).partition(":")[0])
            if missing == path or not missing.is_file():
                raise
            _load(missing)
