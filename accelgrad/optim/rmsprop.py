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
    """RMSprop: the gradient, divided for each element by its running root mean square.

    One step on a parameter x::

        g = grad + weight_decay x
        v = alpha v + (1 - alpha) g²
        d = g / (sqrt(v) + eps)                     (``centered``: v less the square of the running mean of g)
        b = momentum b + d                          (without ``momentum``: b = d)
        x = x - lr b

    Hinton, Neural Networks for Machine Learning, lecture 6e; ``centered``: Graves 2013, equations 38 to 45.
    ValueError for a negative setting.

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = RMSprop([x], lr=0.1, alpha=0.0)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.8000, -0.8000])
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
        """The mean square v, with ``centered`` the mean of g, and with ``momentum`` b."""
        mean = "grad_avg" if group["centered"] else None
        return "square_avg", mean, "momentum_buffer" if group["momentum"] > 0 else None

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        alpha = group["alpha"]
        return (number(group["lr"]), alpha, 1 - alpha, group["eps"], group["momentum"]), {"step": t + 1}
