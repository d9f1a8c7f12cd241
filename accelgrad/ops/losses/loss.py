"""Losses by class: cross_entropy and nll_loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.losses.reduction import reduction_of
from accelgrad.ops.reductions.softmax import log_softmax
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating, title, within

__all__ = ["cross_entropy", "nll_loss"]


class CrossEntropy(Primitive):
    """For each row x with class t: log Σ eˣ - x[t];  dL/dx = dL/dy (softmax(x) - one_hot(t)).

    Then mean or sum.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, target: Any, *, reduction: str, ignore_index: int) -> Any:
        xp = ctx.xp
        n, c = x.shape
        if target.shape[0] != n:
            raise _sizes(n, target)
        must_be_floating(x, "log_softmax")
        everywhere = not xp.asynchronous and not 0 <= ignore_index < c and within(xp, target, c)
        ctx.save_for_backward(x)
        ctx.total = reduction != "none" and not everywhere
        ctx.target, ctx.ignored = target, ignore_index
        if ctx.total:
            _check(xp, target, c, ignore_index)
            total, lse, ctx.scale = xp.cross_entropy_total(x, target, ignore_index, reduction == "mean")
            ctx.keep(lse)
            return total
        valid = None
        if not everywhere:
            valid, ctx.target = _split(xp, target, c, ignore_index)
        losses, lse = xp.softmax_cross_entropy(x, ctx.target)
        ctx.keep(lse)
        if reduction == "none":
            ctx.share = None if valid is None else valid.astype(x.dtype)
            return losses if valid is None else xp.where(valid, losses, 0)
        ctx.share = xp.full(n, 1 if reduction == "sum" else 1 / max(n, 1), dtype=x.dtype)
        total = xp.sum(losses)
        return total if reduction == "sum" else total / n

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        (lse,) = ctx.kept(lambda xp, x: (xp.logsumexp(x, axis=1),), x)
        if ctx.total:
            return ctx.xp.cross_entropy_total_backward(grad, x, ctx.target, lse, ctx.scale, ctx.ignored)
        if ctx.share is not None:
            grad = grad * ctx.share  # (n,)
        return ctx.xp.softmax_cross_entropy_backward(grad, x, ctx.target, lse)


class NllLoss(Primitive):
    """y = -w[t] x[t], t being a class of dimension 1; then the sum, or the weighted mean.

    The mean is the sum divided by that of the weights.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, target: Any, weight: Any, reduction: str, ignore_index: int) -> Any:
        xp = ctx.xp
        valid, target = _split(xp, target, x.shape[1], ignore_index)
        share = valid.astype(x.dtype)
        if weight is not None:
            share = share * xp.take(weight, target, axis=0)
        chosen = xp.run(ChooseClass, x, target=target)
        losses = xp.where(valid, chosen * -share, 0)  # 0 times an infinite log-probability would be NaN
        ctx.target, ctx.classes, ctx.share = target, x.shape[1], share
        if reduction == "none":
            return losses
        if reduction == "sum":
            return xp.sum(losses)
        total = xp.sum(share)
        ctx.share = share / total
        return xp.sum(losses) / total

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(PlaceClass, -(grad * ctx.share), target=ctx.target, classes=ctx.classes)


class ChooseClass(Primitive):
    """y[n, ...] = x[n, t[n, ...], ...]"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, target: Any) -> Any:
        xp = ctx.xp
        ctx.target, ctx.classes = target, x.shape[1]
        return xp.squeeze(xp.take_along_axis(x, xp.expand_dims(target, 1), axis=1), axis=1)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(PlaceClass, grad, target=ctx.target, classes=ctx.classes)


class PlaceClass(Primitive):
    """x[n, t[n, ...], ...] = y[n, ...] and 0 elsewhere: the adjoint of :class:`ChooseClass`"""

    @staticmethod
    def forward(ctx: Any, y: Any, *, target: Any, classes: int) -> Any:
        xp = ctx.xp
        ctx.target = target
        places = xp.reshape(xp.arange(classes), (-1,) + (1,) * (target.ndim - 1))
        return xp.where(places == xp.expand_dims(target, 1), xp.expand_dims(y, 1), y.dtype.type(0))

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(ChooseClass, grad, target=ctx.target)


