"""Tables looked up by index: embedding, embedding_bag, one_hot."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.promotion import refuse_two_devices
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import title, within
from accelgrad.ops.shapes.join import cat

__all__ = ["embedding", "embedding_bag", "one_hot"]


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
            f"{name}(): arguments 'input' and 'weight' must be Tensor,"
            f" not {type(input).__name__} and {type(weight).__name__}"
        )
    if input.xp is not weight.xp:  # CuPy would fetch an index from the host, and wait
        refuse_two_devices(name, (input, weight))
    index = input.array
    if index.dtype != np.int64 and index.dtype != np.int32:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int;"
            f" but got accelgrad.{title(index)}Tensor instead (while checking arguments for {name}):"
            " indices are whole numbers, convert with .long()"
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
        sample(
            arg(values=[1, 1, 2, 0], dtype="int64"),
            arg(5, 3, requires_grad=False),
            padding_idx=-4,
            scale_grad_by_freq=True,
        ),
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

    The row ``padding_idx`` gets no gradient.  With ``max_norm`` the rows that are looked up are first
    scaled down *in place* to that norm.  ``scale_grad_by_freq`` divides the gradient of each row by how
    often it occurs in the input. ``sparse`` is accepted and gives a dense gradient.  IndexError for an
    index outside the table.

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


def _bags(
    index,
    weight,
    offsets=None,
    mode="mean",
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    if index.ndim == 2:
        parts = list(range(0, index.size, index.shape[1]))
        offsets, index = np.array([*parts, index.size]), index.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    else:
        offsets = offsets if include_last_offset else np.append(offsets, index.size)
    rows = []
    for start, stop in itertools.pairwise(offsets):
        keep = [i for i in range(start, stop) if index[i] != padding_idx]
        seen = weight[index[keep]]
        if per_sample_weights is not None:
            seen = seen * per_sample_weights[keep][:, None]
        if not len(seen):
            rows.append(np.zeros(weight.shape[1], weight.dtype))
        else:
            rows.append({"sum": np.sum, "mean": np.mean, "max": np.max}[mode](seen, axis=0))
    return np.array(rows)


@op(
    primitive=Embedding,
    reference=_bags,
    samples=[
        sample(arg(2, 3, dtype="int64", low=0, high=5), arg(5, 3)),
        sample(
            arg(values=[0, 2, 2, 4, 1], dtype="int64"),
            arg(5, 3),
            arg(values=[0, 2, 2], dtype="int64"),
            mode="sum",
        ),
        sample(
            arg(values=[0, 2, 2, 4, 1], dtype="int64"),
            arg(5, 3),
            arg(values=[0, 3], dtype="int64"),
            mode="mean",
        ),
        sample(
            arg(values=[0, 2, 3, 4, 1], dtype="int64"),
            arg(5, 3, distinct=True),
            arg(values=[0, 3], dtype="int64"),
            mode="max",
        ),
        sample(arg(2, 3, dtype="int64", low=0, high=5), arg(5, 3), mode="sum", per_sample_weights=arg(2, 3)),
        sample(
            arg(values=[0, 2, 2, 4, 1], dtype="int64"),
            arg(5, 3),
            arg(values=[0, 3, 5], dtype="int64"),
            mode="sum",
            include_last_offset=True,
        ),
    ],
    errors=[
        (
            sample(arg(values=[1, 2], dtype="int64"), arg(5, 2)),
            ValueError,
            "offsets has to be a 1D Tensor but got",
        ),
        (
            sample(arg(values=[1, 2], dtype="int64"), arg(5, 2), arg(values=[1], dtype="int64")),
            RuntimeError,
            r"offsets\[0\] has to be 0",
        ),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
)
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of looked-up rows, bag by bag: (bags, width).

    input (bags, k), or (total,) with ``offsets`` saying where each bag begins (and, with
    ``include_last_offset``, where the last one ends).  ``per_sample_weights``, of the input's shape, weigh
    the rows of sums.  Rows ``padding_idx`` count for nothing; an empty bag gives zeros.  Other arguments as
    for :func:`embedding`.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> table = accelgrad.tensor([[1.0], [2.0], [4.0]])
    >>> F.embedding_bag(accelgrad.tensor([0, 1, 2]), table, accelgrad.tensor([0, 2]), mode="sum")
    tensor([[3.],
            [4.]])
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None."
            f" per_sample_weights is only supported for mode='sum' (got mode='{mode}')."
        )
    if per_sample_weights is not None and per_sample_weights.array.shape != input.array.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({tuple(per_sample_weights.shape)}) is not None,"
            f" it must have the same shape as the input ({tuple(input.shape)})"
        )
    xp = input.xp
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch"
            )
        bags, each = input.array.shape
        bounds = np.arange(bags + 1) * each
    elif input.ndim == 1:
        if offsets is None or offsets.ndim != 1:
            raise ValueError(
                f"offsets has to be a 1D Tensor but got {offsets if offsets is None else offsets.ndim}"
            )
        bounds = xp.to_host(offsets.array)
        if not include_last_offset:
            bounds = np.append(bounds, input.array.size)
        if bounds[0] != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from"
                f" position 0. However, got {bounds[0]}"
            )
        if (np.diff(bounds) < 0).any() or bounds[-1] > input.array.size:
            raise RuntimeError(
                f"offsets must not decrease nor pass the input's length {input.array.size},"
                f" got {bounds.tolist()}"
            )
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    flat: Any = input.reshape(-1)[: int(bounds[-1])]
    rows: Any = embedding(flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)[: int(bounds[-1])]
    counted = np.ones(len(flat), dtype=bool)
    if padding_idx is not None:
        counted = xp.to_host(flat.array) != _padding(padding_idx, weight.array.shape[0])
    count, width = len(bounds) - 1, int(np.diff(bounds).max(initial=0))
    # Every bag as a row of places in `rows`, padded with the place of an extra row behind the last.
    places = np.full((count, max(width, 1)), len(flat), dtype=np.int64)
    for bag, (start, stop) in enumerate(itertools.pairwise(bounds)):
        inside = np.arange(start, stop)[counted[start:stop]]
        places[bag, : len(inside)] = inside
    filled = places < len(flat)
    fill = -np.inf if mode == "max" else 0.0
    spare = wrap(xp.full((1, weight.array.shape[1]), fill, dtype=weight.array.dtype), xp)
    gathered = cat([rows, spare])[wrap(xp.from_host(places), xp)]  # (bags, most, width)
    if mode == "max":
        empty = wrap(xp.from_host(~filled.any(axis=1, keepdims=True)), xp)
        return gathered.amax(1).masked_fill(empty, 0.0)
    total = gathered.sum(1)
    if mode == "sum":
        return total
    sizes = np.maximum(filled.sum(axis=1, keepdims=True), 1).astype(weight.dtype.name)
    return total / wrap(xp.from_host(sizes), xp)


@op(
    reference=lambda x, num_classes=-1: np.eye(
        num_classes if num_classes > 0 else int(x.max()) + 1, dtype=int
    )[x],
    samples=[
        sample(arg(values=[0, 2, 1], dtype="int64")),
        sample(arg(values=[[0, 2], [1, 1]], dtype="int64"), 4),
        sample(arg(values=2, dtype="int64"), num_classes=3),
    ],
    errors=[
        (
            sample(arg(values=[3], dtype="int64"), 3),
            RuntimeError,
            "Class values must be smaller than num_classes",
        ),
        (sample(arg(values=[-1], dtype="int64")), RuntimeError, "Class values must be non-negative"),
        (sample(arg(3)), RuntimeError, "one_hot is only applicable to index tensor"),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
    differentiable=False,
)
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the place of each class, 0 elsewhere: input (...) of classes, int64 (..., num_classes).

    ``num_classes=-1`` takes one more than the largest class.  RuntimeError for classes outside 0 ...
    num_classes - 1.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.one_hot(accelgrad.tensor([0, 2]), num_classes=3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    xp, classes = input.xp, input.array
    if classes.dtype.kind != "i":
        raise RuntimeError(
            f"one_hot is only applicable to index tensor of type LongTensor, but got {input.dtype}:"
            " convert with .long()"
        )
    if num_classes < -1 or num_classes == 0:
        raise RuntimeError("num_classes should be positive")
    if classes.size == 0:
        if num_classes == -1:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    elif (xp.looks or num_classes == -1) and int(classes.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    elif num_classes == -1:
        num_classes = int(classes.max()) + 1
    elif xp.looks and int(classes.max()) >= num_classes:
        raise RuntimeError(
            "Class values must be smaller than num_classes:"
            f" got {int(classes.max())} with num_classes={num_classes}"
        )
    return wrap((xp.expand_dims(classes, -1) == xp.arange(num_classes)).astype(np.int64), xp)
