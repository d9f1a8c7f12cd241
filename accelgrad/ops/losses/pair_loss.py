"""Losses of pairs of numbers: mse, l1, smooth_l1, huber, binary cross entropy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.losses.reduction import reduce_loss, reduction_of
from accelgrad.ops.registry import Sample, arg, op, sample
from accelgrad.ops.registry.checks import title

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "huber_loss", "l1_loss", "mse_loss",
    "smooth_l1_loss",
]  # fmt: skip


class PairLoss(Primitive):
    """A loss of every pair (x, y), then its mean or sum.  Subclasses give ``value`` and ``slopes``.

    ``slopes(xp, grad, x, y)`` is ``(grad dvalue/dx, grad dvalue/dy)``; for a mean or a sum ``grad`` is one
    number.
    """

    promotion = "common"

    value: Callable[..., Any]
    slopes: Callable[..., tuple[Any, Any]]

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, *, reduction: str, **constants: Any) -> Any:
        xp = ctx.xp
        if x.dtype.kind != "f":
            raise NotImplementedError(
                f"\"{ctx.primitive.__name__.lower()}_cpu\" not implemented for '{title(x)}':"
                " losses need floating point numbers; convert with .float()"
            )
        ctx.save_for_backward(x, y)
        try:
            losses = ctx.primitive.value(xp, x, y, **constants)
        except ValueError:
            raise _misfit(x, y) from None
        ctx.count = losses.size if reduction == "mean" else 1
        ctx.constants = constants
        if reduction == "none":
            return losses
        total = xp.sum(losses)
        return total / losses.size if reduction == "mean" else total

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        if ctx.count != 1:
            grad = grad / ctx.count
        return ctx.primitive.slopes(ctx.xp, grad, x, y, **ctx.constants)


def _misfit(x: Any, y: Any) -> RuntimeError:
    for place in range(1, min(x.ndim, y.ndim) + 1):
        a, b = x.shape[-place], y.shape[-place]
        if a != b and 1 not in (a, b):
            break
    return RuntimeError(
        f"The size of tensor a ({a}) must match the size of tensor b"
        f" ({b}) at non-singleton dimension {max(x.ndim, y.ndim) - place}:"
        f" the input has shape {tuple(x.shape)}, the target {tuple(y.shape)}"
    )


def _loss(
    primitive: type[PairLoss], input: Tensor, target: Tensor, reduction: str, **constants: Any
) -> Tensor:
    if input.array.shape != target.array.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape})."
            " This will likely lead to incorrect results due to broadcasting."
            f" Please ensure they have the same size{_remedy(input, target)}.",
            stacklevel=4,
        )
    return primitive.apply(input, target, reduction=reduction, **constants)


def _remedy(input: Tensor, target: Tensor) -> str:
    if input.numel() == target.numel():
        return f", e.g. target = target.reshape({', '.join(map(str, input.shape))})"
    return ""


def _reduced(losses: np.ndarray, reduction: str) -> np.ndarray:
    return {"none": losses, "mean": losses.mean() if losses.size else losses.sum(), "sum": losses.sum()}[
        reduction
    ]


def _pairs(low: float = -2, high: float = 2, **kwargs: Any) -> list[Sample]:
    x, y = arg(3, 4, low=low, high=high), arg(3, 4, low=low, high=high)
    return [
        sample(x, y, **kwargs),
        sample(x, y, reduction="sum", **kwargs),
        sample(x, y, reduction="none", **kwargs),
        sample(arg(low=low, high=high), arg(low=low, high=high), **kwargs),
        sample(arg(0, 2), arg(0, 2), reduction="sum", **kwargs),
    ]


PAIR: dict[str, Any] = {"namespace": "nn.functional", "method": False}
REDUCTION_ERROR = (sample(arg(2), arg(2), reduction="x"), ValueError, "x is not a valid value for reduction")


class Mse(PairLoss):
    """(x - y)²,  slope 2 (x - y)"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any) -> Any:
        difference = x - y
        return difference * difference

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any) -> tuple[Any, Any]:
        slope = (x - y) * (2 * grad)
        return slope, -slope


