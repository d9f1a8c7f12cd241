"""Machine-level building blocks: the register tile of the matrix product in LLVM vectors, and addresses.

Numba's own vectoriser decides by itself how wide a vector is and what stays in registers.  For the
innermost tile of a matrix product that is too much left to chance, so it is written here instruction by
instruction.

Arrays come in as addresses (64-bit integers): one compiled version then serves every layout.  ``like`` is
any number of the element type, float32 or float64; only its type matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "call",
    "copy_rows",
    "item_size",
    "lanes",
    "load",
    "micro_kernel",
    "pointer",
    "store",
    "tile_columns",
    "tile_rows",
    "transpose_a",
    "transpose_b",
]

WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))
"""Whether this processor has 32 vector registers of 512 bits; else 16 of 256 bits are assumed."""

VECTOR_BYTES = 64 if WIDE else 32

# Rows and columns of the tile that is kept in registers, by the size of an element: rows * columns / lanes
# sums, columns / lanes vectors of B and one broadcast element of A must fit.
TILES = {4: (12, 32), 8: (12, 16)} if WIDE else {4: (6, 16), 8: (6, 8)}

INT = ir.IntType(64)


def _element(number: Any) -> tuple[Any, int]:
    """The LLVM type and the size of ``like``'s type."""
    return (ir.FloatType(), 4) if number == types.float32 else (ir.DoubleType(), 8)


def _constant(value: int) -> Any:
    return ir.Constant(INT, value)


class _Writer:
    """A few lines of LLVM's language that all of the functions below need."""

    def __init__(self, builder: Any, number: Any) -> None:
        self.builder = builder
        self.number, self.size = _element(number)
        self.lanes = VECTOR_BYTES // self.size
        self.vector = ir.VectorType(self.number, self.lanes)

    def at(self, address: Any, elements: Any = 0) -> Any:
        """``address + elements * size``; ``elements`` may be a Python number."""
        if isinstance(elements, int):
            return self.builder.add(address, _constant(elements * self.size)) if elements else address
        return self.builder.add(address, self.builder.mul(elements, _constant(self.size)))

    def load(self, address: Any, kind: Any) -> Any:
        value = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        value.align = self.size
        return value

    def store(self, value: Any, address: Any) -> None:
        instruction = self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer()))
        instruction.align = self.size

    def loop(self, count: Any, starts: list[Any], body: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """``body`` run ``count`` >= 1 times over loop-carried values; what they are at the end."""
        builder = self.builder
        before, inside = builder.block, builder.append_basic_block("loop")
        builder.branch(inside)
        builder.position_at_end(inside)
        phis = [builder.phi(value.type) for value in [_constant(0), *starts]]
        for phi, value in zip(phis, [_constant(0), *starts], strict=True):
            phi.add_incoming(value, before)
        new = [builder.add(phis[0], _constant(1)), *body(phis[1:])]
        for phi, value in zip(phis, new, strict=True):
            phi.add_incoming(value, inside)
        after = builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", new[0], count), inside, after)
        builder.position_at_end(after)
        return new[1:]


def _multiply(writer: _Writer, a: Any, b: Any, depth: Any, c: Any, stride: Any, add: Any) -> None:
    builder, vector, lanes = writer.builder, writer.vector, writer.lanes
    rows, columns = TILES[writer.size]
    count = columns // lanes
    name = f"llvm.fma.v{lanes}f{8 * writer.size}"
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    undefined = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

    def one_step(values: list[Any]) -> list[Any]:
        a_k, b_k, *sums = values
        wide = [writer.load(writer.at(b_k, j * lanes), vector) for j in range(count)]
        for i in range(rows):
            element = writer.load(writer.at(a_k, i), writer.number)
            lane = builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
            broadcast = builder.shuffle_vector(lane, undefined, zeros)
            for j in range(count):
                sums[i * count + j] = builder.call(fma, [broadcast, wide[j], sums[i * count + j]])
        return [writer.at(a_k, rows), writer.at(b_k, columns), *sums]

    nothing = ir.Constant(vector, [0.0] * lanes)
    _, _, *sums = writer.loop(depth, [a, b, *[nothing] * (rows * count)], one_step)
    row_bytes = builder.mul(stride, _constant(writer.size))
    with builder.if_else(builder.icmp_signed("!=", add, _constant(0))) as (onto, over):
        for branch, adds in ((onto, True), (over, False)):
            with branch:
                row = c
                for i in range(rows):
                    for j in range(count):
                        place, value = writer.at(row, j * lanes), sums[i * count + j]
                        writer.store(
                            builder.fadd(writer.load(place, vector), value) if adds else value, place
                        )
                    row = builder.add(row, row_bytes)


@intrinsic
def micro_kernel(typing: Any, a: Any, b: Any, depth: Any, c: Any, stride: Any, add: Any, like: Any) -> Any:
    """One tile of C, which never leaves the registers until it is finished.

    for k in range(depth):  for i in rows:  for j in columns:  tile[i, j] += a[k, i] * b[k, j]
    then c[i * stride + j] = tile[i, j], or += if ``add``
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _multiply(_Writer(builder, like), *args[:6])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, like), generate


@intrinsic
def copy_rows(typing: Any, target: Any, source: Any, depth: Any, step: Any, like: Any) -> Any:
    """target[k * columns + j] = source[k * step + j] for all columns j of a tile, k < depth."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(builder, like)
        columns = TILES[writer.size][1]
        step_bytes = builder.mul(args[3], _constant(writer.size))

        def one(values: list[Any]) -> list[Any]:
            to, at = values
            for j in range(0, columns, writer.lanes):
                writer.store(writer.load(writer.at(at, j), writer.vector), writer.at(to, j))
            return [writer.at(to, columns), builder.add(at, step_bytes)]

        writer.loop(args[2], [args[0], args[1]], one)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, like), generate


