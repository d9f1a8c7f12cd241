"""Linear maps with weights: linear and bilinear."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.reduced import cublas_takes_layer
from accelgrad.core.tensor import Tensor
from accelgrad.kernels.windows import product
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import title

__all__ = ["bilinear", "linear"]


class Linear(Primitive):
    """y = x Wᵀ + b,  dL/dx = dL/dy W,  dL/dW = dL/dyᵀ x,  dL/db = the sum of dL/dy over the rows"""

    direct = staticmethod(cublas_takes_layer)

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        ctx.save_for_backward(x, weight)
        if x.dtype is not weight.dtype or (bias is not None and bias.dtype is not x.dtype):
            _same_type(x, weight, bias)
        try:
            return ctx.xp.linear(x, weight, bias)
        except ValueError as error:
            raise _misfit(x, weight, bias) from error

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, weight = ctx.saved_tensors
        need_x, need_weight, *need_bias = ctx.needs_input_grad
        if weight.ndim == 1:
            grad_x = xp.expand_dims(grad, -1) * weight if need_x else None
            return grad_x, xp.expand_dims(grad, -1) * x if need_weight else None
        shape = x.shape
        if grad.ndim > 2:  # one large product instead of many small ones
            rows = product(shape[:-1])
            grad, x = xp.reshape(grad, (rows, grad.shape[-1])), xp.reshape(x, (rows, shape[-1]))
        grad_x = xp.matmul(grad, weight) if need_x else None
        if grad.ndim == 1:
            grad_weight = xp.expand_dims(grad, 1) * x if need_weight else None
            return grad_x, grad_weight, grad if need_bias and need_bias[0] else None
        if len(shape) > 2 and need_x:
            grad_x = xp.reshape(grad_x, shape)
        grad_weight = xp.matmul(xp.swapaxes(grad, 0, 1), x) if need_weight else None
        return grad_x, grad_weight, xp.sum(grad, axis=0) if need_bias and need_bias[0] else None


def _same_type(x: Any, weight: Any, bias: Any) -> None:
    for label, other in (("weight", weight), ("bias", bias)):
        if other is not None and other.dtype != x.dtype:
            raise RuntimeError(
                f"mat1 and mat2 must have the same dtype, but got {title(x)} and {title(other)}:"
                f" in linear the input is {x.dtype.name} but {label} is {other.dtype.name}."
                " NumPy arrays are float64 by default: x.float()"
            )


def _misfit(x: Any, weight: Any, bias: Any) -> RuntimeError:
    if weight.ndim == 2 and x.ndim and x.shape[-1] == weight.shape[1]:
        return RuntimeError(
            f"linear: bias must have shape ({weight.shape[0]},) to be added to the {weight.shape[0]}"
            f" outputs, got {tuple(bias.shape)}"
        )
    if weight.ndim > 2 or x.ndim == 0:
        return RuntimeError(
            "linear(): expected an input (..., in) and a weight (out, in),"
            f" got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    columns, rows = weight.shape if weight.ndim == 2 else (1, *weight.shape)
    return RuntimeError(
        f"mat1 and mat2 shapes cannot be multiplied ({product(x.shape[:-1])}x{x.shape[-1]}"
        f" and {rows}x{columns}): the input has {x.shape[-1]} features in its last dimension,"
        f" the weight expects {rows}."
        f" Input shape {tuple(x.shape)}, weight shape {tuple(weight.shape)}"
    )


@op(
    primitive=Linear,
    reference=lambda x, w, b=None: np.matmul(x, w.T) + (0 if b is None else b),
    samples=[
        sample(arg(4, 3), arg(2, 3), arg(2)),
        sample(arg(4, 3), arg(2, 3)),
        sample(arg(3), arg(2, 3), arg(2)),
        sample(arg(2, 4, 3), arg(2, 3), arg(2)),
        sample(arg(2, 2, 1, 3), arg(5, 3)),
        sample(arg(0, 3), arg(2, 3), arg(2)),
        sample(arg(4, 3), arg(3)),
        sample(arg(33, 40), arg(17, 40), arg(17)),
    ],
    errors=[
        (
            sample(arg(2, 8), arg(3, 10)),
            RuntimeError,
            r"mat1 and mat2 shapes cannot be multiplied \(2x8 and 10x3\)",
        ),
        (sample(arg(2, 3), arg(4, 3), arg(5)), RuntimeError, r"bias must have shape \(4,\)"),
        (
            sample(arg(2, 3, dtype="float64"), arg(4, 3, dtype="float32")),
            RuntimeError,
            "mat1 and mat2 must have the same dtype",
        ),
    ],
    namespace="nn.functional",
    method=False,
)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``: what a fully connected layer computes.

    input (..., in), weight (out, in), bias (out,); the result is (..., out).  A weight (in,) gives (...).
    RuntimeError where the features do not match or the element types differ.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> x, weight = accelgrad.tensor([[1.0, 2.0]]), accelgrad.tensor([[1.0, 1.0], [0.0, 3.0]])
    >>> F.linear(x, weight, accelgrad.tensor([0.5, 0.0]))
    tensor([[3.5000, 6.0000]])
    """
    if bias is None:
        return Linear.apply(input, weight)
    return Linear.apply(input, weight, bias)