def _split(xp: Any, target: Any, c: int, ignore_index: int) -> tuple[Any, Any]:
    """Which targets count, and the targets with 0 in place of the others.

    IndexError for one outside the classes.
    """
    valid = target != ignore_index
    target = xp.where(valid, target, 0)
    if not within(xp, target, c):
        bad = target[(target < 0) | (target >= c)]
        raise IndexError(
            f"Target {int(bad[0])} is out of bounds."
            f" The input scores {c} classes, so targets are 0 to {c - 1} (or ignore_index={ignore_index})"
        )
    return valid, target


def _check(xp: Any, target: Any, c: int, ignore_index: int) -> None:
    """IndexError for a target outside the classes, where formulas look at values."""
    if xp.looks:
        _split(xp, target, c, ignore_index)


def _sizes(n: int, target: Any) -> ValueError:
    return ValueError(
        f"Expected input batch_size ({n}) to match target batch_size ({target.shape[0]}):"
        " one class for each row"
    )


def _classes(input: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Any]:
    """The input as (n, c, ...) and the raw targets as (n, ...), checked; a single row gets a batch of one."""
    x, t = input.array, target.array
    if t.dtype != np.int64 and t.dtype != np.uint8:
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {title(t)} (expected scalar type Long"
            f" but found {title(t)}): targets are the numbers of classes, convert with .long()"
        )
    if x.ndim == 0:
        raise ValueError(f"Expected 1 or more dimensions (got {x.ndim})")
    if x.ndim == 1:
        if t.ndim > 1 or t.size != 1:
            raise (
                _sizes(1, t)
                if t.ndim == 1
                else RuntimeError(
                    f"0D or 1D target tensor expected, multi-target not supported; got shape {tuple(t.shape)}"
                )
            )
        input, t = input.reshape(1, -1), t.reshape(1)
        x = input.array
    if t.ndim != x.ndim - 1 and x.ndim == 2:
        raise RuntimeError(
            "0D or 1D target tensor expected, multi-target not supported:"
            f" the target has shape {tuple(t.shape)}, expected ({x.shape[0]},), one class for each row;"
            " one-hot targets must be floating point numbers, and y.argmax(1) turns them into classes"
        )
    if t.ndim and t.shape[0] != x.shape[0]:
        raise _sizes(x.shape[0], t)
    expected = [x.shape[0], *x.shape[2:]]
    if list(t.shape) != expected:
        raise RuntimeError(
            f"Expected target size {expected}, got {list(t.shape)}:"
            f" the input {tuple(x.shape)} has its classes in dimension 1,"
            " the target has all the other dimensions"
        )
    if weight is not None and weight.array.shape != (x.shape[1],):
        raise RuntimeError(
            f"weight tensor should be defined either for all {x.shape[1]} classes or no classes"
            f" but got weight tensor of shape: {list(weight.shape)}"
        )
    return input, t


def _squeezed(loss: Tensor, input: Tensor, reduction: str) -> Tensor:
    return loss.reshape(()) if reduction == "none" and input.array.ndim == 1 else loss


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _nll(x, target, weight=None, ignore_index=-100, reduction="mean", **ignored):
    if x.ndim == 1:
        loss = _nll(x[None], target.reshape(1), weight, ignore_index, reduction)
        return loss.reshape(()) if reduction == "none" else loss
    w = np.ones(x.shape[1], x.dtype) if weight is None else weight
    losses, shares = np.zeros(target.shape, x.dtype), np.zeros(target.shape, x.dtype)
    for place in np.ndindex(target.shape):
        t = target[place]
        if t != ignore_index:
            shares[place] = w[t]
            losses[place] = -w[t] * x[(place[0], t, *place[1:])]
    return {"none": losses, "sum": losses.sum(), "mean": losses.sum() / shares.sum()}[reduction]


def _cross_entropy(x, target, weight=None, label_smoothing=0.0, reduction="mean", ignore_index=-100):
    if x.ndim == 1:
        target = target[None] if target.dtype.kind == "f" else target.reshape(1)
        loss = _cross_entropy(x[None], target, weight, label_smoothing, reduction, ignore_index)
        return loss.reshape(()) if reduction == "none" else loss
    c = x.shape[1]
    w = (np.ones(c, x.dtype) if weight is None else weight).reshape(-1, *(1,) * (x.ndim - 2))
    logs = _log_softmax(x)
    if target.dtype.kind == "f":
        losses = -(logs * (target * (1 - label_smoothing) + label_smoothing / c) * w).sum(axis=1)
        return {"none": losses, "sum": losses.sum(), "mean": losses.sum() / max(losses.size, 1)}[reduction]
    losses = _nll(logs, target, weight, ignore_index, "none")
    spread = np.where(target == ignore_index, 0, -(logs * w).sum(axis=1))
    losses = (1 - label_smoothing) * losses + label_smoothing / c * spread
    shares = (np.ones(c) if weight is None else weight)[np.where(target == ignore_index, 0, target)]
    total = np.where(target == ignore_index, 0, shares).sum()
    return {"none": losses, "sum": losses.sum(), "mean": losses.sum() / total}[reduction]


