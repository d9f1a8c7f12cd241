"""Reductions of losses: none, mean or sum, by name or by PyTorch's two old flags."""

from __future__ import annotations

from accelgrad.core.tensor import Tensor

__all__ = ["reduce_loss", "reduction_of"]


def reduction_of(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """Return the reduction's name, checked, or the one that the two old flags mean; ValueError if unknown."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction: choose 'none', 'mean' or 'sum'")
    return reduction


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """Return the losses as they are, their mean, or their sum."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss
