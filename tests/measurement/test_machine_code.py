"""The machine code that ceilings are measured by: it is what its text says, and it computes what it says."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import CHECKOUT

from convbench.measurement.ceilings import aarch64, x86_64
from convbench.measurement.ceilings.floating_point import multiply_adds
from convbench.measurement.ceilings.instruction_sets import (
    FURTHER,
    NARROW,
    InstructionSet,
    MultiplyAdd,
    further_multiply_adds,
    instruction_sets,
    without_a_loop,
)
from convbench.measurement.ceilings.machine_code import (
    ADDITIONS,
    FORBIDDEN,
    UNROLLED,
    Listing,
    RefusedError,
    callable_code,
    permit_tiles,
)
from convbench.measurement.ceilings.products import Product
from convbench.measurement.ceilings.side_by_side import WrongResultError
from convbench.measurement.ceilings.x86_64 import ADD, LOAD, MULTIPLY_ADD, STORE, Memory, vector
from convbench.measurement.machine.facts import cpu_flags

HERE = instruction_sets(platform.machine(), cpu_flags())
needs_machine_code = pytest.mark.skipif(not HERE, reason="no machine code for this CPU")
here = pytest.mark.parametrize("isa", HERE, ids=lambda isa: isa.name)
LOOPS_HERE = [loop for isa in HERE for loop in isa.multiply_adds] + further_multiply_adds(
    platform.machine(), cpu_flags()
)
FURTHER_X86 = {loop.key: loop for machines, _, loop in FURTHER if "x86_64" in machines}
FURTHER_ARM = {loop.key: loop for machines, _, loop in FURTHER if "aarch64" in machines}

X86 = {
    **{f"{dtype}, 64 bytes": x86_64.multiply_add_loop(dtype, 64) for dtype in MULTIPLY_ADD},
    **{key: loop.listing() for key, loop in FURTHER_X86.items()},
    **{f"{dtype}, 32 bytes": x86_64.multiply_add_loop(dtype, 32) for dtype in ("float32", "float64")},
    **{f"read, {size} bytes": x86_64.read_loop(size) for size in (32, 64)},
    **{f"triad, {size} bytes": x86_64.triad_loop(size) for size in (32, 64)},
    "count": x86_64.count_loop(),
}
ARM = {
    **{dtype: aarch64.multiply_add_loop(dtype, 16) for dtype in ("float32", "float64")},
    **{key: loop.listing() for key, loop in FURTHER_ARM.items()},
    "read": aarch64.read_loop(16),
    "triad": aarch64.triad_loop(16),
    "count": aarch64.count_loop(),
}


# --- the bytes are what the text says ---------------------------------------------------------------------------------


def assembled_by_llvmlite(text: str) -> bytes:
    """x86-64, by the LLVM that Numba brings. It assembles for the machine it runs on alone."""
    llvm = pytest.importorskip("llvmlite.binding")
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("llvmlite assembles x86-64 on x86-64")
    for initialize in ("target", "asmprinter", "asmparser"):
        getattr(llvm, f"initialize_native_{initialize}")()
    triple = "x86_64-unknown-linux-gnu"
    lines = "\\0A".join([".intel_syntax noprefix", *text.splitlines()])
    module = llvm.parse_assembly(f'target triple = "{triple}"\nmodule asm "{lines}"\n')
    machine = llvm.Target.from_triple(triple).create_target_machine()
    sections = llvm.ObjectFileRef.from_data(machine.emit_object(module)).sections()
    return bytes(next(section.data() for section in sections if section.is_text()))


def object_by_llvm_mc(text: str, to: Path) -> bytes:
    """An object file for AArch64, by LLVM's own assembler where it is installed."""
    if shutil.which("llvm-mc") is None:
        pytest.skip("llvm-mc is not installed")
    extensions = "+fullfp16,+dotprod,+bf16,+i8mm"
    command = ["llvm-mc", "-triple=aarch64", f"-mattr={extensions}", "-filetype=obj", "-o", str(to)]
    subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return to.read_bytes()


@pytest.mark.parametrize("loop", X86.values(), ids=X86)
def test_another_assembler_makes_the_same_of_the_text_for_x86_64(loop: Listing) -> None:
    assert assembled_by_llvmlite(loop.text) == loop.code


@pytest.mark.parametrize("loop", ARM.values(), ids=ARM)
def test_another_assembler_makes_the_same_of_the_text_for_aarch64(loop: Listing, tmp_path: Path) -> None:
    assert loop.code in object_by_llvm_mc(loop.text, tmp_path / "loop.o")


GENERAL = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()
places = st.builds(
    Memory,
    st.sampled_from(GENERAL),
    st.just(0)
    | st.integers(-300, 300)
    | st.integers(-(2**31), 2**31 - 1)
    | st.integers(-200, 200).map(lambda n: 64 * n),
    st.none() | st.sampled_from([name for name in GENERAL if name != "rsp"]),
)


@st.composite
def vector_instructions(draw: st.DrawFn) -> Any:
    size = draw(st.sampled_from([32, 64]))
    registers = st.integers(0, 31 if size == 64 else 15)
    operation = draw(st.sampled_from([LOAD, STORE, ADD, *MULTIPLY_ADD.values()]))
    if operation in (LOAD, STORE):
        return vector(operation, size, draw(registers), draw(places))
    if operation.evex_only:
        size = 64
    # Of the sources of an addition that are both registers an assembler may take either for the first.
    last = draw(places if operation is ADD else places | registers)
    return vector(operation, size, draw(registers), draw(registers), last)


@settings(max_examples=25)
@given(st.lists(vector_instructions(), min_size=1, max_size=40))
def test_another_assembler_agrees_on_every_register_and_address(instructions: list[Any]) -> None:
    text = "\n".join(instruction.text for instruction in instructions)
    assert assembled_by_llvmlite(text).hex() == b"".join(instruction.code for instruction in instructions).hex()


# --- it computes what it says -----------------------------------------------------------------------------------------


def loops(isa: InstructionSet) -> dict[str, Callable[..., Any]]:
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    size = isa.vector_bytes
    return {
        "read": callable_code(isa.loops.read_loop(size).code, None, integer, integer, pointer, pointer),
        "triad": callable_code(isa.loops.triad_loop(size).code, None, integer, integer, *[pointer] * 4),
        "count": callable_code(isa.loops.count_loop().code, integer, integer, integer),
    }


@needs_machine_code
@pytest.mark.parametrize("loop", LOOPS_HERE, ids=lambda loop: loop.key)
@given(iterations=st.integers(1, 60))
def test_every_lane_of_every_sum_is_added_to_as_often_as_asked(loop: MultiplyAdd, iterations: int) -> None:
    if loop.on_tiles:
        permit_tiles_or_skip()
    block, expected = loop.product.block(loop.sums, iterations)
    memory = np.concatenate([np.frombuffer(loop.header, np.uint8), block])
    callable_code(loop.listing().code, None, ctypes.c_int64, ctypes.c_void_p)(iterations, memory.ctypes.data)
    assert memory[len(loop.header) :].tobytes() == expected.tobytes()
    assert memory[: len(loop.header)].tobytes() == loop.header


def permit_tiles_or_skip() -> None:
    try:
        permit_tiles()
    except RefusedError as refused:
        pytest.skip(str(refused))


@pytest.mark.parametrize(("dtype", "size"), [("float32", 64), ("float64", 32), ("float16", 64), ("bfloat16", 64)])
def test_what_is_expected_of_a_multiply_add_is_its_definition(dtype: str, size: int) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    narrow = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    wide = np.dtype(np.float32) if dtype == "bfloat16" else narrow
    block, expected = Product(dtype, wide.name, size).block(3, 5)
    a, b = (block[i * size : (i + 1) * size].view(narrow).astype(np.float64) for i in range(2))
    start, end = (one[2 * size :].view(wide).astype(np.float64).reshape(3, -1) for one in (block, expected))
    each = (a * b).reshape(start.shape[1], -1).sum(axis=1)  # two products to a sum, where it is twice as wide
    assert (end == start + 5 * each).all()
    assert each.any() and len(set(start.ravel())) > 3