def _transpose(builder: Any, rows: list[Any]) -> list[Any]:
    """A square of vectors turned about its diagonal: log2(n) rounds that interleave rows n / 2 apart."""
    n = len(rows)
    mask_type = ir.VectorType(ir.IntType(32), n)
    low = ir.Constant(mask_type, [i // 2 + n * (i % 2) for i in range(n)])
    high = ir.Constant(mask_type, [n // 2 + i // 2 + n * (i % 2) for i in range(n)])
    for _ in range(n.bit_length() - 1):
        rows = [
            builder.shuffle_vector(rows[i], rows[i + n // 2], mask)
            for i in range(n // 2)
            for mask in (low, high)
        ]
    return rows


def _transpose_panel(writer: _Writer, target: Any, source: Any, count: Any, stride: Any, rows: int) -> None:
    builder, lanes = writer.builder, writer.lanes
    row_bytes = builder.mul(stride, _constant(writer.size))

    def one(values: list[Any]) -> list[Any]:
        to, at = values
        row, squares = at, []
        for first in range(0, rows, lanes):
            square = []
            for _ in range(min(lanes, rows - first)):
                square.append(writer.load(row, writer.vector))
                row = builder.add(row, row_bytes)
            squares.append(_transpose(builder, square + [square[-1]] * (lanes - len(square))))
        for k in range(lanes):
            for group, square in enumerate(squares):
                writer.store(square[k], writer.at(to, k * rows + group * lanes))
        return [writer.at(to, lanes * rows), writer.at(at, lanes)]

    writer.loop(count, [target, source], one)


def _transposer(which: int) -> Callable[..., Any]:
    def define(typing: Any, target: Any, source: Any, count: Any, stride: Any, like: Any) -> Any:
        """Set target[k * width + i] = source[i * stride + k], i < width, in ``count`` >= 1 blocks.

        A block is one vector of k.

        Each store writes a whole vector: what lies beyond the width is overwritten by the next k, so after
        the end of the last block the target needs room for one vector.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            writer = _Writer(builder, like)
            target, source, count, stride = args[:4]
            _transpose_panel(writer, target, source, count, stride, TILES[writer.size][which])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4, like), generate

    return define


transpose_a = intrinsic(_transposer(0))  # the width is the rows of a tile
transpose_b = intrinsic(_transposer(1))  # the width is the columns of a tile


@intrinsic
def load(typing: Any, address: Any, like: Any) -> Any:
    """The number at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(builder, like)
        return writer.load(args[0], writer.number)

    return like(types.int64, like), generate


@intrinsic
def store(typing: Any, address: Any, value: Any) -> Any:
    """Write a float32 or float64 to an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _Writer(builder, value).store(args[1], args[0])
        return context.get_dummy_value()

    return types.void(types.int64, value), generate


@intrinsic
def pointer(typing: Any, address: Any, like: Any) -> Any:
    """The address as a typed pointer, for ``numba.carray``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(types.CPointer(like)))

    return types.CPointer(like)(types.int64, like), generate


@intrinsic
def call(typing: Any, address: Any, numbers: Any, like: Any) -> Any:
    """Call the compiled function at ``address`` with the 64-bit integers of a tuple, and ``like``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = cgutils.unpack_tuple(builder, args[1], len(numbers))
        kinds = [INT] * len(numbers) + [args[2].type]
        function = builder.inttoptr(args[0], ir.FunctionType(INT, kinds).as_pointer())
        return builder.call(function, [*integers, args[2]])

    return types.int64(types.int64, numbers, like), generate


def _number_of(value: Callable[[int], int]) -> Callable[..., Any]:
    def define(typing: Any, like: Any) -> Any:
        size = _element(like)[1]

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _constant(value(size))

        return types.int64(like), generate

    return define


item_size = intrinsic(_number_of(lambda size: size))
tile_rows = intrinsic(_number_of(lambda size: TILES[size][0]))
tile_columns = intrinsic(_number_of(lambda size: TILES[size][1]))
lanes = intrinsic(_number_of(lambda size: VECTOR_BYTES // size))
