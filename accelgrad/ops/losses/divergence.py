"""Losses between distributions: KL divergence, Poisson and Gaussian likelihoods."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.ops.losses.pair_loss import PAIR, REDUCTION_ERROR, PairLoss
from accelgrad.ops.losses.reduction import reduce_loss, reduction_of
from accelgrad.ops.registry import arg, op, sample

__all__ = ["gaussian_nll_loss", "kl_div", "poisson_nll_loss"]


class KlDivergence(PairLoss):
    """y (log y - x) for a log-probability x and a probability y, 0 where y is 0"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any) -> Any:
        return xp.where(y > 0, y * xp.log(xp.where(y > 0, y, 1.0)), 0.0) - y * x

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any) -> tuple[Any, Any]:
        grad_y = xp.where(y > 0, xp.log(xp.where(y > 0, y, 1.0)) + 1 - x, 0.0) * grad
        return -y * grad, grad_y


class KlOfLogs(PairLoss):
    """eʸ (y - x) for two log-probabilities"""

    @staticmethod
    def value(xp: Any, x: Any, y: Any) -> Any:
        return xp.exp(y) * (y - x)

    @staticmethod
    def slopes(xp: Any, grad: Any, x: Any, y: Any) -> tuple[Any, Any]:
        weight = xp.exp(y) * grad
        return -weight, weight * (y - x + 1)


def _kl(x, y, reduction="mean", log_target=False):
    losses = np.exp(y) * (y - x) if log_target else y * (np.log(y) - x)
    if reduction == "batchmean":
        return losses.sum() / x.shape[0]
    return {"none": losses, "mean": losses.mean(), "sum": losses.sum()}[reduction]


@op(
    primitive=KlDivergence,
    reference=_kl,
    samples=[
        sample(arg(3, 4, high=0), arg(3, 4, low=0.1, high=1), reduction="batchmean"),
        sample(arg(3, 4, high=0), arg(3, 4, low=0.1, high=1), reduction="sum"),
        sample(arg(3, 4, high=0), arg(3, 4, low=0.1, high=1), reduction="none"),
        sample(arg(3, 4, high=0), arg(3, 4, high=0), reduction="batchmean", log_target=True),
    ],
    errors=[
        REDUCTION_ERROR,
        (sample(arg(3), arg(3, dtype="int64")), RuntimeError, "kl_div: Integral inputs not supported"),
    ],
    **PAIR,
)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Compute ``target (log target - input)``, where ``input`` holds logarithms of probabilities.

    It says how far ``target`` is from them.

    With ``log_target`` the target is given as logarithms too.  "batchmean" divides the sum by the batch and
    is the divergence; "mean" divides by the number of elements, with a warning.  Kullback & Leibler 1951.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> p = accelgrad.tensor([[0.5, 0.5]])
    >>> F.kl_div(accelgrad.tensor([[0.25, 0.75]]).log(), p, reduction="sum")
    tensor(0.1438)
    """
    batch = reduction == "batchmean"
    if not input.is_floating_point() or not target.is_floating_point():
        raise RuntimeError(
            "kl_div: Integral inputs not supported."
            " The input holds logarithms of probabilities, the target probabilities: convert with .float()"
        )
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            " 'batchmean' divides only by the batch size, and aligns with the KL math definition.",
            stacklevel=3,
        )
    reduction = "sum" if batch else reduction_of(reduction, size_average, reduce)
    primitive = KlOfLogs if log_target else KlDivergence
    loss = primitive.apply(input, target, reduction=reduction)
    return loss / input.array.shape[0] if batch and input.ndim else loss


def _poisson(x, y, log_input=True, full=False, eps=1e-8, reduction="mean"):
    losses = np.exp(x) - y * x if log_input else x - y * np.log(x + eps)
    if full:
        losses = losses + np.where(y > 1, y * np.log(y) - y + 0.5 * np.log(2 * np.pi * y), 0)
    return {"none": losses, "mean": losses.mean(), "sum": losses.sum()}[reduction]


@op(
    reference=_poisson,
    samples=[
        sample(arg(3, 4), arg(3, 4, low=0, high=5)),
        sample(arg(3, 4, low=0.5), arg(3, 4, low=0, high=5), log_input=False, reduction="sum"),
        sample(arg(3, 4), arg(3, 4, low=0.1, high=5), full=True, reduction="none"),
    ],
    errors=[REDUCTION_ERROR],
    **PAIR,
)
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Compute ``exp(input) - target input``, the negative log-likelihood of counts.

    The constant log(target!) is left out.

    With ``log_input=False`` the input is the rate itself: ``input - target log(input + eps)``.  ``full``
    adds Stirling's approximation of log(target!) where target > 1.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.poisson_nll_loss(accelgrad.zeros(2), accelgrad.tensor([0.0, 3.0]), reduction="none")
    tensor([1., 1.])
    """
    reduction = reduction_of(reduction, size_average, reduce)
    x, y = input, target
    loss: Any = x.exp() - y * x if log_input else x - y * (x + eps).log()
    if full:
        large = y > 1
        safe = y.masked_fill(~large, 1.0)
        stirling = safe * safe.log() - safe + 0.5 * (2 * math.pi * safe).log()
        loss = loss + stirling.masked_fill(~large, 0.0)
    return reduce_loss(loss, reduction)


