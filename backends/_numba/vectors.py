"""Machine code with explicit vectors: a register tile of multiply-adds, and a transposing store.

It is written in LLVM's language and compiled by Numba's LLVM, so a convolution at the peak rate of the CPU needs no C
compiler. It is separate from Numba's functions, because each of them would compile it again.

The register tile is the inner loop of a direct convolution. `height` rows of `VECTORS` vectors of sums stay in
registers for all taps (a tap is one input channel at one kernel position). Each tap multiplies `height` scalars with
`VECTORS` vectors. Either operand may be the scalar, so one generator makes two tiles:

* channels in lanes: a tap's weights for `VECTORS * lanes` output channels, times `height` neighbouring pixels;
* pixels in lanes: a tap's `VECTORS * lanes` neighbouring pixels, times its weights for `height` output channels.

In "int32" the operands are pairs of int16 and the sums int32: one tap multiplies both halves, and adds both products.

A third tile, for the gradient of a weight with few channels in each of many groups, multiplies vectors by vectors:

* groups in lanes: an output pixel's gradient in `VECTORS * lanes` groups, times `height` input pixels that it met.
"""

# llvmlite has no types.
# mypy: ignore-errors
from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Literal, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import config
from numba.core.cgutils import for_range_slice

VECTORS = 2
"""Vectors side by side in a tile: the number of uses of every loaded and broadcast scalar."""

InLanes = Literal["channels", "pixels", "groups"]

_TILE = "x taps count w sums pitch resume"
_INT = ir.IntType(64)
SCALARS = {"float32": ir.FloatType(), "float64": ir.DoubleType(), "int32": ir.IntType(32)}


class VectorCode(NamedTuple):
    """Machine code as ctypes functions, which Numba's functions call. All arguments are int64, also pointers.

    multiply_tile(height, x, taps, count, w, sums, pitch, resume): add up `count` taps of one tile. `taps` are
    offsets in `x`, whose start is the tile's first pixel; `w` holds the taps' weights one after the other. Row i of
    the tile goes to `sums[i * pitch]`, and is added to it if `resume`. With groups in lanes a last argument `shifts`
    has how far from its tap each row reads.

    store_transposed(sums, pitch, bias, out, plane): store a square of sums, `lanes` pixels by channels, as channels
    by pixels, with the bias added. `pitch` is from pixel to pixel in `sums`, `plane` from channel to channel in `out`.

    copy_rows, copy_every_second, add_bias(target, source, count, rows, target_pitch, source_pitch [, bias]):
    target[j] = source[j], source[2 * j], source[j] + bias[0], for `rows` rows a pitch apart that must not overlap.
    """

    multiply_tile: Any
    store_transposed: Any
    copy_rows: Any
    copy_every_second: Any
    add_bias: Any
    engine: Any  # owns the code


@cache
def vector_code(dtype: str, lanes: int, max_height: int, in_lanes: InLanes) -> VectorCode:
    """Compile the tiles of all heights up to `max_height`, and the store."""
    module = ir.Module()
    vector = ir.VectorType(SCALARS[dtype], lanes)
    tiles = [_tile(module, vector, rows, in_lanes) for rows in range(1, max_height + 1)]
    _choose_tile(module, tiles, _TILE + " shifts" * (in_lanes == "groups"))
    _transposing_store(module, vector)
    _rows_copy(module, vector, "copy_rows", 1, biased=False)
    _rows_copy(module, vector, "copy_every_second", 2, biased=False)
    _rows_copy(module, vector, "add_bias", 1, biased=True)
    engine = compiled(module)

    def function(name: str) -> Any:
        arguments = [ctypes.c_int64] * len(module.get_global(name).args)
        return ctypes.CFUNCTYPE(None, *arguments)(engine.get_function_address(name))

    return VectorCode(**{name: function(name) for name in VectorCode._fields if name != "engine"}, engine=engine)


def cpu_vector_registers() -> tuple[int, int]:
    """The number of vector registers of the target CPU, and their size in bytes."""
    if llvm.get_default_triple().startswith(("aarch64", "arm64")):
        return 32, 16
    _, features = _cpu()
    if "+avx512f" in features.split(","):
        return 32, 64
    return 16, 32 if "+avx" in features.split(",") else 16


def _cpu() -> tuple[str, str]:
    """The target CPU and its features: the host's, or those in Numba's environment variables."""
    features = config.CPU_FEATURES
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    return config.CPU_NAME or llvm.get_host_cpu_name(), features


def compiled(module: Any) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _cpu()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=name, features=features, opt=3)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    return engine


