"""Tables looked up by index: embedding, embedding_bag, one_hot."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.ops.checks import title, within
from accelgrad.ops.registry import arg, op, sample
from accelgrad.primitive import Primitive
from accelgrad.tensor import Tensor, wrap

__all__ = ["embedding", "one_hot"]


class Embedding(Primitive):
    """y[i] = W[index[i]],  dL/dW[j] = the sum of factor[i] dL/dy[i] over the i with index[i] = j"""

    @staticmethod
    def forward(ctx: Any, weight: Any, *, index: Any, factor: Any = None) -> Any:
        ctx.index, ctx.factor, ctx.rows = index, factor, weight.shape[0]
        return ctx.xp.take(weight, index, axis=0)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        if ctx.factor is not None:
            grad = grad * ctx.factor
        return ctx.xp.run(EmbeddingGradient, grad, index=ctx.index, rows=ctx.rows)


class EmbeddingGradient(Primitive):
    """The adjoint of the look-up: adds row i of g to row index[i] of a table of zeros"""

    @staticmethod
    def forward(ctx: Any, grad: Any, *, index: Any, rows: int) -> Any:
        ctx.index = index
        width = grad.shape[-1]
        return ctx.xp.embedding_backward(
            ctx.xp.reshape(grad, (index.size, width)), ctx.xp.reshape(index, (index.size,)), rows
        )

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(Embedding, grad, index=ctx.index)


def _index(input: Any, weight: Tensor, name: str) -> Any:
    """The raw indices, checked."""
    if not isinstance(input, Tensor) or not isinstance(weight, Tensor):
        raise TypeError(
            f"{name}(): arguments 'input' and 'weight' must be Tensor, not {type(input).__name__} and"
            f" {type(weight).__name__}"
        )
    index = input.array
    if index.dtype != np.int64 and index.dtype != np.int32:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got"
            f" accelgrad.{title(index)}Tensor instead (while checking arguments for {name}): indices are whole"
            " numbers, convert with .long()"
        )
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, got {tuple(weight.shape)}: a table (rows, width)")
    if not within(weight.xp, index, weight.array.shape[0]):
        bad = index[(index < 0) | (index >= weight.array.shape[0])]
        raise IndexError(
            f"index out of range in self: {name} looked up {int(bad.reshape(-1)[0])} in a table of"
            f" {weight.array.shape[0]} rows (0 to {weight.array.shape[0] - 1})"
        )
    return index


def _padding(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError(f"Padding_idx must be within num_embeddings: got {padding_idx} for {rows} rows")
    return padding_idx % rows


def _renormalise(weight: Tensor, index: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows that will be looked up, in place, to a norm of at most ``max_norm``."""
    xp = weight.xp
    rows = xp.unique(index)
    chosen = weight.array[rows]
    norms = xp.vector_norm(chosen, norm_type, axis=1, keepdims=True)
    scale = xp.where(norms > max_norm, max_norm / (norms + 1e-7), 1).astype(weight.array.dtype)
    weight.array[rows] = chosen * scale
    weight._version[0] += 1


def _embedding(
    index: np.ndarray, weight: np.ndarray, padding_idx: int | None = None, **ignored: Any
) -> np.ndarray:
    return weight[index]