@given(st.integers(0, 1000))
def test_a_matrix_instruction_multiplies_rows_by_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-9, 9, 16) for _ in range(2))
    (a0, a1), (b0, b1) = a.reshape(2, 8), b.reshape(2, 8)
    assert Product("int8", "int32", 16, "rows").of(a, b).tolist() == [a0 @ b0, a0 @ b1, a1 @ b0, a1 @ b1]
    assert Product("int8", "int32", 16).of(a, b).tolist() == [(a * b)[i : i + 4].sum() for i in range(0, 16, 4)]


@pytest.mark.parametrize(("dtype", "width"), [("bfloat16", 2), ("float16", 2), ("int8", 4)])
def test_a_product_of_tiles_is_that_of_intels_manual(dtype: str, width: int) -> None:
    # Volume 2, TDPBF16PS and TDPBSSD: dst.row[m].n += src1.row[m].(width k + t) * src2.row[k].(width n + t)
    rng = np.random.default_rng(1)
    depth = 64 // {"int8": 1}.get(dtype, 2)
    a, b = (rng.integers(-9, 9, 16 * depth) for _ in range(2))
    one, other = a.reshape(16, depth), b.reshape(16, depth)
    expected = [
        sum(one[m, width * k + t] * other[k, width * n + t] for k in range(16) for t in range(width))
        for m in range(16)
        for n in range(16)
    ]
    product = Product(dtype, "int32" if dtype == "int8" else "float32", 1024, "tiles")
    assert product.of(a, b).tolist() == expected
    assert product.operations == 2 * 16 * 16 * depth


def test_the_operations_of_an_instruction_are_two_for_each_multiplication() -> None:
    operations = {loop.key: loop.product.operations for _, _, loop in FURTHER}
    assert operations["AVX-512 BF16, bfloat16"] == 2 * 32
    assert operations["AVX-512 VNNI, int8"] == 2 * 64
    assert operations["BFMMLA, bfloat16"] == 2 * 2 * 2 * 4
    assert operations["SMMLA, int8"] == 2 * 2 * 2 * 8
    assert operations["AMX tiles, bfloat16"] == 2 * 16 * 16 * 32


@pytest.mark.parametrize(
    ("key", "instruction"),
    [
        ("AMX tiles, bfloat16", "tdpbf16ps tmm2, tmm0, tmm1"),
        ("AMX tiles, float16", "tdpfp16ps tmm2, tmm0, tmm1"),
        ("AMX tiles, int8", "tdpbssd tmm2, tmm0, tmm1"),
        ("AVX-512 BF16, bfloat16", "vdpbf16ps zmm2, zmm0, zmm1"),
        ("AVX-512 FP16, float16", "vfmadd231ph zmm2, zmm0, zmm1"),
        ("AVX-512 VNNI, int8", "vpdpbusd zmm2, zmm0, zmm1"),
        ("AVX-VNNI, int8", "{vex} vpdpbusd ymm2, ymm0, ymm1"),
        ("BFMMLA, bfloat16", "bfmmla v2.4s, v0.8h, v1.8h"),
        ("BFDOT, bfloat16", "bfdot v2.4s, v0.8h, v1.8h"),
        ("SMMLA, int8", "smmla v2.4s, v0.16b, v1.16b"),
        ("SDOT, int8", "sdot v2.4s, v0.16b, v1.16b"),
        ("FMLA, float16", "fmla v2.8h, v0.8h, v1.8h"),
    ],
)
def test_a_loop_consists_of_its_instruction(key: str, instruction: str) -> None:
    loop = (FURTHER_X86 | FURTHER_ARM)[key]
    name = instruction.split(" tmm")[0].split(" zmm")[0].split(" ymm")[0].split(" v2")[0]
    assert instruction in loop.listing().text.splitlines()
    assert loop.listing().text.count(f"{name} ") == loop.sums