def new_function(module: Any, name: str, parameters: str) -> tuple[Any, Any]:
    """A new function of int64 parameters, and a builder at its first block."""
    names = parameters.split()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_INT] * len(names)), name)
    for argument, argument_name in zip(function.args, names, strict=True):
        argument.name = argument_name
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def _choose_tile(module: Any, tiles: list[Any], parameters: str) -> None:
    """multiply_tile: call the tile of the given height."""
    function, b = new_function(module, "multiply_tile", f"height {parameters}")
    height, *operands = function.args
    done = function.append_basic_block("done")
    choice = b.switch(height, done)
    for rows, tile in enumerate(tiles, 1):
        b.position_at_end(function.append_basic_block())
        choice.add_case(number(rows), b.block)
        b.call(tile, operands)
        b.branch(done)
    b.position_at_end(done)
    b.ret_void()


def _tile(module: Any, vector: Any, rows: int, in_lanes: InLanes) -> Any:
    """The register tile of `rows` rows."""
    function, b = new_function(module, f"tile_{rows}", _TILE + " shifts" * (in_lanes == "groups"))
    fresh, resumed, loop, end = (function.append_basic_block(n) for n in ("fresh", "resumed", "loop", "end"))
    x, taps, count, w, sums, pitch, resume, *shifts = function.args
    x, w, sums = pointers(b, vector.element, x, w, sums)
    taps = b.inttoptr(taps, _INT.as_pointer())
    if shifts:
        table = b.inttoptr(shifts[0], _INT.as_pointer())
        shifts = [b.load(b.gep(table, [number(row)])) for row in range(rows)]
    tile = [(row, column) for row in range(rows) for column in range(VECTORS)]

    def place(cell: tuple[int, int]) -> Any:
        row, column = cell
        return b.gep(b.gep(sums, [b.mul(pitch, number(row))]), [number(column * vector.count)])

    b.cbranch(b.icmp_signed("!=", resume, number(0)), resumed, fresh)
    b.position_at_end(resumed)
    before = {cell: load_vector(b, place(cell), vector) for cell in tile}
    b.branch(loop)
    b.position_at_end(fresh)
    b.branch(loop)

    b.position_at_end(loop)
    tap, weights = b.phi(_INT), b.phi(w.type)
    total = {cell: b.phi(vector) for cell in tile}
    pixels = b.gep(x, [b.load(b.gep(taps, [tap]))])
    wide, narrow = (pixels, weights) if in_lanes == "pixels" else (weights, pixels)
    columns = _load_row(b, wide, vector)
    result = {}
    for row in range(rows):
        if shifts:
            factors = _load_row(b, b.gep(narrow, [shifts[row]]), vector)
        else:
            factors = [broadcast(b, b.load(b.gep(narrow, [number(row)])), vector)] * VECTORS
        for column in range(VECTORS):
            cell = row, column
            result[cell] = multiply_add(b, factors[column], columns[column], total[cell])
    next_tap = b.add(tap, number(1))
    next_weights = b.gep(weights, [number(rows if in_lanes == "pixels" else VECTORS * vector.count)])
    b.cbranch(b.icmp_signed("<", next_tap, count), loop, end)

    zero = vector([0 if vector.element == SCALARS["int32"] else 0.0] * vector.count)
    for block, start in ((fresh, None), (resumed, before)):
        tap.add_incoming(number(0), block)
        weights.add_incoming(w, block)
        for cell in tile:
            total[cell].add_incoming(start[cell] if start else zero, block)
    tap.add_incoming(next_tap, loop)
    weights.add_incoming(next_weights, loop)
    for cell in tile:
        total[cell].add_incoming(result[cell], loop)

    b.position_at_end(end)
    for cell in tile:
        store_vector(b, result[cell], place(cell))
    b.ret_void()
    function.linkage = "internal"
    return function


def _transposing_store(module: Any, vector: Any) -> None:
    """store_transposed: a square of sums, turned in registers."""
    function, b = new_function(module, "store_transposed", "sums pitch bias out plane")
    sums, pitch, bias, out, plane = function.args
    sums, bias, out = pointers(b, vector.element, sums, bias, out)
    added = load_vector(b, bias, vector)
    rows = []
    for i in range(vector.count):
        row = load_vector(b, b.gep(sums, [b.mul(pitch, number(i))]), vector)
        rows.append(_add(b, row, added))
    for i, row in enumerate(transpose(b, rows)):
        store_vector(b, row, b.gep(out, [b.mul(plane, number(i))]))
    b.ret_void()


def transpose(b: Any, rows: list[Any]) -> list[Any]:
    """The transpose of a square of vectors: swap off-diagonal blocks of 1 element, then of 2, 4, 8."""
    lanes = len(rows)
    rows = list(rows)
    size = 1
    while size < lanes:
        # Lane numbers from `lanes` on are in the second vector.
        first = [lane if not lane & size else lanes + lane - size for lane in range(lanes)]
        second = [lane + size if not lane & size else lanes + lane for lane in range(lanes)]
        for i in range(lanes):
            if not i & size:
                upper, lower = rows[i], rows[i + size]
                rows[i] = b.shuffle_vector(upper, lower, _lane_numbers(first))
                rows[i + size] = b.shuffle_vector(upper, lower, _lane_numbers(second))
        size *= 2
    return rows


