"""Distances and directions: cosine_similarity, pairwise_distance, normalize, cdist, pdist."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import wrap_dim
from accelgrad.ops.shapes.expand import broadcast_tensors

__all__ = ["cdist", "cosine_similarity", "normalize", "pairwise_distance", "pdist"]


@op(
    reference=lambda a, b, dim=1, eps=1e-8: (
        (a * b).sum(dim)
        / np.maximum(np.sqrt((a * a + 0 * b).sum(dim)), eps)
        / np.maximum(np.sqrt((b * b + 0 * a).sum(dim)), eps)
    ),
    samples=[
        sample(arg(3, 4), arg(3, 4)),
        sample(arg(3, 4), arg(3, 4), dim=0),
        sample(arg(2, 1, 4), arg(3, 4), dim=-1),
        sample(arg(1, 2, 3), arg(2, 1, 3), dim=-2),
        sample(arg(5), arg(5), dim=0),
    ],
    errors=[(sample(arg(3), arg(3)), IndexError, "Dimension out of range")],
    method=False,
    also=("nn.functional.cosine_similarity",),
)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """``x1 x2 / (max(|x1|, eps) max(|x2|, eps))`` along ``dim``: the cosine of the angle between vectors.

    Shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.cosine_similarity(accelgrad.tensor([[1.0, 0.0]]), accelgrad.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """
    a: Any
    b: Any
    a, b = broadcast_tensors(x1, x2)  # first: the norms are those of the vectors that meet
    axis = wrap_dim(dim, max(x1.ndim, x2.ndim)) - max(x1.ndim, x2.ndim)
    sizes = [(one * one).sum(axis, keepdim=True).sqrt().clamp(min=eps) for one in (a, b)]
    return ((a / sizes[0]) * (b / sizes[1])).sum(axis)


@op(
    reference=lambda a, b, p=2.0, eps=1e-6, keepdim=False: (
        (np.abs(a - b + eps) ** p).sum(-1, keepdims=keepdim) ** (1 / p)
    ),
    samples=[
        sample(arg(3, 4), arg(3, 4)),
        sample(arg(3, 4), arg(4), p=1.0, keepdim=True),
        sample(arg(2, 3, 4), arg(3, 4), 3.0),
        sample(arg(4), arg(4)),
    ],
    method=False,
    also=("nn.functional.pairwise_distance",),
)
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` over the last dimension: (..., n) and (..., n) give (...).

    >>> import accelgrad
    >>> accelgrad.pairwise_distance(accelgrad.tensor([[0.0, 0.0]]), accelgrad.tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@op(
    reference=lambda x, p=2.0, dim=1, eps=1e-12: (
        x / np.maximum((np.abs(x) ** p).sum(dim, keepdims=True) ** (1 / p), eps)
    ),
    samples=[
        sample(arg(3, 4)),
        sample(arg(3, 4), 1.0, 0),
        sample(arg(2, 3, 2), p=3.0, dim=-1),
        sample(arg(4), dim=0),
    ],
    namespace="nn.functional",
    method=False,
)
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """``x / max(|x|, eps)`` with the p-norm along ``dim``: vectors of length 1.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.normalize(accelgrad.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return input / input.norm(p, dim, True).clamp(min=eps)


class RootOfSum(Primitive):
    """y = (Σ |x|ᵖ)^(1/p) over the last axis;  where y is 0 the gradient is 0"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, p: float) -> Any:
        y = ctx.xp.vector_norm(x, p, axis=-1)
        ctx.save_for_backward(x, y)
        ctx.p = p
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp, p = ctx.xp, ctx.p
        x, y = ctx.saved_tensors
        g, y = xp.expand_dims(grad, -1), xp.expand_dims(y, -1)
        if p == 0:
            return xp.zeros_like(x)
        if p == 1:
            return g * xp.sign(x)
        if p == float("inf"):
            return g * xp.sign(x) * xp.where(xp.abs(x) == y, 1.0, 0.0)
        safe = xp.where(y == 0, 1.0, y)
        ratio = xp.where(y == 0, 0.0, x / safe)
        return g * (ratio if p == 2 else xp.sign(x) * xp.abs(ratio) ** (p - 1))


def _cdist(a, b, p=2.0):
    d = np.abs(a[..., :, None, :] - b[..., None, :, :])
    return d.max(-1) if p == np.inf else (d**p).sum(-1) ** (1 / p)


@op(
    primitive=RootOfSum,
    reference=_cdist,
    samples=[
        sample(arg(3, 4), arg(2, 4)),
        sample(arg(2, 3, 4), arg(2, 4), 1.0),
        sample(arg(3, 4), arg(2, 4), p=3.0),
    ],
    errors=[(sample(arg(3, 4), arg(2, 3)), RuntimeError, "X1 and X2 must have the same number of columns")],
    method=False,
)
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """Return the p-norm distance of every row of x1 from every row of x2.

    (..., m, d) and (..., n, d) give (..., m, n).

    ``compute_mode`` is accepted and means nothing here: differences are always formed, never products.

    >>> import accelgrad
    >>> accelgrad.cdist(accelgrad.tensor([[0.0, 0.0]]), accelgrad.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    if x1.ndim < 2 or x2.ndim < 2:
        raise RuntimeError(
            f"cdist only supports at least 2D tensors, got {tuple(x1.shape)} and {tuple(x2.shape)}"
        )
    if x1.array.shape[-1] != x2.array.shape[-1]:
        raise RuntimeError(
            "X1 and X2 must have the same number of columns."
            f" X1: {x1.array.shape[-1]} X2: {x2.array.shape[-1]}"
        )
    return RootOfSum.apply(x1.unsqueeze(-2) - x2.unsqueeze(-3), p=float(p))


@op(
    primitive=RootOfSum,
    reference=lambda x, p=2.0: _cdist(x, x, p)[np.triu_indices(len(x), 1)],
    samples=[sample(arg(4, 3)), sample(arg(3, 2), 1.0)],
    errors=[(sample(arg(3)), RuntimeError, "pdist only supports 2D tensors")],
    method=False,
    also=("nn.functional.pdist",),
)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Return the p-norm distance of every pair of rows, (n, d) to (n (n - 1) / 2,).

    The order is row 0 with 1, 2, ..., then row 1 with 2 ...

    >>> import accelgrad
    >>> accelgrad.pdist(accelgrad.tensor([[0.0], [1.0], [4.0]]))
    tensor([1., 4., 3.])
    """
    if input.ndim != 2:
        raise RuntimeError(
            f"pdist only supports 2D tensors, got: {input.ndim}D of shape {tuple(input.shape)}"
        )
    first, second = np.triu_indices(input.array.shape[0], 1)
    xp = input.xp
    left, right = (input[xp.from_host(rows)] for rows in (first, second))
    return RootOfSum.apply(left - right, p=float(p))