@op(
    primitive=Embedding,
    reference=_embedding,
    samples=[
        sample(arg(4, dtype="int64", low=0, high=5), arg(5, 3)),
        sample(arg(2, 3, dtype="int64", low=0, high=5), arg(5, 3)),
        sample(arg(values=[1, 1, 2, 0], dtype="int64"), arg(5, 3, requires_grad=False), padding_idx=1),
        sample(arg(values=[1, 1, 2, 0], dtype="int64"), arg(5, 3, requires_grad=False), padding_idx=-4, scale_grad_by_freq=True),
        sample(arg(values=3, dtype="int64"), arg(5, 2)),
        sample(arg(0, dtype="int64"), arg(5, 2)),
        sample(arg(4, dtype="int32", low=0, high=5), arg(5, 3)),
    ],
    errors=[
        (sample(arg(values=[5], dtype="int64"), arg(5, 2)), IndexError, "index out of range in self"),
        (sample(arg(values=[-1], dtype="int64"), arg(5, 2)), IndexError, "index out of range in self"),
        (sample(arg(3), arg(5, 2)), RuntimeError, "Expected tensor for argument #1 'indices' to have one of"),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
)
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of a table: input (...) of indices, weight (rows, width); the result is (..., width).

    The row ``padding_idx`` gets no gradient.  With ``max_norm`` the rows that are looked up are first scaled down *in
    place* to that norm.  ``scale_grad_by_freq`` divides the gradient of each row by how often it occurs in the input.
    ``sparse`` is accepted and gives a dense gradient.  IndexError for an index outside the table.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.embedding(accelgrad.tensor([2, 0]), accelgrad.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    tensor([[4., 5.],
            [0., 1.]])
    """
    index = _index(input, weight, "embedding")
    if max_norm is not None:
        _renormalise(weight, index, max_norm, norm_type)
    if padding_idx is None and not scale_grad_by_freq:
        return Embedding.apply(weight, index=index)
    factor = _factor(weight, index, _padding(padding_idx, weight.array.shape[0]), scale_grad_by_freq)
    return Embedding.apply(weight, index=index, factor=factor)


def _factor(weight: Tensor, index: Any, padding_idx: int | None, scale_grad_by_freq: bool) -> Any:
    """What the gradient of each looked-up row is multiplied with: (..., 1)."""
    xp = weight.xp
    factor = xp.ones(index.shape, dtype=weight.array.dtype)
    if scale_grad_by_freq:
        counts = xp.bincount(xp.reshape(index, (-1,)), minlength=weight.array.shape[0])
        factor = factor / xp.take(counts, index, axis=0).astype(weight.array.dtype)
    if padding_idx is not None:
        factor = factor * (index != padding_idx)
    return xp.expand_dims(factor, -1)


@op(
    reference=lambda x, num_classes=-1: np.eye(num_classes if num_classes > 0 else int(x.max()) + 1, dtype=int)[x],
    samples=[
        sample(arg(values=[0, 2, 1], dtype="int64")),
        sample(arg(values=[[0, 2], [1, 1]], dtype="int64"), 4),
        sample(arg(values=2, dtype="int64"), num_classes=3),
    ],
    errors=[
        (sample(arg(values=[3], dtype="int64"), 3), RuntimeError, "Class values must be smaller than num_classes"),
        (sample(arg(values=[-1], dtype="int64")), RuntimeError, "Class values must be non-negative"),
        (sample(arg(3)), RuntimeError, "one_hot is only applicable to index tensor"),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
    differentiable=False,
)  # fmt: skip
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the place of each class, 0 elsewhere: input (...) of classes, int64 (..., num_classes).

    ``num_classes=-1`` takes one more than the largest class.  RuntimeError for classes outside 0 ... num_classes - 1.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.one_hot(accelgrad.tensor([0, 2]), num_classes=3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    xp, classes = input.xp, input.array
    if classes.dtype.kind != "i":
        raise RuntimeError(
            "one_hot is only applicable to index tensor of type LongTensor, but got"
            f" {input.dtype}: convert with .long()"
        )
    if num_classes < -1 or num_classes == 0:
        raise RuntimeError("num_classes should be positive")
    if classes.size == 0:
        if num_classes == -1:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    elif int(classes.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    elif num_classes == -1:
        num_classes = int(classes.max()) + 1
    elif int(classes.max()) >= num_classes:
        raise RuntimeError(
            f"Class values must be smaller than num_classes: got {int(classes.max())} with num_classes={num_classes}"
        )
    return wrap((xp.expand_dims(classes, -1) == xp.arange(num_classes)).astype(np.int64), xp)