def _rows_copy(module: Any, vector: Any, name: str, step: int, biased: bool) -> None:
    """target[j] = source[step * j], plus bias[0] if biased: by vectors, of which a row's last is moved back to fit."""
    function, b = new_function(module, name, "target source count rows target_pitch source_pitch" + " bias" * biased)
    target, source, count, rows, target_pitch, source_pitch = function.args[:6]
    target, source = pointers(b, vector.element, target, source)
    bias = b.load(b.inttoptr(function.args[6], vector.element.as_pointer())) if biased else None

    def copy_by(part: Any) -> None:
        last = b.sub(count, number(part.count))
        with for_range_slice(b, number(0), rows, number(1)) as (row, _):
            to_row, from_row = b.gep(target, [b.mul(row, target_pitch)]), b.gep(source, [b.mul(row, source_pitch)])
            with for_range_slice(b, number(0), count, number(part.count)) as (at, _):
                at = b.select(b.icmp_signed("<", at, last), at, last)
                value = _load_strided(b, b.gep(from_row, [b.mul(at, number(step))]), part, step)
                store_vector(b, _add(b, value, broadcast(b, bias, part)) if biased else value, b.gep(to_row, [at]))

    def copy_by_at_most(lanes: int) -> None:
        """By the widest vectors that fit into a row."""
        part = ir.VectorType(vector.element, lanes)
        if lanes == 1:
            copy_by(part)
            return
        with b.if_else(b.icmp_signed(">=", count, number(lanes))) as (long, short):
            with long:
                copy_by(part)
            with short:
                copy_by_at_most(lanes // 2)

    copy_by_at_most(vector.count)
    b.ret_void()


def _load_strided(b: Any, pointer: Any, vector: Any, step: int) -> Any:
    """A vector of every element, or of every second one, without a load beyond the last."""
    first = load_vector(b, pointer, vector)
    if step == 1:
        return first
    lanes = vector.count
    second = load_vector(b, b.gep(pointer, [number(lanes - 1)]), vector)
    order = [2 * lane if 2 * lane < lanes else 2 * lane + 1 for lane in range(lanes)]
    return b.shuffle_vector(first, second, _lane_numbers(order))


def number(value: int) -> Any:
    return ir.Constant(_INT, value)


def _lane_numbers(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)


def pointers(b: Any, scalar: Any, *addresses: Any) -> list[Any]:
    """The addresses as pointers to `scalar`."""
    return [b.inttoptr(address, scalar.as_pointer()) for address in addresses]


def scalar_bytes(scalar: Any) -> int:
    return 8 if isinstance(scalar, ir.DoubleType) else 4


def _load_row(b: Any, pointer: Any, vector: Any) -> list[Any]:
    """`VECTORS` vectors side by side."""
    return [load_vector(b, b.gep(pointer, [number(i * vector.count)]), vector) for i in range(VECTORS)]


def load_vector(b: Any, pointer: Any, vector: Any) -> Any:
    return b.load(b.bitcast(pointer, vector.as_pointer()), align=scalar_bytes(vector.element))


def store_vector(b: Any, value: Any, pointer: Any) -> None:
    b.store(value, b.bitcast(pointer, value.type.as_pointer()), align=scalar_bytes(value.type.element))


def broadcast(b: Any, scalar: Any, vector: Any) -> Any:
    nothing = vector(ir.Undefined)
    single = b.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    return b.shuffle_vector(single, nothing, _lane_numbers([0] * vector.count))


def multiply_add(b: Any, factor: Any, other: Any, addend: Any) -> Any:
    """factor * other + addend, rounded once if the CPU can do that. Otherwise llvm.fma would call libm."""
    vector = addend.type
    if vector.element == SCALARS["int32"]:
        return b.add(addend, _sum_of_pairs(b, factor, other))
    name = f"llvm.fmuladd.v{vector.count}f{8 * scalar_bytes(vector.element)}"
    function = b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(vector, [vector] * 3), name)
    return b.call(function, [factor, other, addend])


def _sum_of_pairs(b: Any, left: Any, right: Any) -> Any:
    """In each lane left[0] * right[0] + left[1] * right[1], of two int16; LLVM finds the one instruction for it."""
    lanes = left.type.count
    halves, wide = ir.VectorType(ir.IntType(16), 2 * lanes), ir.VectorType(ir.IntType(32), 2 * lanes)
    products = b.mul(b.sext(b.bitcast(left, halves), wide), b.sext(b.bitcast(right, halves), wide))
    even, odd = (_lane_numbers(list(range(start, 2 * lanes, 2))) for start in (0, 1))
    nothing = wide(ir.Undefined)
    return b.add(b.shuffle_vector(products, nothing, even), b.shuffle_vector(products, nothing, odd))


def _add(b: Any, left: Any, right: Any) -> Any:
    return b.add(left, right) if left.type.element == SCALARS["int32"] else b.fadd(left, right)