def _weighted(losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The losses times ``weight``, reduced; the mean is divided by the sum of the weights."""
    if weight is None:
        return reduce_loss(losses, reduction)
    if weight.array.shape != losses.array.shape:
        raise ValueError(
            f"Inputs and weight must have the same size: got {tuple(losses.shape)} and {tuple(weight.shape)}"
        )
    losses = losses * weight
    return losses.sum() / weight.sum() if reduction == "mean" else reduce_loss(losses, reduction)


@op(
    primitive=Mse,
    reference=lambda x, y, reduction="mean", weight=1: _reduced((x - y) ** 2, reduction),
    samples=_pairs(),
    errors=[REDUCTION_ERROR],
    **PAIR,
)
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """``(input - target)²``, its mean ("mean"), sum ("sum") or all of them ("none").

    A warning where the shapes differ: (n,) against (n, 1) would compare all with all.  RuntimeError where
    they do not broadcast, ValueError for an unknown reduction.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.mse_loss(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0, 4.0]))
    tensor(2.)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if weight is None:
        return _loss(Mse, input, target, reduction)
    return _weighted(_loss(Mse, input, target, "none"), weight, reduction)


class L1(PairLoss):
    """|x - y|,  slope sign(x - y)"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any) -> Any:
        return xp.abs(x - y)

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any) -> tuple[Any, Any]:
        slope = xp.sign(x - y) * grad
        return slope, -slope


@op(
    primitive=L1,
    reference=lambda x, y, reduction="mean": _reduced(np.abs(x - y), reduction),
    samples=_pairs(),
    errors=[REDUCTION_ERROR],
    **PAIR,
)
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """``|input - target|``, its mean, sum or all of them; warnings and errors as in :func:`mse_loss`.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.l1_loss(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0, 4.0]))
    tensor(1.)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if weight is None:
        return _loss(L1, input, target, reduction)
    return _weighted(_loss(L1, input, target, "none"), weight, reduction)


class SmoothL1(PairLoss):
    """d² / 2β where |d| < β, else |d| - β/2, with d = x - y"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any, *, beta: float) -> Any:
        d = xp.abs(x - y)
        return xp.where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta)

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any, *, beta: float) -> tuple[Any, Any]:
        d = x - y
        slope = xp.where(xp.abs(d) < beta, d / beta, xp.sign(d)) * grad
        return slope, -slope


def _smooth_l1(x: np.ndarray, y: np.ndarray, reduction: str = "mean", beta: float = 1.0) -> np.ndarray:
    d = np.abs(x - y)
    return _reduced(np.where(d < beta, d**2 / (2 * beta or 1), d - beta / 2), reduction)


@op(
    primitive=SmoothL1,
    reference=_smooth_l1,
    samples=[*_pairs(), *_pairs(beta=0.3), sample(arg(3), arg(3), beta=0.0)],
    errors=[
        (
            sample(arg(2), arg(2), beta=-1.0),
            RuntimeError,
            "smooth_l1_loss does not support negative values for beta",
        )
    ],
    **PAIR,
)
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """``d² / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``, with d = input - target.

    Girshick 2015.

    ``beta=0`` is :func:`l1_loss`.  RuntimeError for a negative beta.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.smooth_l1_loss(accelgrad.tensor([0.5, 3.0]), accelgrad.zeros(2), reduction="none")
    tensor([0.1250, 2.5000])
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    if beta == 0:
        return _loss(L1, input, target, reduction)
    return _loss(SmoothL1, input, target, reduction, beta=beta)


