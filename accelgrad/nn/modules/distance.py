"""Distances between vectors: CosineSimilarity and PairwiseDistance."""

from __future__ import annotations

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """``x1 · x2 / (max(|x1|, eps) max(|x2|, eps))`` along ``dim``: the cosine of the angle between vectors.

    Two tensors whose shapes broadcast; the result lacks ``dim``.  Integers become the default floating point
    type.  RuntimeError where the shapes do not broadcast.

    >>> import accelgrad
    >>> CosineSimilarity()(accelgrad.tensor([[1.0, 0.0]]), accelgrad.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of ``x1 - x2 + eps`` along the last dimension.

    (n, d) or (d,) for both, or shapes that broadcast; the result lacks d, or has it as 1 with ``keepdim``.
    Integers become the default floating point type.  RuntimeError where the shapes do not broadcast.

    >>> import accelgrad
    >>> PairwiseDistance()(accelgrad.tensor([[0.0, 0.0]]), accelgrad.tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
