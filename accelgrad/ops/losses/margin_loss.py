"""Losses with margins: ranking, hinge, cosine, triplet, and their multi-class and multi-label kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.losses.distance import cosine_similarity, pairwise_distance
from accelgrad.ops.losses.pair_loss import PAIR, REDUCTION_ERROR, PairLoss
from accelgrad.ops.losses.reduction import reduce_loss, reduction_of
from accelgrad.ops.pointwise.activation import logsigmoid
from accelgrad.ops.registry import arg, op, sample


def _reduced(losses: Any, reduction: str) -> Any:
    return {"none": losses, "mean": np.mean(losses), "sum": np.sum(losses)}[reduction]


SIGNS = arg(values=[1.0, -1.0, -1.0, 1.0], requires_grad=False)


@op(
    reference=lambda a, b, y, margin=0.0, reduction="mean": _reduced(
        np.maximum(margin - y * (a - b), 0), reduction
    ),
    samples=[
        sample(arg(4), arg(4), SIGNS),
        sample(arg(4), arg(4), SIGNS, margin=0.5, reduction="sum"),
        sample(arg(4), arg(4), SIGNS, reduction="none"),
    ],
    errors=[
        (
            sample(arg(4), arg(4), arg(4, 1)),
            RuntimeError,
            "margin_ranking_loss : All input tensors should have same",
        )
    ],
    **PAIR,
)
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, margin - target (input1 - input2))``: target 1 wants input1 ranked higher, -1 input2.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.margin_ranking_loss(accelgrad.tensor([3.0]), accelgrad.tensor([1.0]), accelgrad.tensor([-1.0]))
    tensor(2.)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1:"
            f" {list(input1.shape)}, input2: {list(input2.shape)}, target: {list(target.shape)}"
        )
    difference: Any = input1 - input2
    return reduce_loss((margin - target * difference).clamp(min=0), reduction)


@op(
    reference=lambda x, y, margin=1.0, reduction="mean": _reduced(
        np.where(y == 1, x, np.maximum(margin - x, 0)), reduction
    ),
    samples=[sample(arg(4), SIGNS), sample(arg(4, low=0.5), SIGNS, margin=2.0, reduction="none")],
    **PAIR,
)
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``input`` where target is 1, ``max(0, margin - input)`` where it is -1: input is a distance.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.hinge_embedding_loss(accelgrad.tensor([0.5, 0.25]), accelgrad.tensor([1, -1]), reduction="none")
    tensor([0.5000, 0.7500])
    """
    reduction = reduction_of(reduction, size_average, reduce)
    x: Any = input
    close, far = target != 1, target != -1
    loss = (margin - x).clamp(min=0).masked_fill(~close, 0.0) + x.masked_fill(~far, 0.0)
    return reduce_loss(loss, reduction)


def _cosine(a, b, y, margin=0.0, reduction="mean"):
    cosine = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return _reduced(np.where(y == 1, 1 - cosine, np.maximum(cosine - margin, 0)), reduction)


@op(
    reference=_cosine,
    samples=[
        sample(arg(4, 3), arg(4, 3), SIGNS),
        sample(arg(4, 3), arg(4, 3), SIGNS, margin=0.3, reduction="none"),
        sample(arg(3), arg(3), arg(values=-1.0, requires_grad=False), margin=-1.0),
    ],
    errors=[
        (
            sample(arg(4, 3), arg(4, 3), arg(4, 3)),
            RuntimeError,
            "1D target tensor expects 2D input tensors, but found",
        ),
        (
            sample(arg(4), arg(4), arg(4)),
            RuntimeError,
            "1D target tensor expects 2D input tensors, but found",
        ),
    ],
    **PAIR,
)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``1 - cos`` of the angle between the rows where target is 1, ``max(0, cos - margin)`` where it is -1.

    inputs (n, d) with target (n,), or (d,) with ().

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> x = accelgrad.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> F.cosine_embedding_loss(x, x, accelgrad.tensor([1.0, -1.0]), reduction="none")
    tensor([0., 1.])
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target.ndim > 1 or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise RuntimeError(
            f"{min(target.ndim, 1)}D target tensor expects {min(target.ndim, 1) + 1}D input tensors,"
            f" but found inputs with sizes {list(input1.shape)} and {list(input2.shape)} and a target"
            f" with size {list(target.shape)}"
        )
    cosine: Any = cosine_similarity(input1, input2, -1)
    alike, other = target == 1, target == -1
    loss = (1 - cosine).masked_fill(~alike, 0.0) + (cosine - margin).clamp(min=0).masked_fill(~other, 0.0)
    return reduce_loss(loss, reduction)


