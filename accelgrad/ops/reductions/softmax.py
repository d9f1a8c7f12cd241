"""Softmax and its relatives: softmax, softmin, log_softmax, gumbel_softmax."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from accelgrad import random
from accelgrad.arrays.dtypes import dtype as Dtype
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating
from accelgrad.ops.registry.dims import wrap_dim

__all__ = ["gumbel_softmax", "log_softmax", "softmax", "softmin"]


class Softmax(Primitive):
    """y = eˣ / Σ eˣ,  dL/dx = y (dL/dy - Σ dL/dy y)"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int) -> Any:
        y = ctx.xp.softmax(must_be_floating(x, "softmax"), axis=axis)
        ctx.save_for_backward(y)
        ctx.axis = axis
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (y,) = ctx.saved_tensors
        return ctx.xp.softmax_backward(grad, y, axis=ctx.axis)


class LogSoftmax(Primitive):
    """y = x - log Σ eˣ,  dL/dx = dL/dy - eʸ Σ dL/dy"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, axis: int) -> Any:
        y = ctx.xp.log_softmax(must_be_floating(x, "log_softmax"), axis=axis)
        ctx.save_for_backward(y)
        ctx.axis = axis
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (y,) = ctx.saved_tensors
        return ctx.xp.log_softmax_backward(grad, y, axis=ctx.axis)


def _dim(input: Tensor, dim: int | None, name: str) -> int:
    if dim is None:
        warnings.warn(
            f"Implicit dimension choice for {name} has been deprecated."
            " Change the call to include dim=X as an argument.",
            stacklevel=4,
        )
        return 0 if input.ndim in (0, 1, 3) else 1
    return wrap_dim(dim, input.array.ndim)


def _softmax(x: np.ndarray, dim: int = -1, dtype: Any = None) -> np.ndarray:
    if x.ndim == 0:
        return np.ones_like(x)
    e = np.exp(x - x.max(axis=dim, keepdims=True)) if x.size else np.exp(x)
    return e / e.sum(axis=dim, keepdims=True)


SAMPLES = [
    sample(arg(2, 3), 1),
    sample(arg(2, 3), 0),
    sample(arg(2, 3, 4), dim=-2),
    sample(arg(5), -1),
    sample(arg(), 0),
    sample(arg(0, 3), 1),
    sample(arg(2, 4, low=-100, high=100), dim=1),
]
DIM_ERROR = (
    sample(arg(2, 3), 2),
    IndexError,
    r"Dimension out of range \(expected to be in range of \[-2, 1\]",
)


@op(
    primitive=Softmax,
    reference=_softmax,
    samples=SAMPLES,
    errors=[
        DIM_ERROR,
        (sample(arg(3, dtype="int64", high=5), 0), NotImplementedError, "not implemented for 'Long'"),
    ],
    also=("nn.functional.softmax", "special.softmax"),
)
def softmax(input: Tensor, dim: int | None = None, dtype: Dtype | None = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``dim``: positive numbers that add up to 1.

    The shape stays; large x do not overflow.

    ``dtype`` converts the input first.  IndexError where there is no such dimension; without ``dim`` a
    warning. The gradient is ``y (grad - sum(grad y))``.

    >>> import accelgrad
    >>> accelgrad.softmax(accelgrad.tensor([0.0, 0.0, 1000.0, 1000.0]), dim=0)
    tensor([0.0000, 0.0000, 0.5000, 0.5000])
    """
    axis = _dim(input, dim, "softmax")
    return Softmax.apply(input if dtype is None else input.to(dtype), axis=axis)


@op(
    primitive=LogSoftmax,
    reference=lambda x, dim=-1: np.log(_softmax(np.asarray(x, dtype="longdouble"), dim)),
    samples=SAMPLES,
    errors=[DIM_ERROR],
    also=("nn.functional.log_softmax", "special.log_softmax"),
)
def log_softmax(input: Tensor, dim: int | None = None, dtype: Dtype | None = None) -> Tensor:
    """``x - log(sum(exp(x)))`` along ``dim``: the logarithm of :func:`softmax`, without its rounding to 0.

    ``dtype`` converts the input first.  IndexError where there is no such dimension.

    >>> import accelgrad
    >>> accelgrad.log_softmax(accelgrad.tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.,     0.])
    """
    axis = _dim(input, dim, "log_softmax")
    return LogSoftmax.apply(input if dtype is None else input.to(dtype), axis=axis)


@op(
    primitive=Softmax,
    reference=lambda x, dim=-1: _softmax(-x, dim),
    samples=SAMPLES,
    namespace="nn.functional",
    method=False,
)
def softmin(input: Tensor, dim: int | None = None, dtype: Dtype | None = None) -> Tensor:
    """``softmax(-x)`` along ``dim``: the smallest number gets the largest share.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.softmin(accelgrad.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    axis = _dim(input, dim, "softmin")
    return Softmax.apply(-(input if dtype is None else input.to(dtype)), axis=axis)


@op(
    samples=[
        sample(arg(3, 4)),
        sample(arg(3, 4), tau=0.5, dim=0),
        sample(arg(3, 4, requires_grad=False), hard=True),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
    random=True,
)
def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Draw from the categories of ``logits``, differentiably.

    The result is ``softmax((logits + g) / tau)`` with Gumbel noise g.

    With ``hard`` the result is one-hot in value while the gradient is that of the soft draw (Jang, Gu &
    Poole 2017; Maddison, Mnih & Teh 2017).  ``eps`` is ignored, as in PyTorch.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.gumbel_softmax(accelgrad.zeros(2, 5), hard=True).sum(dim=1)
    tensor([1., 1.])
    """
    xp = logits.xp
    noise = random.default_generator.numpy.gumbel(size=tuple(logits.shape))
    gumbel = wrap(xp.from_host(noise.astype(logits.dtype.name)), xp)
    soft = softmax((logits + gumbel) / tau, dim)
    if not hard:
        return soft
    axis = wrap_dim(dim, logits.ndim)
    largest = xp.expand_dims(xp.argmax(soft.array, axis=axis), axis)
    places = xp.reshape(xp.arange(soft.shape[axis]), (-1,) + (1,) * (soft.ndim - 1 - axis))
    chosen = wrap((places == largest).astype(soft.array.dtype), xp)
    return chosen - soft.detach() + soft