class Huber(PairLoss):
    """d² / 2 where |d| < δ, else δ (|d| - δ/2), with d = x - y"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any, *, delta: float) -> Any:
        d = xp.abs(x - y)
        return xp.where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any, *, delta: float) -> tuple[Any, Any]:
        d = x - y
        slope = xp.where(xp.abs(d) < delta, d, delta * xp.sign(d)) * grad
        return slope, -slope


def _huber(x: np.ndarray, y: np.ndarray, reduction: str = "mean", delta: float = 1.0) -> np.ndarray:
    d = np.abs(x - y)
    return _reduced(np.where(d < delta, d**2 / 2, delta * (d - delta / 2)), reduction)


@op(
    primitive=Huber,
    reference=_huber,
    samples=[*_pairs(), *_pairs(delta=0.3)],
    errors=[
        (
            sample(arg(2), arg(2), delta=0.0),
            RuntimeError,
            "huber_loss does not support non-positive values for delta",
        )
    ],
    **PAIR,
)
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """``d² / 2`` where ``|d| < delta``, else ``delta (|d| - delta / 2)``, with d = input - target.

    Huber 1964.

    RuntimeError unless delta > 0.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.huber_loss(accelgrad.tensor([0.5, 3.0]), accelgrad.zeros(2), reduction="none", delta=2.0)
    tensor([0.1250, 4.0000])
    """
    reduction = reduction_of(reduction)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    if weight is None:
        return _loss(Huber, input, target, reduction, delta=delta)
    return _weighted(_loss(Huber, input, target, "none", delta=delta), weight, reduction)


# --- probabilities


class BinaryCrossEntropy(PairLoss):
    """-(y log x + (1 - y) log(1 - x)), the logarithms kept above -100"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any) -> Any:
        return (y - 1) * xp.maximum(xp.log1p(-x), -100) - y * xp.maximum(xp.log(x), -100)

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any) -> tuple[Any, Any]:
        spread = xp.maximum((1 - x) * x, 1e-12)
        return grad * (x - y) / spread, grad * (xp.maximum(xp.log1p(-x), -100) - xp.maximum(xp.log(x), -100))


def _bce(x: np.ndarray, y: np.ndarray, weight: Any = 1, reduction: str = "mean") -> np.ndarray:
    return _reduced(-(y * np.log(x) + (1 - y) * np.log(1 - x)) * (1 if weight is None else weight), reduction)


PROBABILITY: dict[str, Any] = {"low": 0.05, "high": 0.95}


@op(
    primitive=BinaryCrossEntropy,
    reference=_bce,
    samples=[
        *_pairs(**PROBABILITY)[:4],
        sample(arg(3, 4, **PROBABILITY), arg(3, 4, **PROBABILITY), arg(4, low=0.5, requires_grad=False)),
    ],
    errors=[
        (sample(arg(3, 1, low=0.1, high=0.9), arg(3, low=0, high=1)), ValueError, "Using a target size"),
        (
            sample(arg(3, low=1.5), arg(3, low=0, high=1)),
            RuntimeError,
            "all elements of input should be between 0 and 1",
        ),
        (
            sample(arg(3, low=0.1, high=0.9), arg(3, low=0, high=2, dtype="int64")),
            RuntimeError,
            "Found dtype Long but expected Float",
        ),
    ],
    **PAIR,
)
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``-(target log(input) + (1 - target) log(1 - input))`` of probabilities.

    Logarithms are kept above -100.

    ValueError where the sizes differ, RuntimeError for an input outside 0 ... 1.  Scores that have not been
    through a sigmoid go to :func:`binary_cross_entropy_with_logits`, which is also more accurate.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.binary_cross_entropy(accelgrad.tensor([0.5, 0.75]), accelgrad.tensor([1.0, 0.0]), reduction="none")
    tensor([0.6931, 1.3863])
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if input.array.shape != target.array.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size"
            f" ({input.shape}) is deprecated."
            f" Please ensure they have the same size{_remedy(input, target)}."
        )
    x = input.array
    if target.array.dtype != x.dtype:
        raise RuntimeError(
            f"Found dtype {title(target.array)} but expected {title(x)}:"
            " the targets are probabilities of the input's type, target.to(input.dtype)"
        )
    if input.xp.looks and x.size and not (x.min() >= 0 and x.max() <= 1):
        low, high = float(x.min()), float(x.max())
        raise RuntimeError(
            "all elements of input should be between 0 and 1: binary_cross_entropy takes probabilities;"
            f" for scores use binary_cross_entropy_with_logits (got values from {low:g} to {high:g})"
        )
    if weight is None:
        return BinaryCrossEntropy.apply(input, target, reduction=reduction)
    return reduce_loss(BinaryCrossEntropy.apply(input, target, reduction="none") * weight, reduction)


