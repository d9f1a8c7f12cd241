"""Trigonometric and hyperbolic functions, element by element: sin, cos, tanh, their inverses, degrees."""

from __future__ import annotations

import math

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.pointwise.elementwise import as_float32, unary
from accelgrad.ops.registry import op


class Sin(Primitive):
    """y = sin x,  dL/dx = dL/dy cos x."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.sin(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.xp.cos(x)


@op(
    primitive=Sin,
    reference=as_float32(np.sin),
    samples=unary(),
    inplace=True,
    also=("sin_",),
)
def sin(input: Tensor) -> Tensor:
    """Return the sine of every element, an angle in radians.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.sin(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return Sin.apply(input)


class Cos(Primitive):
    """y = cos x,  dL/dx = -dL/dy sin x."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.cos(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return -grad * ctx.xp.sin(x)


@op(
    primitive=Cos,
    reference=as_float32(np.cos),
    samples=unary(),
    inplace=True,
    also=("cos_",),
)
def cos(input: Tensor) -> Tensor:
    """Return the cosine of every element, an angle in radians.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.cos(accelgrad.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return Cos.apply(input)


class Tan(Primitive):
    """y = tan x,  dL/dx = dL/dy (1 + y²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.tan(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 + y * y)


@op(
    primitive=Tan,
    reference=as_float32(np.tan),
    samples=unary(-1.2, 1.2),
    inplace=True,
    also=("tan_",),
)
def tan(input: Tensor) -> Tensor:
    """Return the tangent of every element, an angle in radians.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.tan(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5574])
    """
    return Tan.apply(input)


class Asin(Primitive):
    """y = asin x,  dL/dx = dL/dy / √(1 - x²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.arcsin(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / ctx.xp.sqrt(1 - x * x)


@op(
    primitive=Asin,
    reference=as_float32(np.arcsin),
    samples=unary(-0.9, 0.9),
    inplace=True,
    aliases=("arcsin",),
    also=("arcsin_", "asin_"),
)
def asin(input: Tensor) -> Tensor:
    """Return the angle in [-pi/2, pi/2] whose sine is x, for every element x; NaN outside of [-1, 1].

    Angles are in radians.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.asin(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5708])
    """
    return Asin.apply(input)


class Acos(Primitive):
    """y = acos x,  dL/dx = -dL/dy / √(1 - x²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.arccos(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return -grad / ctx.xp.sqrt(1 - x * x)


@op(
    primitive=Acos,
    reference=as_float32(np.arccos),
    samples=unary(-0.9, 0.9),
    inplace=True,
    aliases=("arccos",),
    also=("acos_", "arccos_"),
)
def acos(input: Tensor) -> Tensor:
    """Return the angle in [0, pi] whose cosine is x, for every element x; NaN outside of [-1, 1].

    Angles are in radians.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.acos(accelgrad.tensor([0.0, 1.0]))
    tensor([1.5708, 0.0000])
    """
    return Acos.apply(input)


class Atan(Primitive):
    """y = atan x,  dL/dx = dL/dy / (1 + x²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.arctan(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (1 + x * x)


@op(
    primitive=Atan,
    reference=as_float32(np.arctan),
    samples=unary(),
    inplace=True,
    aliases=("arctan",),
    also=("arctan_", "atan_"),
)
def atan(input: Tensor) -> Tensor:
    """Return the angle in [-pi/2, pi/2] whose tangent is x, for every element x.

    Angles are in radians.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.atan(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7854])
    """
    return Atan.apply(input)


class Sinh(Primitive):
    """y = sinh x,  dL/dx = dL/dy cosh x."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.sinh(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.xp.cosh(x)


@op(
    primitive=Sinh,
    reference=as_float32(np.sinh),
    samples=unary(),
    inplace=True,
    also=("sinh_",),
)
def sinh(input: Tensor) -> Tensor:
    """Return the hyperbolic sine of every element x, ``(e^x - e^-x) / 2``.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.sinh(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """
    return Sinh.apply(input)


class Cosh(Primitive):
    """y = cosh x,  dL/dx = dL/dy sinh x."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.cosh(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.xp.sinh(x)


@op(
    primitive=Cosh,
    reference=as_float32(np.cosh),
    samples=unary(),
    inplace=True,
    also=("cosh_",),
)
def cosh(input: Tensor) -> Tensor:
    """Return the hyperbolic cosine of every element x, ``(e^x + e^-x) / 2``.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.cosh(accelgrad.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """
    return Cosh.apply(input)


class Tanh(Primitive):
    """y = tanh x,  dL/dx = dL/dy (1 - y²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return ctx.xp.tanh_backward(grad, y)


@op(
    primitive=Tanh,
    reference=as_float32(np.tanh),
    samples=unary(),
    inplace=True,
    also=("nn.functional.tanh", "tanh_"),
)
def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent of every element x, ``(e^x - e^-x) / (e^x + e^-x)``.

    Integers become floats.

    >>> import accelgrad
    >>> accelgrad.tanh(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return Tanh.apply(input)


class Asinh(Primitive):
    """y = asinh x,  dL/dx = dL/dy / √(x² + 1)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.arcsinh(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / ctx.xp.sqrt(x * x + 1)


@op(
    primitive=Asinh,
    reference=as_float32(np.arcsinh),
    samples=unary(),
    inplace=True,
    aliases=("arcsinh",),
    also=("arcsinh_", "asinh_"),
)
def asinh(input: Tensor) -> Tensor:
    """Return the inverse of sinh for every element.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.asinh(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """
    return Asinh.apply(input)


class Acosh(Primitive):
    """y = acosh x,  dL/dx = dL/dy / √(x² - 1)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.arccosh(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / ctx.xp.sqrt(x * x - 1)


@op(
    primitive=Acosh,
    reference=as_float32(np.arccosh),
    samples=unary(1.1, 4),
    inplace=True,
    aliases=("arccosh",),
    also=("acosh_", "arccosh_"),
)
def acosh(input: Tensor) -> Tensor:
    """Return the inverse of cosh for every element; NaN below 1.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.acosh(accelgrad.tensor([1.0, 2.0]))
    tensor([0.0000, 1.3170])
    """
    return Acosh.apply(input)


class Atanh(Primitive):
    """y = atanh x,  dL/dx = dL/dy / (1 - x²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.arctanh(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (1 - x * x)


@op(
    primitive=Atanh,
    reference=as_float32(np.arctanh),
    samples=unary(-0.9, 0.9),
    inplace=True,
    aliases=("arctanh",),
    also=("arctanh_", "atanh_"),
)
def atanh(input: Tensor) -> Tensor:
    """Return the inverse of tanh for every element; NaN outside of [-1, 1].  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.atanh(accelgrad.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """
    return Atanh.apply(input)


class Scaled(Primitive):
    """y = factor x,  dL/dx = factor dL/dy."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, *, factor: float):
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor


@op(
    primitive=Scaled,
    reference=as_float32(np.deg2rad),
    samples=unary(-180, 180, integers=False),
    inplace=True,
    also=("deg2rad_",),
)
def deg2rad(input: Tensor) -> Tensor:
    """Convert every element from degrees to radians: ``x pi / 180``.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.deg2rad(accelgrad.tensor([180.0, 90.0]))
    tensor([3.1416, 1.5708])
    """
    return Scaled.apply(input, factor=math.pi / 180)


@op(
    primitive=Scaled,
    reference=as_float32(np.rad2deg),
    samples=unary(integers=False),
    inplace=True,
    also=("rad2deg_",),
)
def rad2deg(input: Tensor) -> Tensor:
    """Convert every element from radians to degrees: ``x 180 / pi``.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.rad2deg(accelgrad.tensor([0.0, 3.1415927]))
    tensor([  0., 180.])
    """
    return Scaled.apply(input, factor=180 / math.pi)
