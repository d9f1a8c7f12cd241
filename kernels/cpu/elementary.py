"""Elementary functions that LLVM can vectorise: exp, erf, erfc and a maximum that passes NaN on.

Numba calls the C library for ``math.exp``, one number at a time; inside a loop these polynomials run on
whole vectors. Each has a float32 and a float64 form, chosen by the type of its argument.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from accelgrad.kernels.cpu.compile import CONTRACT, jit
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

__all__ = ["erf", "erfc", "exp", "maximum", "minimum"]

_INTEGER = {types.float32: types.int32, types.float64: types.int64}
_FLOAT = {integer: number for number, integer in _INTEGER.items()}


def _cast(table: dict[Any, Any]) -> Any:
    def define(typing: Any, value: Any) -> Any:
        if value not in table:
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(table[value]))

        return table[value](value), generate

    return intrinsic(define)


bits = _cast(_INTEGER)  # a float's bits as an integer of its size
number = _cast(_FLOAT)  # the float with these bits


def _extreme(name: str) -> Any:
    def define(typing: Any, a: Any, b: Any) -> Any:
        if a != b or a not in _INTEGER:
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FloatType() if a == types.float32 else ir.DoubleType()
            function = ir.FunctionType(kind, [kind, kind])
            called = cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.f{a.bitwidth}")
            return builder.call(called, args)

        return a(a, b), generate

    return intrinsic(define)


maximum = _extreme("maximum")  # NaN if either is NaN: what np.maximum does
minimum = _extreme("minimum")

# exp(x) = 2^n exp(r) with n = round(x / log 2) and |r| <= log(2) / 2; log 2 is split in two, so that x - n
# log 2 is exact in its leading part.  Adding 1.5 * 2^(bits of the significand - 1) rounds, and leaves n in
# the lowest bits.
_LOG2_E = 1.4426950408889634
_HIGH32, _LOW32 = np.float32(0.693145751953125), np.float32(1.4286068203094172e-06)
_HIGH64, _LOW64 = 0.693147180369123816490, 1.90821492927058770002e-10
_ROUND32, _ROUND64 = np.float32(12582912.0), 6755399441055744.0
_SCALE32 = np.float32(_LOG2_E)
_FACTORIALS = [1 / math.factorial(k) for k in range(15)]
_E2, _E3, _E4, _E5, _E6, _E7 = (np.float32(value) for value in _FACTORIALS[2:8])
_D2, _D3, _D4, _D5, _D6, _D7, _D8, _D9, _D10, _D11, _D12, _D13 = _FACTORIALS[2:14]
_ONE = np.float32(1)
_BOTTOM32, _TOP32 = np.float32(-105), np.float32(89)


@jit(CONTRACT)
def exp32(x):
    x = _BOTTOM32 if x < _BOTTOM32 else (_TOP32 if x > _TOP32 else x)  # NaN passes
    shifted = x * _SCALE32 + _ROUND32
    n = shifted - _ROUND32
    r = (x - n * _HIGH32) - n * _LOW32
    p = _E6 + r * _E7
    p = _E5 + r * p
    p = _E4 + r * p
    p = _E3 + r * p
    p = _E2 + r * p
    p = _ONE + r * (_ONE + r * p)
    power = np.int32(bits(shifted) - bits(_ROUND32))
    half = np.int32(power >> 1)  # in two steps, because 2^n itself may be too large or too small
    rest = np.int32(power - half)
    return p * number(np.int32((half + 127) << 23)) * number(np.int32((rest + 127) << 23))


@jit(CONTRACT)
def exp64(x):
    x = -746.0 if x < -746.0 else (710.0 if x > 710.0 else x)
    shifted = x * _LOG2_E + _ROUND64
    n = shifted - _ROUND64
    r = (x - n * _HIGH64) - n * _LOW64
    p = _D12 + r * _D13
    p = _D11 + r * p
    p = _D10 + r * p
    p = _D9 + r * p
    p = _D8 + r * p
    p = _D7 + r * p
    p = _D6 + r * p
    p = _D5 + r * p
    p = _D4 + r * p
    p = _D3 + r * p
    p = _D2 + r * p
    p = 1.0 + r * (1.0 + r * p)
    power = bits(shifted) - bits(_ROUND64)
    half = power >> 1
    rest = power - half
    return p * number((half + 1023) << 52) * number((rest + 1023) << 52)


def exp(x: float) -> float:
    """e^x: to 1 unit in the last place; 0 and infinity where it leaves the range, NaN for NaN."""
    return math.exp(x)


@overload(exp)
def _exp(x):
    if x == types.float32:
        return lambda x: exp32(x)
    if x == types.float64:
        return lambda x: exp64(x)
    return None