class BceWithLogits(PairLoss):
    """max(x, 0) - x y + log(1 + e^-|x|),  slopes 1 / (1 + e⁻ˣ) - y and -x"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any) -> Any:
        return xp.maximum(x, 0) - x * y + xp.log1p(xp.exp(-xp.abs(x)))

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any) -> tuple[Any, Any]:
        return (1 / (1 + xp.exp(-x)) - y) * grad, -x * grad


class PositiveBceWithLogits(Primitive):
    """(1 - y) x + (1 + (p - 1) y) log(1 + e⁻ˣ): positive targets count p times"""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, p: Any) -> Any:
        xp = ctx.xp
        ctx.save_for_backward(x, y, p)
        return (1 - y) * x + (1 + (p - 1) * y) * (xp.maximum(-x, 0) + xp.log1p(xp.exp(-xp.abs(x))))

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y, p = ctx.saved_tensors
        soft = xp.maximum(-x, 0) + xp.log1p(xp.exp(-xp.abs(x)))
        grad_x = grad * ((1 - y) - (1 + (p - 1) * y) / (1 + xp.exp(x)))
        return grad_x, grad * ((p - 1) * soft - x), grad * (y * soft)


def _bce_logits(x, y, weight=None, reduction="mean", pos_weight=None):
    p = 1 / (1 + np.exp(-x))
    losses = -((1 if pos_weight is None else pos_weight) * y * np.log(p) + (1 - y) * np.log(1 - p))
    return _reduced(losses * (1 if weight is None else weight), reduction)


@op(
    primitive=BceWithLogits,
    reference=_bce_logits,
    samples=[
        *_pairs()[:4],
        sample(arg(3, 4), arg(3, 4, low=0, high=1), arg(4, low=0.5, requires_grad=False)),
        sample(arg(3, 4), arg(3, 4, low=0, high=1), pos_weight=arg(4, low=0.5, requires_grad=False)),
    ],
    errors=[
        (
            sample(arg(3, 1), arg(3)),
            ValueError,
            r"Target size \(accelgrad.Size\(\[3\]\)\) must be the same as input",
        ),
        (
            sample(arg(3), arg(3, low=0, high=2, dtype="int64")),
            RuntimeError,
            "result type Float can't be cast to the desired output type Long",
        ),
    ],
    **PAIR,
)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Compute :func:`binary_cross_entropy` of ``sigmoid(input)`` without overflow or log(0).

    It is one formula.

    ``pos_weight`` multiplies the positive part; ``weight`` the whole.  ValueError where the sizes differ.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> scores, target = accelgrad.tensor([0.0, 100.0]), accelgrad.tensor([1.0, 0.0])
    >>> F.binary_cross_entropy_with_logits(scores, target, reduction="none")
    tensor([  0.6931, 100.0000])
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if input.array.shape != target.array.shape:
        raise ValueError(
            f"Target size ({target.shape}) must be the same as input size"
            f" ({input.shape}){_remedy(input, target)}"
        )
    if not target.is_floating_point():
        raise RuntimeError(
            f"result type {title(input.array)} can't be cast to the desired output type"
            f" {title(target.array)}: the targets are probabilities, target.to(input.dtype)"
        )
    if pos_weight is not None:
        losses = PositiveBceWithLogits.apply(input, target, pos_weight)
    elif weight is None:
        return BceWithLogits.apply(input, target, reduction=reduction)
    else:
        losses = BceWithLogits.apply(input, target, reduction="none")
    return reduce_loss(losses if weight is None else losses * weight, reduction)
