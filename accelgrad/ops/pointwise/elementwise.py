"""Functions of one operand, element by element: roots, exponentials, logarithms, sigmoid, square."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import Sample, arg, op, sample


def as_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a NumPy reference take integers as float32, the default floating point type."""

    def reference(*arrays: Any, **options: Any) -> Any:
        if all(getattr(one, "dtype", np.dtype(int)).kind != "f" for one in arrays):
            arrays = tuple(one.astype(np.float32) if hasattr(one, "astype") else one for one in arrays)
        return function(*arrays, **options)

    return reference


def unary(low: float = -2.0, high: float = 2.0, integers: bool = True) -> list[Sample]:
    """Return the samples of a function of one operand whose domain holds [low, high]."""
    samples = [sample(arg(*shape, low=low, high=high)) for shape in ((2, 3), (), (0, 2), (2, 1, 3))]
    first = math.ceil(low) if low > -2 else -1
    return (
        [*samples, sample(arg(3, dtype="int64", low=first, high=max(first + 1, int(high))))]
        if integers
        else samples
    )


class Sqrt(Primitive):
    """y = √x,  dL/dx = dL/dy / 2y."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.sqrt(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad / (2 * y)


@op(
    primitive=Sqrt,
    reference=as_float32(np.sqrt),
    samples=unary(0.1),
    inplace=True,
    also=("sqrt_",),
)
def sqrt(input: Tensor) -> Tensor:
    """Return the square root of every element; NaN for negative ones.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.sqrt(accelgrad.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return Sqrt.apply(input)


class Rsqrt(Primitive):
    """y = 1 / √x,  dL/dx = -dL/dy y³ / 2."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = 1 / ctx.xp.sqrt(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (-0.5 * (y * y * y))


@op(
    primitive=Rsqrt,
    reference=as_float32(lambda x: 1 / np.sqrt(x)),
    samples=unary(0.1),
    inplace=True,
    also=("rsqrt_",),
)
def rsqrt(input: Tensor) -> Tensor:
    """Return ``1 / sqrt(x)`` for every element x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.rsqrt(accelgrad.tensor([4.0, 16.0]))
    tensor([0.5000, 0.2500])
    """
    return Rsqrt.apply(input)


class Reciprocal(Primitive):
    """y = 1 / x,  dL/dx = -dL/dy y²."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = 1 / x
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return -grad * (y * y)


@op(
    primitive=Reciprocal,
    reference=as_float32(lambda x: 1 / x),
    samples=unary(0.5),
    inplace=True,
    also=("reciprocal_",),
)
def reciprocal(input: Tensor) -> Tensor:
    """Return ``1 / x`` for every element x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.reciprocal(accelgrad.tensor([4.0, -2.0]))
    tensor([ 0.2500, -0.5000])
    """
    return Reciprocal.apply(input)


class Exp(Primitive):
    """y = e^x,  dL/dx = dL/dy y."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y


@op(
    primitive=Exp,
    reference=as_float32(np.exp),
    samples=unary(),
    inplace=True,
    also=("exp_",),
)
def exp(input: Tensor) -> Tensor:
    """Return ``e ** x`` for every element x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.exp(accelgrad.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return Exp.apply(input)


class Exp2(Primitive):
    """y = 2^x,  dL/dx = dL/dy y log 2."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.exp2(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (y * math.log(2))


@op(
    primitive=Exp2,
    reference=as_float32(np.exp2),
    samples=unary(),
    inplace=True,
    also=("exp2_", "special.exp2"),
)
def exp2(input: Tensor) -> Tensor:
    """Return ``2 ** x`` for every element x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.exp2(accelgrad.tensor([0.0, 3.0]))
    tensor([1., 8.])
    """
    return Exp2.apply(input)


class Expm1(Primitive):
    """y = e^x - 1,  dL/dx = dL/dy (y + 1)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.expm1(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (y + 1)


@op(
    primitive=Expm1,
    reference=as_float32(np.expm1),
    samples=unary(),
    inplace=True,
    also=("expm1_", "special.expm1"),
)
def expm1(input: Tensor) -> Tensor:
    """Return ``e ** x - 1`` for every element x, exact for small x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.expm1(accelgrad.tensor([0.0, 1e-8]))
    tensor([0.0000e+00, 1.0000e-08])
    """
    return Expm1.apply(input)


class Log(Primitive):
    """y = log x,  dL/dx = dL/dy / x."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.log(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / x


@op(
    primitive=Log,
    reference=as_float32(np.log),
    samples=unary(0.1),
    inplace=True,
    also=("log_",),
)
def log(input: Tensor) -> Tensor:
    """Return the natural logarithm of every element: -inf for 0, NaN below.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.log(accelgrad.tensor([1.0, 10.0]))
    tensor([0.0000, 2.3026])
    """
    return Log.apply(input)


class Log2(Primitive):
    """y = log x / log 2,  dL/dx = dL/dy / (x log 2)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.log2(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (x * math.log(2))


@op(
    primitive=Log2,
    reference=as_float32(np.log2),
    samples=unary(0.1),
    inplace=True,
    also=("log2_",),
)
def log2(input: Tensor) -> Tensor:
    """Return the logarithm to base 2 of every element: -inf for 0, NaN below.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.log2(accelgrad.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    return Log2.apply(input)


class Log10(Primitive):
    """y = log x / log 10,  dL/dx = dL/dy / (x log 10)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.log10(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (x * math.log(10))


@op(
    primitive=Log10,
    reference=as_float32(np.log10),
    samples=unary(0.1),
    inplace=True,
    also=("log10_",),
)
def log10(input: Tensor) -> Tensor:
    """Return the logarithm to base 10 of every element: -inf for 0, NaN below.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.log10(accelgrad.tensor([1.0, 2.0]))
    tensor([0.0000, 0.3010])
    """
    return Log10.apply(input)


class Log1p(Primitive):
    """y = log(1 + x),  dL/dx = dL/dy / (1 + x)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.log1p(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (x + 1)


@op(
    primitive=Log1p,
    reference=as_float32(np.log1p),
    samples=unary(-0.9),
    inplace=True,
    also=("log1p_", "special.log1p"),
)
def log1p(input: Tensor) -> Tensor:
    """Return ``log(1 + x)`` for every element x, exact for small x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.log1p(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    return Log1p.apply(input)


class Sigmoid(Primitive):
    """y = 1 / (1 + e^-x),  dL/dx = dL/dy y (1 - y)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.sigmoid(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return ctx.xp.sigmoid_backward(grad, y)


@op(
    primitive=Sigmoid,
    reference=as_float32(lambda x: 1 / (1 + np.exp(-x))),
    samples=unary(),
    inplace=True,
    also=("nn.functional.sigmoid", "sigmoid_", "special.expit"),
)
def sigmoid(input: Tensor) -> Tensor:
    """Return the logistic function ``1 / (1 + e^-x)`` of every element x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.sigmoid(accelgrad.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """
    return Sigmoid.apply(input)


class Square(Primitive):
    """y = x²,  dL/dx = dL/dy 2x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x if x.dtype.kind != "b" else x.astype("int64")

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (2 * x)


@op(
    primitive=Square,
    reference=np.square,
    samples=unary(),
    inplace=True,
    also=("square_",),
)
def square(input: Tensor) -> Tensor:
    """Return ``x * x`` for every element x.  Integers stay integers, and bools become int64.

    >>> import accelgrad
    >>> accelgrad.square(accelgrad.tensor([1.0, -3.0]))
    tensor([1., 9.])
    """
    return Square.apply(input)
