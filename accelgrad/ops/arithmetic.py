"""Arithmetic of two operands: add, sub, mul, div, pow, remainder and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.ops.registry import arg, op, sample
from accelgrad.primitive import Primitive
from accelgrad.tensor import Tensor

Number = bool | int | float

PAIRS = [
    sample(arg(2, 3), arg(2, 3)),
    sample(arg(2, 3), arg(3)),
    sample(arg(2, 1), arg(1, 3)),
    sample(arg(), arg(2)),
    sample(arg(0, 3), arg(3)),
    sample(arg(2, 3), 2.5),
]


class Add(Primitive):
    """z = x + y,  dL/dx = dL/dz,  dL/dy = dL/dz"""

    promotion = "common"

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        return x + y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad, grad


class Sub(Primitive):
    """z = x - y,  dL/dx = dL/dz,  dL/dy = -dL/dz"""

    promotion = "common"

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        return x - y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad, -grad if ctx.needs_input_grad[1] else None


class Mul(Primitive):
    """z = x y,  dL/dx = dL/dz y,  dL/dy = dL/dz x"""

    promotion = "common"

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        return grad * y if need_x else None, grad * x if need_y else None


class Div(Primitive):
    """z = x / y,  dL/dx = dL/dz / y,  dL/dy = -dL/dz x / y²"""

    promotion = "float"

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x / y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        return grad / y if need_x else None, -grad * ((x / y) / y) if need_y else None


@op(
    primitive=Add,
    reference=lambda x, y, alpha=1: x + alpha * y,
    samples=[*PAIRS, sample(arg(2, 3), arg(3), alpha=3)],
    inplace=True,
    dunder=("__add__", "__radd__", "__iadd__"),
)
def add(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """``input + alpha * other``, element by element.

    Shapes broadcast: (..., n) with (..., n) or 1.  Types meet by PyTorch's promotion rules.
    RuntimeError where the shapes do not broadcast.

    >>> import accelgrad
    >>> accelgrad.add(accelgrad.tensor([1.0, 2.0]), 10, alpha=2)
    tensor([21., 22.])
    """
    return Add.apply(input, other if alpha == 1 else other * alpha)


@op(
    primitive=Sub,
    reference=lambda x, y, alpha=1: x - alpha * y,
    samples=[*PAIRS, sample(arg(2, 3), arg(3), alpha=3)],
    inplace=True,
    dunder=("__sub__", "__isub__"),
    aliases=("subtract",),
)
def sub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """``input - alpha * other``, element by element, with broadcasting.

    >>> import accelgrad
    >>> accelgrad.sub(accelgrad.tensor([1.0, 2.0]), 1)
    tensor([0., 1.])
    """
    return Sub.apply(input, other if alpha == 1 else other * alpha)


@op(
    primitive=Mul,
    reference=np.multiply,
    samples=PAIRS,
    inplace=True,
    dunder=("__mul__", "__rmul__", "__imul__"),
    aliases=("multiply",),
)
def mul(input: Tensor, other: Tensor | Number) -> Tensor:
    """``input * other``, element by element, with broadcasting.

    >>> import accelgrad
    >>> accelgrad.mul(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([[2.0], [3.0]]))
    tensor([[2., 4.],
            [3., 6.]])
    """
    return Mul.apply(input, other)


@op(primitive=Div, reference=np.divide, samples=[sample(arg(2, 3), arg(3, low=0.5)), sample(arg(2, 3), 2)])
def true_divide(input: Tensor, other: Tensor | Number) -> Tensor:
    """``input / other``; integers become the default floating point type.

    >>> import accelgrad
    >>> accelgrad.true_divide(accelgrad.tensor([1, 2]), 2)
    tensor([0.5000, 1.0000])
    """
    return Div.apply(input, other)