TARGET = arg(values=[2, 0, 1, 2], dtype="int64")
SOME = arg(values=[2, -100, 1, -100], dtype="int64")
WEIGHT = arg(3, low=0.5, high=2, requires_grad=False)
ERRORS = [
    (sample(arg(2, 3), arg(values=[1, 3], dtype="int64")), IndexError, "Target 3 is out of bounds"),
    (sample(arg(2, 3), arg(values=[1, -1], dtype="int64")), IndexError, "Target -1 is out of bounds"),
    (sample(arg(2, 3), arg(2)), RuntimeError, "expected target dtype to be Long or Byte, but got"),
    (sample(arg(2, 3), arg(3, dtype="int64", low=0)), ValueError, r"Expected input batch_size \(2\)"),
    (sample(arg(2, 3), arg(2, 2, dtype="int64", low=0)), RuntimeError, "0D or 1D target tensor expected"),
    (sample(arg(2, 3, 4), arg(2, 3, dtype="int64", low=0)), RuntimeError, r"Expected target size \[2, 4\]"),
    (sample(arg(4, 3), TARGET, arg(2)), RuntimeError, "weight tensor should be defined"),
    (sample(arg(4, 3), TARGET, reduction="max"), ValueError, "max is not a valid value for reduction"),
]  # fmt: skip


@op(
    primitive=CrossEntropy,
    reference=_cross_entropy,
    samples=[
        sample(arg(4, 3), TARGET),
        sample(arg(4, 3), TARGET, reduction="sum"),
        sample(arg(4, 3), TARGET, reduction="none"),
        sample(arg(4, 3, low=-100, high=100), SOME),
        sample(arg(4, 3), SOME, reduction="none"),
        sample(arg(4, 3), SOME, reduction="sum"),
        sample(arg(4, 3), SOME, WEIGHT),
        sample(arg(4, 3), TARGET, label_smoothing=0.2),
        sample(arg(4, 3), SOME, WEIGHT, label_smoothing=0.1),
        sample(arg(4, 3), SOME, WEIGHT, label_smoothing=0.1, reduction="none"),
        sample(arg(2, 3, 2), arg(values=[[2, 0], [1, -100]], dtype="int64")),
        sample(arg(2, 3, 2, 2), arg(2, 2, 2, dtype="int64", low=0, high=3), WEIGHT, reduction="none"),
        sample(arg(3), arg(values=1, dtype="int64")),
        sample(arg(3), arg(values=1, dtype="int64"), reduction="none"),
        sample(arg(4, 3), arg(4, 3, low=0, high=1)),
        sample(arg(4, 3), arg(4, 3, low=0, high=1), WEIGHT, label_smoothing=0.1, reduction="sum"),
        sample(arg(2, 3, 2), arg(2, 3, 2, low=0, high=1), WEIGHT, reduction="none"),
        sample(arg(2, 3, 2), arg(2, 3, 2, low=0, high=1), WEIGHT),
        sample(arg(0, 3), arg(0, dtype="int64"), reduction="sum"),
    ],
    errors=[
        *ERRORS,
        (
            sample(arg(2, 3), arg(2, 3, dtype="int64", low=0)),
            RuntimeError,
            "Expected floating point type for target with class probabilities, got Long",
        ),
        (
            sample(arg(4, 3), TARGET, label_smoothing=2.0),
            RuntimeError,
            "label_smoothing must be between 0.0 and 1.0",
        ),
    ],
    namespace="nn.functional",
    method=False,
)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """``-log softmax(input)[target]``: how surprised the scores are by the right classes.

    input (n, c) of scores, not probabilities, and target (n,) of classes (int64); also (c,) with (), and
    (n, c, d1, ...) with (n, d1, ...).  A floating point target of the input's shape holds probabilities
    instead.  ``weight`` (c,) weighs the classes; targets equal to ``ignore_index`` count nothing;
    ``label_smoothing`` s takes ``(1 - s) target + s / c``. ``reduction`` is "mean" (divided by the sum of
    the weights of the targets), "sum" or "none".

    IndexError for a class out of bounds, RuntimeError for a wrong type, ValueError for wrong sizes.
    The gradient of one row is ``softmax(input) - one_hot(target)``.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.cross_entropy(accelgrad.zeros(3, 4), accelgrad.tensor([0, 1, 3]))  # log(4)
    tensor(1.3863)
    """
    if reduction not in ("mean", "sum", "none") or size_average is not None or reduce is not None:
        reduction = reduction_of(reduction, size_average, reduce)
    kind = target.array.dtype
    simple = weight is None and label_smoothing == 0.0 and (kind == np.int64 or kind == np.uint8)
    if simple and input.array.ndim == 2 and target.array.ndim == 1:
        return CrossEntropy.apply(input, target, reduction=reduction, ignore_index=ignore_index)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if input.array.shape == target.array.shape:
        return _with_probabilities(input, target, weight, reduction, label_smoothing)
    rows, classes = _classes(input, target, weight)
    weights = None if weight is None else weight.array
    logs = log_softmax(rows, 1)
    loss = NllLoss.apply(logs, target=classes, weight=weights, reduction=reduction, ignore_index=ignore_index)
    if label_smoothing:
        spread = _spread(logs, classes, weights, reduction, ignore_index)
        loss = (1 - label_smoothing) * loss + (label_smoothing / logs.shape[1]) * spread
    return _squeezed(loss, input, reduction)


