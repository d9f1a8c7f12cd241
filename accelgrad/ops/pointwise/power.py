"""Powers with the operator ``**``, the operator ``+`` of one operand, and frexp."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.arrays.dtypes import Number
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.pointwise.arithmetic import UNEQUAL, Pairwise
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.return_types import named

_FREXP = named("frexp", "mantissa", "exponent")


class Pow(Pairwise):
    """z = x^y,  dL/dx = dL/dz y x^(y - 1),  dL/dy = dL/dz z log x.

    dL/dx is 0 where y is 0, and dL/dy is 0 where x is 0 and y is not negative.
    """

    @staticmethod
    def forward(ctx, x, y):
        z = Pow.power(ctx.xp, x, y)
        ctx.save_for_backward(x, y, z)
        return z

    @staticmethod
    def power(xp: Any, x: Any, y: Any) -> Any:
        """Return x^y in every dtype.

        Arrays of integers to negative powers give 1 / x^-y rounded towards 0; with a negative number as y
        integers are a RuntimeError.
        """
        if type(y) is float or type(y) is int:
            if x.dtype.kind == "f":
                return x * x * x if y == 3 else x**y
            if y < 0:
                raise RuntimeError(
                    "Integers to negative integer powers are not allowed."
                    " Convert the base with .float(), or write a floating point exponent."
                )
            return x**y
        kind = y.dtype if hasattr(y, "dtype") else x.dtype
        if kind.kind == "f" or kind.kind == "u":
            return x**y
        if kind.kind == "b":
            # 0^1 is the only combination that is 0.
            return xp.logical_or(x, xp.logical_not(y))
        odd = 1 - 2 * (y % 2).astype(kind)  # (-1)^y
        fraction = xp.where(xp.equal(x, 1), 1, xp.where(xp.equal(x, -1), odd, 0)).astype(kind)
        return xp.where(y < 0, fraction, x ** xp.maximum(y, 0)).astype(kind)

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        x, y, z = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        grad_x = grad_y = None
        if need_x and (type(y) is float or type(y) is int):
            grad_x = xp.zeros_like(x) * grad if y == 0 else grad * (y * (x if y == 2 else x ** (y - 1)))
        elif need_x:
            zero = y == 0  # there 0 * x^-1 would give nan for x = 0
            grad_x = xp.where(zero, 0.0, grad * (y * x ** xp.where(zero, 1.0, y - 1)))
        if need_y and hasattr(x, "dtype"):
            still = (x == 0) & (y >= 0)  # there 0 * log 0 would give nan
            grad_y = xp.where(still, 0.0, grad * (z * xp.log(xp.where(still, 1.0, x))))
        elif need_y:
            if x == 0:
                grad_y = xp.where(y >= 0, 0.0, -grad * z)
            else:
                grad_y = grad * (z * (math.log(x) if x > 0 else math.nan))
        return grad_x, grad_y


@op(
    primitive=Pow,
    reference=np.power,
    samples=[
        sample(arg(2, 3, low=0.5), arg(3)),
        sample(arg(2, 1, low=0.5), arg(1, 3)),
        sample(arg(2, 3), 2),
        sample(arg(2, 3), 3),
        sample(arg(2, 3, low=0.5), -0.5),
        sample(arg(2, 3), 0),
        sample(2.0, arg(3)),
        sample(arg(0, 3, low=0.5), arg(3)),
        sample(arg(low=0.5), arg()),
        sample(arg(3, dtype="int64", low=-3, high=4), 3),
    ],
    errors=[
        (sample(arg(2, 3, low=0.5), arg(2, 4)), *UNEQUAL[1:]),
        (
            sample(arg(2, dtype="int64"), -1),
            RuntimeError,
            "Integers to negative integer powers are not allowed",
        ),
    ],
    inplace=True,
    operators=("__pow__", "__rpow__", "__ipow__"),
)
def pow(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """Return ``input ** exponent``, element by element; either may be a number.

    Shapes broadcast.  The gradient of the base is 0 where the exponent is 0, that of the exponent is 0 where
    the base is 0.  RuntimeError for integers with a negative integer number as exponent.

    >>> import accelgrad
    >>> accelgrad.pow(accelgrad.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    >>> 2 ** accelgrad.tensor([1, 2, 3])
    tensor([2, 4, 8])
    """
    return Pow.apply(input, exponent)


@op(
    reference=np.positive,
    samples=[sample(arg(2, 3)), sample(arg())],
    errors=[
        (sample(arg(2, dtype="bool")), RuntimeError, "The `\\+` operator, on a bool tensor is not supported")
    ],
    out=False,
    operators=("__pos__",),
)
def positive(input: Tensor) -> Tensor:
    """Return the tensor itself, as ``+input`` does; RuntimeError for bools.

    >>> import accelgrad
    >>> +accelgrad.tensor([1.0, -2.0])
    tensor([ 1., -2.])
    """
    if input.array.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported; convert with .int() first")
    return input


@op(
    reference=lambda x: tuple(np.frexp(x)),
    samples=[sample(arg(2, 3)), sample(arg(3, values=[9.0, 0.3, -5.0])), sample(arg())],
    errors=[(sample(arg(2, dtype="int64")), RuntimeError, r"torch.frexp\(\) only supports floating-point")],
    out=False,
)
def frexp(input: Tensor) -> Any:
    """Return mantissa and exponent of ``input = mantissa 2^exponent``, where 0.5 <= |mantissa| < 1.

    They are a named tuple; the exponent is int32, and both are 0 for 0.  RuntimeError for integers.

    >>> import accelgrad
    >>> accelgrad.frexp(accelgrad.tensor([8.0])).exponent
    tensor([4], dtype=accelgrad.int32)
    """
    if not input.is_floating_point():
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {input.dtype}")
    raw = input.xp
    _, exponent = raw.frexp(input.array)
    exponent = raw.asarray(exponent, dtype="int32")
    scale = wrap(raw.asarray(2.0 ** -exponent.astype("float64"), dtype=input.array.dtype), raw)
    return _FREXP(input * scale, wrap(exponent, raw))
