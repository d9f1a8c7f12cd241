"""Elementary functions that LLVM can vectorise: exp, tanh, erfc and a maximum that passes NaN on.

Numba calls the C library for ``math.exp``, one number at a time; inside a loop these polynomials run on
whole vectors. Each has a float32 and a float64 form, chosen by the type of its argument, and is inlined
wherever it is used: a call would stop LLVM.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from accelgrad.kernels import special
from accelgrad.kernels.cpu.compile import CONTRACT, jit

__all__ = ["choose", "erfc_both", "exp", "maximum", "minimum", "tanh"]

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


def _instruction(name: str, number: Any, count: int) -> Any:
    """Signature and code of a call of LLVM's own function ``name``, which it knows how to vectorise."""
    if number not in _INTEGER:
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FloatType() if number == types.float32 else ir.DoubleType()
        function = ir.FunctionType(kind, [kind] * count)
        called = cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.f{number.bitwidth}")
        return builder.call(called, args)

    return number(*[number] * count), generate


@intrinsic
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """The larger of two numbers, NaN if either is NaN: what np.maximum does."""
    return _instruction("maximum", a, 2) if a == b else None


@intrinsic
def minimum(typing: Any, a: Any, b: Any) -> Any:
    """The smaller of two numbers, NaN if either is NaN."""
    return _instruction("minimum", a, 2) if a == b else None


@intrinsic
def choose(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """``a if condition else b`` without a branch: where LLVM would rather jump, and so not use vectors."""
    if condition != types.boolean or a != b:
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return a(condition, a, b), generate


@intrinsic
def floor(typing: Any, x: Any) -> Any:
    """The floor in x's own type."""
    return _instruction("floor", x, 1)


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
_ONE, _TWO = np.float32(1), np.float32(2)
_BOTTOM32, _TOP32 = np.float32(-105), np.float32(89)


@jit(CONTRACT, forceinline=True)
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


@jit(CONTRACT, forceinline=True)
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


@overload(exp, jit_options={"forceinline": True})
def _exp(x):
    if x == types.float32:
        return lambda x: exp32(x)
    if x == types.float64:
        return lambda x: exp64(x)
    return None


# Near 0 Lambert's continued fraction (1768), x / (1 + x² / (3 + x² / (5 + ...))), cut off where the rest is
# below the last place, and written as one fraction; farther out 1 - 2 / (e^2x + 1), which cancels near 0.
_NEAR32, _NEAR64 = np.float32(0.625), 0.625
_945, _420, _105, _15 = (np.float32(value) for value in (945, 420, 105, 15))


@jit(CONTRACT, forceinline=True)
def tanh32(x):
    z = x * x
    near = x * ((_945 + z * (_105 + z)) / (_945 + z * (_420 + z * _15)))
    far = _ONE - _TWO / (exp32(_TWO * x) + _ONE)
    return near if abs(x) < _NEAR32 else far


@jit(CONTRACT, forceinline=True)
def tanh64(x):
    z = x * x
    above = 2027025.0 + z * (270270.0 + z * (6930.0 + z * 36.0))
    below = 2027025.0 + z * (945945.0 + z * (51975.0 + z * (630.0 + z)))
    far = 1.0 - 2.0 / (exp64(2.0 * x) + 1.0)
    return x * (above / below) if abs(x) < _NEAR64 else far


def tanh(x: float) -> float:
    """tanh(x): to a few units in the last place."""
    return math.tanh(x)


@overload(tanh, jit_options={"forceinline": True})
def _tanh(x):
    if x == types.float32:
        return lambda x: tanh32(x)
    if x == types.float64:
        return lambda x: tanh64(x)
    return None


# The rational approximations of accelgrad.kernels.special (Cody 1969), in both dtypes.
def _narrow(coefficients: tuple[float, ...]) -> tuple[Any, ...]:
    return tuple(np.float32(value) for value in coefficients)


_SMALL = 0.46875
_P64, _Q64, _CP64, _CQ64 = special._ERF_P, special._ERF_Q, special._ERFC_P, special._ERFC_Q
_TP64, _TQ64 = special._TAIL_P, special._TAIL_Q
_P32, _Q32, _CP32, _CQ32 = _narrow(_P64), _narrow(_Q64), _narrow(_CP64), _narrow(_CQ64)
_SMALL32, _END32 = np.float32(_SMALL), np.float32(11)
_SIXTEEN, _SIXTEENTH = np.float32(16), np.float32(1 / 16)
_ROOT_PI = 1 / math.sqrt(math.pi)


@jit(CONTRACT, forceinline=True)
def polynomial5(c, x):
    return (((c[0] * x + c[1]) * x + c[2]) * x + c[3]) * x + c[4]


@jit(CONTRACT, forceinline=True)
def polynomial6(c, x):
    return polynomial5(c, x) * x + c[5]


@jit(CONTRACT, forceinline=True)
def polynomial9(c, x):
    return (((polynomial5(c, x) * x + c[5]) * x + c[6]) * x + c[7]) * x + c[8]


@jit(CONTRACT, forceinline=True)
def erfc_both32(x):
    """erfc(x) and exp(-x^2), which comes on the way."""
    size = abs(x)
    size = _END32 if size > _END32 else size
    head = floor(size * _SIXTEEN) * _SIXTEENTH
    bell = exp32(-head * head) * exp32((head - size) * (head + size))
    rest = bell * (polynomial9(_CP32, size) / polynomial9(_CQ32, size))
    rest = _TWO - rest if x < 0 else rest
    square = size * size
    near = _ONE - x * (polynomial5(_P32, square) / polynomial5(_Q32, square))
    return near if size <= _SMALL32 else rest, bell


@jit(CONTRACT, forceinline=True)
def erfc_both64(x):
    size = abs(x)
    size = 28.0 if size > 28.0 else size
    head = floor(size * 16.0) * 0.0625
    bell = exp64(-head * head) * exp64((head - size) * (head + size))
    scaled = polynomial9(_CP64, size) / polynomial9(_CQ64, size)
    inverse = 1.0 / (size * size)
    tail = inverse * (polynomial6(_TP64, inverse) / polynomial6(_TQ64, inverse))
    scaled = scaled if size <= 4.0 else (_ROOT_PI - tail) / size
    rest = bell * scaled
    rest = 2.0 - rest if x < 0 else rest
    square = size * size
    near = 1.0 - x * (polynomial5(_P64, square) / polynomial5(_Q64, square))
    return near if size <= _SMALL else rest, bell


def erfc_both(x: float) -> tuple[float, float]:
    """erfc(x), to a few units in the last place, and exp(-x^2)."""
    return math.erfc(x), math.exp(-x * x)


@overload(erfc_both, jit_options={"forceinline": True})
def _erfc_both(x):
    if x == types.float32:
        return lambda x: erfc_both32(x)
    if x == types.float64:
        return lambda x: erfc_both64(x)
    return None