def test_the_configuration_of_tiles_is_that_of_palette_1() -> None:
    configuration = x86_64.TILE_CONFIGURATION  # Intel's manual, volume 1, 18.2
    assert len(configuration) == 64 and configuration[0] == 1
    assert np.frombuffer(configuration, np.uint16, 8, 16).tolist() == [64] * 8  # bytes of a row
    assert list(configuration[48:56]) == [16] * 8  # rows
    assert not any(configuration[1:16]) and not any(configuration[32:48]) and not any(configuration[56:])


def test_code_that_computes_something_else_is_found_out() -> None:
    if not HERE:
        pytest.skip("no machine code for this CPU")
    loop = HERE[0].multiply_adds[0]
    again = replace(loop, listing=HERE[0].multiply_adds[1].listing)
    with pytest.raises(WrongResultError, match=f"{loop.name} in float32 does not compute what it should"):
        multiply_adds(again)


@needs_machine_code
@here
@given(passes=st.integers(1, 4), steps=st.integers(1, 5), seed=st.integers(0, 9))
def test_reading_adds_up_all_of_it(isa: InstructionSet, passes: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lanes = isa.step_bytes // 4
    source = rng.integers(-9, 9, (steps, lanes)).astype(np.float32)
    sums = rng.integers(-9, 9, lanes).astype(np.float32)
    expected = sums + passes * source.sum(axis=0)
    loops(isa)["read"](passes, source.nbytes, source.ctypes.data, sums.ctypes.data)
    assert (sums == expected).all()


@needs_machine_code
@here
@given(passes=st.integers(1, 4), steps=st.integers(1, 5), seed=st.integers(0, 9))
def test_the_triad_is_one_and_writes_nothing_else(isa: InstructionSet, passes: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = steps * isa.step_bytes // 4
    b, c = (rng.integers(-9, 9, count).astype(np.float32) for _ in range(2))
    factors = rng.integers(-9, 9, isa.vector_bytes // 4).astype(np.float32)
    a = np.full(count + 2, 77, np.float32)
    loops(isa)["triad"](passes, b.nbytes, a[1:].ctypes.data, b.ctypes.data, c.ctypes.data, factors.ctypes.data)
    assert (a[1:-1] == b + np.tile(factors, count // factors.size) * c).all()
    assert a[0] == a[-1] == 77


@needs_machine_code
@here
@given(iterations=st.integers(1, 1000), step=st.integers(-5, 5))
def test_the_clock_counts(isa: InstructionSet, iterations: int, step: int) -> None:
    assert loops(isa)["count"](iterations, step) == iterations * step * ADDITIONS


# --- for a CPU that is not here, in an emulator -----------------------------------------------------------------------

CODE, DATA = 0x10000, 0x100000


def emulated(loop: Listing, memory: bytes, *arguments: int) -> tuple[int, bytes]:
    """x0 and the memory at `DATA` after an AArch64 CPU has run `loop` with `arguments`."""
    unicorn = pytest.importorskip("unicorn")
    from unicorn import arm64_const

    cpu = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    cpu.ctl_set_cpu_model(arm64_const.UC_CPU_ARM64_MAX)
    for start, size in ((CODE, 0x10000), (DATA, 0x100000)):
        cpu.mem_map(start, size)
    cpu.mem_write(CODE, loop.code)
    cpu.mem_write(DATA, memory)
    for register, argument in enumerate(arguments):
        cpu.reg_write(getattr(arm64_const, f"UC_ARM64_REG_X{register}"), argument)
    kept = [getattr(arm64_const, f"UC_ARM64_REG_D{n}") for n in range(8, 16)]
    for n, register in enumerate(kept):
        cpu.reg_write(register, n + 1)
    end = CODE + 0x8000
    cpu.reg_write(arm64_const.UC_ARM64_REG_LR, end)
    cpu.emu_start(CODE, end, timeout=20_000_000)
    assert cpu.reg_read(arm64_const.UC_ARM64_REG_PC) == end, "it did not return"
    assert [cpu.reg_read(register) for register in kept] == list(range(1, 9)), "registers of the caller's were changed"
    return cpu.reg_read(arm64_const.UC_ARM64_REG_X0), bytes(cpu.mem_read(DATA, len(memory)))


# The emulator does not have BFDOT, BFMMLA and SMMLA.
EMULATED = [*instruction_sets("aarch64", [])[0].multiply_adds, FURTHER_ARM["FMLA, float16"], FURTHER_ARM["SDOT, int8"]]


@pytest.mark.parametrize("loop", EMULATED, ids=lambda loop: loop.key)
@pytest.mark.parametrize("iterations", [1, 2, 9])
def test_an_arm_multiplies_and_adds_in_every_lane(loop: MultiplyAdd, iterations: int) -> None:
    block, expected = loop.product.block(loop.sums, iterations)
    _, after = emulated(loop.listing(), block.tobytes(), iterations, DATA)
    assert after == expected.tobytes()


def program(code: bytes, block: bytes, iterations: int) -> bytes:
    """A program for Linux on AArch64 that calls `code` with `block` and writes the block to its standard output."""

    def words(*numbers: int) -> bytes:
        return struct.pack(f"<{len(numbers)}I", *numbers)

    def load(register: int, value: int) -> bytes:  # movz, then movk
        return words(0xD2800000 | (value & 0xFFFF) << 5 | register, 0xF2A00000 | (value >> 16) << 5 | register)

    base, headers, write, leave, system_call = 0x400000, 64 + 56, 64, 93, words(0xD4000001)
    at = base + 0x1000
    after = load(0, 1) + load(1, at) + load(2, len(block)) + load(8, write) + system_call
    after += load(0, 0) + load(8, leave) + system_call
    body = load(0, iterations) + load(1, at) + words(0x94000000 | 1 + len(after) // 4) + after + code
    content = body.ljust(0x1000 - headers, b"\0") + block
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 0xB7, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = headers + len(content)
    return identity + header + struct.pack("<IIQQQQQQ", 1, 7, 0, base, base, size, size, 0x1000) + content


@pytest.mark.parametrize("loop", FURTHER_ARM.values(), ids=lambda loop: loop.key)
def test_a_whole_arm_cpu_multiplies_as_its_instruction_says(loop: MultiplyAdd, tmp_path: Path) -> None:
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("qemu-aarch64 is not installed")
    block, expected = loop.product.block(loop.sums, 5)
    path = tmp_path / "program"
    path.write_bytes(program(loop.listing().code, block.tobytes(), 5))
    path.chmod(0o755)
    done = subprocess.run([emulator, "-cpu", "max", str(path)], capture_output=True, check=False)
    if done.returncode == 1 and not done.stdout and b"unable to find CPU" in done.stderr:
        pytest.skip("this emulator has no such CPU")
    assert (done.returncode, done.stdout) == (0, expected.tobytes())


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("steps", [1, 4])
def test_an_arm_reads_and_triads(passes: int, steps: int) -> None:
    lanes = 16 * UNROLLED // 4
    b = (np.arange(steps * lanes) % 11).astype(np.float32)
    sums = np.arange(lanes, dtype=np.float32)
    _, after = emulated(aarch64.read_loop(16), b.tobytes() + sums.tobytes(), passes, b.nbytes, DATA, DATA + b.nbytes)
    assert after == b.tobytes() + (sums + passes * b.reshape(steps, lanes).sum(axis=0)).astype(np.float32).tobytes()

    c, factors = (b + 3) % 7, np.array([1, 2, 3, 4], np.float32)
    memory = b.tobytes() + c.tobytes() + factors.tobytes() + bytes(b.nbytes + 4)
    at = [DATA + 2 * b.nbytes + 16, DATA, DATA + b.nbytes, DATA + 2 * b.nbytes]
    _, after = emulated(aarch64.triad_loop(16), memory, passes, b.nbytes, *at)
    expected = (b + np.tile(factors, b.size // 4) * c).astype(np.float32)
    assert after == memory[: 2 * b.nbytes + 16] + expected.tobytes() + bytes(4)


def test_an_arm_counts() -> None:
    total, _ = emulated(aarch64.count_loop(), b"", 12, 3)
    assert total == 12 * 3 * ADDITIONS


# --- where code is not run --------------------------------------------------------------------------------------------


def test_code_is_refused_when_it_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORBIDDEN, "1")
    with pytest.raises(RefusedError, match=FORBIDDEN):
        callable_code(x86_64.count_loop().code, None)


# Linux 6.3 lets a process forbid itself memory that gains execution, as hardened systems do to all.
HARDENED = """
import ctypes, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit("not known here")
from convbench.measurement.ceilings.machine_code import RefusedError, callable_code
try:
    callable_code(b"\\xc3", None)()
except RefusedError as refused:
    print(refused)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_a_system_that_refuses_executable_memory_is_understood() -> None:
    environment = {name: value for name, value in os.environ.items() if name != FORBIDDEN}
    command = [sys.executable, "-c", HARDENED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=CHECKOUT, check=False)
    if "not known here" in done.stderr:
        pytest.skip("this kernel does not refuse on request")
    assert done.returncode == 0, done.stderr
    assert "does not let it be executed (" in done.stdout


# --- which CPUs have which --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "flags", "names"),
    [
        ("x86_64", "fpu sse2", []),
        ("x86_64", "avx2 fma", ["AVX2"]),
        ("x86_64", "avx2", []),
        ("AMD64", "avx2 fma avx512f", ["AVX-512", "AVX2"]),
        ("aarch64", "fp asimd", ["NEON"]),
        ("arm64", "", ["NEON"]),
        ("ppc64le", "", []),
    ],
)
def test_a_cpu_has_the_loops_of_its_flags(machine: str, flags: str, names: list[str]) -> None:
    assert [isa.name for isa in instruction_sets(machine, flags.split())] == names


SAPPHIRE_RAPIDS = "avx2 fma avx512f avx512_bf16 avx512_fp16 avx512_vnni avx_vnni amx_tile amx_bf16 amx_int8"


@pytest.mark.parametrize(
    ("machine", "flags", "keys"),
    [
        ("x86_64", "avx2 fma", []),
        ("x86_64", "avx2 fma avx_vnni", ["AVX-VNNI, int8"]),
        ("x86_64", "avx512f", []),
        ("x86_64", "avx512f avx512_vnni", ["AVX-512 VNNI, int8"]),
        (
            "x86_64",
            SAPPHIRE_RAPIDS,
            [
                "AVX-512 BF16, bfloat16",
                "AVX-512 FP16, float16",
                "AVX-512 VNNI, int8",
                "AVX-VNNI, int8",
                "AMX tiles, bfloat16",
                "AMX tiles, int8",
            ],
        ),
        ("x86_64", "amx_tile amx_fp16", ["AMX tiles, float16"]),
        ("x86_64", "amx_bf16", []),
        ("aarch64", "asimd", []),
        ("aarch64", "asimd asimdhp asimddp", ["FMLA, float16", "SDOT, int8"]),
        ("arm64", "asimd bf16 i8mm", ["BFDOT, bfloat16", "BFMMLA, bfloat16", "SMMLA, int8"]),
        ("aarch64", SAPPHIRE_RAPIDS, []),
        ("ppc64le", SAPPHIRE_RAPIDS, []),
    ],
)
def test_narrow_formats_need_instructions_of_their_own(machine: str, flags: str, keys: list[str]) -> None:
    assert [loop.key for loop in further_multiply_adds(machine, flags.split())] == keys


def test_instructions_without_a_loop_mean_that_a_loop_is_no_ceiling() -> None:
    assert without_a_loop(["avx512f", "avx512_bf16", "amx_bf16"]) == {}
    assert set(without_a_loop(["asimd", "sme"])) == {"float32", *NARROW}
    assert set(without_a_loop([])) == set(NARROW)  # the system does not list them


def test_a_listing_is_its_instructions() -> None:
    loop = x86_64.multiply_add_loop("float32", 64)
    assert loop.code == b"".join(instruction.code for instruction in loop)
    assert loop.text.count("vfmadd231ps") == x86_64.accumulators(64)