def _triplet(a, p, n, margin=1.0, power=2.0, eps=1e-6, swap=False, reduction="mean"):
    def distance(x, y):
        return (np.abs(x - y + eps) ** power).sum(-1) ** (1 / power)

    far = np.minimum(distance(a, n), distance(p, n)) if swap else distance(a, n)
    return _reduced(np.maximum(margin + distance(a, p) - far, 0), reduction)


@op(
    reference=_triplet,
    samples=[
        sample(arg(4, 3), arg(4, 3), arg(4, 3)),
        sample(arg(4, 3), arg(4, 3), arg(4, 3), margin=0.5, swap=True, reduction="none"),
        sample(arg(4, 3), arg(4, 3), arg(4, 3), reduction="sum"),
    ],
    errors=[
        (sample(arg(4, 3), arg(4, 3), arg(4, 3), margin=0.0), ValueError, "margin must be greater than 0")
    ],
    **PAIR,
)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, margin + |anchor - positive| - |anchor - negative|)``.

    ``swap`` takes |positive - negative| if it is smaller.

    Balntas et al. 2016.  ValueError unless margin > 0.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> a, p, n = accelgrad.tensor([[0.0]]), accelgrad.tensor([[1.0]]), accelgrad.tensor([[3.0]])
    >>> F.triplet_margin_loss(a, p, n, margin=4.0)
    tensor(2.)
    """
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda one, other: pairwise_distance(one, other, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction_of(reduction, size_average, reduce),
    )


@op(
    reference=lambda a, p, n, **kwargs: _triplet(a, p, n, **kwargs),
    samples=[
        sample(arg(4, 3), arg(4, 3), arg(4, 3)),
        sample(arg(4, 3), arg(4, 3), arg(4, 3), swap=True, margin=2.0),
    ],
    **PAIR,
)
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` with a distance of one's own (Euclidean if not given).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> a, p, n = accelgrad.tensor([[0.0]]), accelgrad.tensor([[1.0]]), accelgrad.tensor([[3.0]])
    >>> def city_block(x, y):
    ...     return (x - y).abs().sum(-1)
    >>> F.triplet_margin_with_distance_loss(a, p, n, distance_function=city_block, margin=4.0)
    tensor(2.)
    """
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    near: Any = distance(anchor, positive)
    far: Any = distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduce_loss((margin + near - far).clamp(min=0), reduction_of(reduction))


class SoftMargin(PairLoss):
    """log(1 + e^(-y x))"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any) -> Any:
        z = -y * x
        return xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any) -> tuple[Any, Any]:
        slope = -grad / (1 + xp.exp(y * x))
        return slope * y, slope * x


@op(
    primitive=SoftMargin,
    reference=lambda x, y, reduction="mean": _reduced(np.log1p(np.exp(-y * x)), reduction),
    samples=[sample(arg(4), SIGNS), sample(arg(3, 4), SIGNS, reduction="none")],
    errors=[REDUCTION_ERROR],
    **PAIR,
)
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``log(1 + exp(-target input))`` with targets 1 and -1.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.soft_margin_loss(accelgrad.zeros(2), accelgrad.tensor([1.0, -1.0]))
    tensor(0.6931)
    """
    return SoftMargin.apply(input, target, reduction=reduction_of(reduction, size_average, reduce))


def _multilabel_soft(x, y, weight=None, reduction="mean"):
    losses = y * np.log1p(np.exp(-x)) + (1 - y) * np.log1p(np.exp(x))
    return _reduced((losses * (1 if weight is None else weight)).mean(-1), reduction)


@op(
    reference=_multilabel_soft,
    samples=[
        sample(arg(3, 4), arg(3, 4, low=0, high=1)),
        sample(arg(3, 4), arg(3, 4, low=0, high=1), arg(4, low=0.5, requires_grad=False), reduction="none"),
    ],
    **PAIR,
)
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Average the binary cross entropies of all classes (last dimension) with scores ``input``.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.multilabel_soft_margin_loss(accelgrad.zeros(1, 3), accelgrad.tensor([[1.0, 0.0, 1.0]]))
    tensor(0.6931)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    x: Any = input
    loss: Any = -(target * logsigmoid(x) + (1 - target) * logsigmoid(-x))
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss.mean(-1), reduction)