def _spread(logs: Tensor, target: Any, weight: Any, reduction: str, ignore_index: int) -> Tensor:
    """The cross entropy against equal shares of all classes: what label smoothing adds."""
    xp, x = logs.xp, logs.array
    coefficients = xp.astype(xp.expand_dims(target != ignore_index, 1), x.dtype)  # (n, 1, ...)
    share = coefficients
    if weight is not None:
        share = coefficients * xp.expand_dims(
            xp.take(weight, xp.where(target != ignore_index, target, 0), axis=0), 1
        )
        coefficients = coefficients * xp.reshape(weight, (-1,) + (1,) * (x.ndim - 2))
    losses = -(logs * wrap(coefficients, xp)).sum(1)
    if reduction == "none":
        return losses
    return losses.sum() / (wrap(xp.sum(share, keepdims=True), xp).reshape(()) if reduction == "mean" else 1)


def _with_probabilities(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    if not target.is_floating_point():
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {title(target.array)}:"
            " a target of the input's shape holds a probability for each class;"
            " classes have one dimension less"
        )
    dim = 0 if input.ndim == 1 else 1
    classes = input.array.shape[dim]
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = log_softmax(input, dim) * target
    if weight is not None:
        if weight.array.shape != (classes,):
            raise RuntimeError(
                "cross_entropy: weight tensor should be defined either for all or no classes:"
                f" expected shape ({classes},), got {tuple(weight.shape)}"
            )
        terms = terms * weight.reshape((-1,) + (1,) * max(input.ndim - 2, 0))
    losses = -terms.sum(dim)
    if reduction == "none":
        return losses
    return losses.sum() / (losses.array.size if reduction == "mean" else 1)


@op(
    primitive=NllLoss,
    reference=_nll,
    samples=[
        sample(arg(4, 3), TARGET),
        sample(arg(4, 3), SOME, reduction="sum"),
        sample(arg(4, 3), SOME, WEIGHT),
        sample(arg(4, 3), SOME, WEIGHT, reduction="none"),
        sample(arg(2, 3, 2), arg(values=[[2, 0], [1, -100]], dtype="int64")),
        sample(arg(2, 3, 2, 2), arg(2, 2, 2, dtype="int64", low=0, high=3), reduction="none"),
        sample(arg(3), arg(values=1, dtype="int64")),
        sample(arg(3), arg(values=1, dtype="int64"), reduction="none"),
    ],
    errors=ERRORS,
    namespace="nn.functional",
    method=False,
)
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``-weight[target] input[target]`` of log-probabilities: what follows :func:`log_softmax`.

    Shapes, ``ignore_index``, ``weight``, ``reduction`` and errors as in :func:`cross_entropy`.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.nll_loss(accelgrad.tensor([[-1.0, -2.0], [-3.0, -4.0]]), accelgrad.tensor([0, 1]))
    tensor(2.5000)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    rows, classes = _classes(input, target, weight)
    loss = NllLoss.apply(
        rows,
        target=classes,
        weight=None if weight is None else weight.array,
        reduction=reduction,
        ignore_index=ignore_index,
    )
    return _squeezed(loss, input, reduction)
