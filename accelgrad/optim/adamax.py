"""Adamax: Adam with the largest recent gradient in place of the root mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_betas, check_positive, number, refuse

__all__ = ["Adamax"]


class Adamax(Elementwise):
    """Adamax: Adam with the largest recent gradient in place of the root mean square.

    Step t on a parameter x::

        g = grad + weight_decay x
        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        x = x - lr / (1 - beta1^t)  m / u

    Kingma & Ba 2015, Algorithm 2; eps is PyTorch's.  ValueError for a negative setting and for a beta outside
    [0, 1).

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = Adamax([x], lr=0.1)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.8000, -0.8000])
    """

    formula = staticmethod(updates.adamax)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        refuse("Adamax", differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """The mean m of the gradients, and u, the largest one that is not forgotten yet."""
        return "exp_avg", "exp_inf"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """The correction of m for the start from zero is part of the rate."""
        t += 1
        beta1, beta2 = map(number, group["betas"])
        return (1 - beta1, beta2, group["eps"], number(group["lr"]) / (1 - beta1**t)), {"step": t}