def _multi_margin(x, y, p=1, margin=1.0, weight=None, reduction="mean"):
    rows = x if x.ndim == 2 else x[None]
    losses = []
    for row, t in zip(rows, np.atleast_1d(y), strict=True):
        terms = np.maximum(margin - row[t] + row, 0) ** p * (1 if weight is None else weight[t])
        losses.append((terms.sum() - terms[t]) / len(row))
    return _reduced(np.array(losses) if x.ndim == 2 else losses[0], reduction)


@op(
    reference=_multi_margin,
    samples=[
        sample(arg(4, 3), arg(values=[2, 0, 1, 2], dtype="int64")),
        sample(
            arg(4, 3), arg(values=[2, 0, 1, 2], dtype="int64"), 2, 0.5, arg(3, low=0.5, requires_grad=False)
        ),
        sample(arg(4, 3), arg(values=[2, 0, 1, 2], dtype="int64"), reduction="none"),
        sample(arg(3), arg(values=1, dtype="int64")),
    ],
    errors=[
        (
            sample(arg(2, 3), arg(values=[0, 1], dtype="int64"), p=3),
            ValueError,
            "only p == 1 and p == 2 supported",
        )
    ],
    **PAIR,
)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``mean over the other classes j of max(0, margin - x[target] + x[j])ᵖ``: input (n, c), target (n,).

    Or (c,) and ().

    The mean divides by c, all classes; ``weight`` (c,) weighs the targets.  Crammer & Singer 2001.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.multi_margin_loss(accelgrad.tensor([[1.0, 0.5, 3.0, 1.0]]), accelgrad.tensor([2]))
    tensor(0.)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"only p == 1 and p == 2 supported, got {p}")
    x: Any = input if input.ndim == 2 else input.reshape(1, -1)
    xp, places = x.xp, target.array.reshape(-1, 1)
    if target.array.size != x.shape[0]:
        raise RuntimeError(
            f"inconsistent target size, expected {x.shape[0]} but got {list(target.shape)}:"
            " one class for each row"
        )
    terms = (margin - x.gather(1, wrap(places, xp)) + x).clamp(min=0)
    if p == 2:
        terms = terms * terms
    if weight is not None:
        terms = terms * weight[wrap(places, xp)]
    other = wrap(xp.arange(x.shape[1]) != places, xp)
    loss = (terms * other).mean(1)
    return reduce_loss(loss if input.ndim == 2 else loss.reshape(()), reduction)


def _multilabel_margin(x, y, reduction="mean"):
    rows, targets = np.atleast_2d(x), np.atleast_2d(y)
    losses = []
    for row, labels in zip(rows, targets, strict=True):
        labels = labels[: np.argmax(labels < 0)] if (labels < 0).any() else labels
        rest = [i for i in range(len(row)) if i not in labels]
        losses.append(sum(max(0, 1 - row[t] + row[i]) for t in labels for i in rest) / len(row))
    return _reduced(np.array(losses) if x.ndim == 2 else losses[0], reduction)


@op(
    reference=_multilabel_margin,
    samples=[
        sample(arg(2, 4), arg(values=[[3, 0, -1, 1], [2, -1, 0, 0]], dtype="int64")),
        sample(arg(2, 4), arg(values=[[3, 0, 1, 2], [-1, 1, 0, 0]], dtype="int64"), reduction="none"),
        sample(arg(4), arg(values=[1, -1, 0, 0], dtype="int64"), reduction="sum"),
    ],
    **PAIR,
)
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Sum ``max(0, 1 - x[t] + x[i]) / c`` over targets t and other classes i.

    target (n, c) lists classes up to a -1.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> x = accelgrad.tensor([[0.1, 0.2, 0.4, 0.8]])
    >>> F.multilabel_margin_loss(x, accelgrad.tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if input.array.shape != target.array.shape or input.ndim > 2:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    c = input.array.shape[-1] if input.ndim else 1
    x: Any = input.reshape(-1, c)
    xp, labels = x.xp, target.array.reshape(-1, c)
    listed = xp.cumsum(labels < 0, axis=1) == 0  # before the first -1
    chosen = xp.expand_dims(xp.where(listed, labels, c), 2) == xp.arange(c)  # (n, place, class)
    times = xp.sum(chosen, axis=1)  # (n, class): a target that is listed twice counts twice
    pairs = wrap(xp.expand_dims(times, 2) * xp.expand_dims(times == 0, 1), xp)  # (n, target, other)
    terms = (1 - x.unsqueeze(2) + x.unsqueeze(1)).clamp(min=0)
    loss = (terms * pairs).sum((1, 2)) / c
    return reduce_loss(loss if input.ndim == 2 else loss.reshape(()), reduction)
