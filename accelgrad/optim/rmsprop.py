"""RMSprop: steps divided by a running root mean square of the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_positive, number, refuse

__all__ = ["RMSprop"]


class RMSprop(Elementwise):
    """RMSprop::

        v = alpha v + (1 - alpha) g²
        x = x - lr g / (sqrt(v) + eps)

    ``centered`` subtracts the square of the running mean of g from v (Graves 2013); ``momentum`` accumulates
    the steps. Hinton, Neural Networks for Machine Learning, lecture 6e.
    """

    formula = staticmethod(updates.rmsprop)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        refuse("RMSprop", differentiable)
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """v, the mean of g, and the momentum."""
        mean = "grad_avg" if group["centered"] else None
        return "square_avg", mean, "momentum_buffer" if group["momentum"] > 0 else None

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """1 - alpha among them."""
        alpha = group["alpha"]
        return (number(group["lr"]), alpha, 1 - alpha, group["eps"], group["momentum"]), {"step": t + 1}