def _gaussian(x, y, var, full=False, eps=1e-6, reduction="mean"):
    if isinstance(var, float):
        var = np.full(x.shape, var, x.dtype)
    if var.ndim == x.ndim - 1:
        var = var[..., None]
    var = np.maximum(var, eps)
    losses = 0.5 * (np.log(var) + (x - y) ** 2 / var) + (0.5 * math.log(2 * math.pi) if full else 0)
    return {"none": losses, "mean": losses.mean(), "sum": losses.sum()}[reduction]


@op(
    reference=_gaussian,
    samples=[
        sample(arg(3, 4), arg(3, 4), arg(3, 4, low=0.5)),
        sample(arg(3, 4), arg(3, 4), arg(3, 1, low=0.5), full=True, reduction="sum"),
        sample(arg(3, 4), arg(3, 4), arg(3, low=0.5), reduction="none"),
        sample(arg(3, 4), arg(3, 4), arg(1, 4, low=0.5)),
    ],
    errors=[
        (
            sample(arg(3), arg(3), arg(3, low=0.5), reduction="x"),
            ValueError,
            "x is not a valid value for reduction",
        ),
        (sample(arg(3), arg(3), arg(2, low=0.5)), ValueError, "var is of incorrect size"),
        (sample(arg(3), arg(3), arg(3, low=-1, high=-0.5)), ValueError, "var has negative entry/entries"),
    ],
    **PAIR,
)
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Compute ``(log var + (input - target)² / var) / 2``.

    It is the negative log-likelihood of a normal distribution with variance var.

    ``var`` has the input's shape, or 1 as one extent, or one dimension less, or is a number; it is kept
    above ``eps``. ``full`` adds log(2 pi) / 2.  ValueError for a variance of a wrong size or below 0.  Nix
    & Weigend 1994.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> zeros, ones = accelgrad.zeros(2), accelgrad.ones(2)
    >>> F.gaussian_nll_loss(accelgrad.tensor([0.0, 2.0]), zeros, ones, reduction="none")
    tensor([0., 2.])
    """
    reduction = reduction_of(reduction)
    x: Any = input
    if isinstance(var, int | float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        variance = x.detach() * 0 + var
    else:
        variance = var
        shape, own = input.array.shape, var.array.shape
        if own != shape:
            if own == shape[:-1]:
                variance = variance.unsqueeze(-1)
            elif len(own) != len(shape) or sum(b for a, b in zip(shape, own, strict=True) if a != b) != 1:
                raise ValueError(
                    f"var is of incorrect size: for an input {tuple(shape)} it may be that,"
                    f" or {tuple(shape[:-1])}, or have one extent of 1 in place of the input's;"
                    f" got {tuple(own)}"
                )
        if input.xp.looks and var.array.size and var.array.min() < 0:
            raise ValueError(f"var has negative entry/entries: the least is {float(var.array.min()):g}")
    # The floor is a constant: the gradient passes as if it were not there, as in PyTorch.
    floor = variance.detach().clamp(min=eps)
    variance = variance + (floor - variance.detach())
    difference = x - target
    loss = 0.5 * (variance.log() + difference * difference / variance)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(loss, reduction)