class Bilinear(Primitive):
    """y[k] = x1ᵀ W[k] x2 for every row"""

    @staticmethod
    def forward(ctx: Any, x1: Any, x2: Any, weight: Any) -> Any:
        if (
            weight.ndim != 3
            or x1.shape[:-1] != x2.shape[:-1]
            or (x1.shape[-1], x2.shape[-1]) != weight.shape[1:]
        ):
            raise RuntimeError(
                "bilinear(): input dimensions do not match:"
                f" expected (..., in1), (..., in2) and a weight (out, in1, in2), got {tuple(x1.shape)},"
                f" {tuple(x2.shape)} and {tuple(weight.shape)}"
            )
        ctx.save_for_backward(x1, x2, weight)
        xp = ctx.xp
        out, in1, in2 = weight.shape
        rows = product(x1.shape[:-1])
        left = xp.matmul(xp.reshape(x1, (rows, in1)), _flat(xp, weight))  # (rows, out * in2)
        y = xp.sum(xp.reshape(left, (rows, out, in2)) * xp.reshape(x2, (rows, 1, in2)), axis=2)
        return xp.reshape(y, (*x1.shape[:-1], out))

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x1, x2, weight = ctx.saved_tensors
        out, in1, in2 = weight.shape
        rows = product(x1.shape[:-1])
        g = xp.reshape(grad, (rows, out))
        a, b = xp.reshape(x1, (rows, in1)), xp.reshape(x2, (rows, in2))
        # The sum of g[k] W[k].
        mixed = xp.reshape(xp.matmul(g, xp.reshape(weight, (out, in1 * in2))), (rows, in1, in2))
        grad_x1 = xp.sum(mixed * xp.expand_dims(b, 1), axis=2)
        grad_x2 = xp.sum(mixed * xp.expand_dims(a, 2), axis=1)
        pairs = xp.reshape(xp.expand_dims(a, 2) * xp.expand_dims(b, 1), (rows, in1 * in2))
        grad_weight = xp.matmul(xp.swapaxes(g, 0, 1), pairs)  # (out, in1 * in2)
        return (
            xp.reshape(grad_x1, x1.shape),
            xp.reshape(grad_x2, x2.shape),
            xp.reshape(grad_weight, weight.shape),
        )


def _flat(xp: Any, weight: Any) -> Any:
    """(out, in1, in2) as the matrix (in1, out * in2)."""
    out, in1, in2 = weight.shape
    return xp.reshape(xp.transpose(weight, (1, 0, 2)), (in1, out * in2))


@op(
    primitive=Bilinear,
    reference=lambda x1, x2, w, b=None: np.einsum("...i,kij,...j->...k", x1, w, x2) + (0 if b is None else b),
    samples=[
        sample(arg(4, 3), arg(4, 2), arg(5, 3, 2), arg(5)),
        sample(arg(2, 4, 3), arg(2, 4, 2), arg(1, 3, 2)),
        sample(arg(3), arg(2), arg(4, 3, 2)),
    ],
    errors=[(sample(arg(4, 3), arg(4, 2), arg(5, 2, 2)), RuntimeError, "input dimensions do not match")],
    namespace="nn.functional",
    method=False,
    also=("bilinear",),
)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute ``y[k] = input1ᵀ weight[k] input2 + bias[k]``.

    input1 (..., in1), input2 (..., in2), weight (out, in1, in2); the result is (..., out).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.bilinear(accelgrad.ones(1, 2), accelgrad.ones(1, 3), accelgrad.ones(1, 2, 3))
    tensor([[6.]])
    """
    y = Bilinear.apply(input1, input2, weight)
    return y if bias is None else y + bias
