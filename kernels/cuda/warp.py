"""Building blocks of the kernels: sums by shuffles, loads and stores of 128 bits, a short division."""

from __future__ import annotations

import functools
from typing import Any

from numba import types

from accelgrad.kernels.cuda.launch import SIMULATED, cuda

__all__ = ["add", "block_reduce", "larger", "load4", "multiply", "quotient", "smaller", "store4"]

FULL = 0xFFFFFFFF


@cuda.jit(device=True)
def add(x: Any, y: Any) -> Any:
    return x + y


@cuda.jit(device=True)
def multiply(x: Any, y: Any) -> Any:
    return x * y


@cuda.jit(device=True)
def larger(x: Any, y: Any) -> Any:
    """The larger one; NaN counts as the largest."""
    return y if y > x or y != y else x


@cuda.jit(device=True)
def smaller(x: Any, y: Any) -> Any:
    """The smaller one; NaN counts as the smallest."""
    return y if y < x or y != y else x


@functools.cache
def block_reduce(combine: Any) -> Any:
    """The device function that combines one value of every thread; all threads get the result.

    ``buffer`` is shared memory for one value a warp.  The order is fixed, so the result is the same every
    time. The block must be a multiple of 32 threads along x, and every thread must come here.
    """

    @cuda.jit(device=True)
    def reduce(value: Any, buffer: Any) -> Any:
        offset = 16
        while offset > 0:
            value = combine(value, cuda.shfl_down_sync(FULL, value, offset))
            offset //= 2
        lane = cuda.threadIdx.x % 32
        if lane == 0:
            buffer[cuda.threadIdx.x // 32] = value
        cuda.syncthreads()
        value = buffer[0]
        for warp in range(1, cuda.blockDim.x // 32):
            value = combine(value, buffer[warp])
        cuda.syncthreads()  # the buffer may be written again from here on
        return value

    return reduce


if SIMULATED:

    def load4(memory: Any, at: Any) -> Any:
        return memory[at], memory[at + 1], memory[at + 2], memory[at + 3]

    def store4(memory: Any, at: Any, a: Any, b: Any, c: Any, d: Any) -> None:
        memory[at], memory[at + 1], memory[at + 2], memory[at + 3] = a, b, c, d

    def quotient(x: Any, y: Any) -> Any:
        return x // y

else:
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    def _pointer(cg: Any, builder: Any, kind: Any, memory: Any, at: Any) -> Any:
        base = memory if isinstance(kind, types.CPointer) else cg.make_array(kind)(cg, builder, memory).data
        return builder.gep(base, [at])

    def _element(kind: Any) -> Any:
        return kind.dtype

    @intrinsic
    def load4(typingctx: Any, memory: Any, at: Any) -> Any:
        """Four neighbours from a pointer or a shared array in one instruction where 16 bytes hold them."""
        result = types.UniTuple(_element(memory), 4)

        def generate(cg: Any, builder: Any, signature: Any, args: Any) -> Any:
            index = cg.cast(builder, args[1], signature.args[1], types.intp)
            place = _pointer(cg, builder, signature.args[0], args[0], index)
            vector = ir.VectorType(place.type.pointee, 4)
            space = getattr(place.type, "addrspace", 0)
            loaded = builder.load(builder.bitcast(place, vector.as_pointer(addrspace=space)))
            loaded.align = 16
            parts = [builder.extract_element(loaded, ir.Constant(ir.IntType(32), i)) for i in range(4)]
            return cg.make_tuple(builder, signature.return_type, parts)

        return result(memory, at), generate

    @intrinsic
    def store4(typingctx: Any, memory: Any, at: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        """Four values to neighbouring places in one instruction where 16 bytes hold them."""

        def generate(cg: Any, builder: Any, signature: Any, args: Any) -> Any:
            index = cg.cast(builder, args[1], signature.args[1], types.intp)
            place = _pointer(cg, builder, signature.args[0], args[0], index)
            vector: Any = ir.Constant(ir.VectorType(place.type.pointee, 4), ir.Undefined)
            for i in range(4):
                vector = builder.insert_element(vector, args[2 + i], ir.Constant(ir.IntType(32), i))
            space = getattr(place.type, "addrspace", 0)
            stored = builder.store(vector, builder.bitcast(place, vector.type.as_pointer(addrspace=space)))
            stored.align = 16
            return cg.get_dummy_value()

        return types.void(memory, at, a, b, c, d), generate

    @intrinsic
    def quotient(typingctx: Any, x: Any, y: Any) -> Any:
        """``x // y`` of numbers from 0 to 2^31 - 1.

        Numba's integers have 64 bits, which a card divides in some 70 instructions, and these in 15.
        """

        def generate(cg: Any, builder: Any, signature: Any, args: Any) -> Any:
            parts = [
                cg.cast(builder, one, kind, types.int32)
                for one, kind in zip(args, signature.args, strict=True)
            ]
            return builder.zext(builder.udiv(*parts), ir.IntType(64))

        return types.int64(x, y), generate
