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
    """Adamax::

        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        x = x - lr / (1 - beta1^t)  m / u

    Kingma & Ba 2015, Algorithm 2.
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
        """m and u."""
        return "exp_avg", "exp_inf"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """The correction of m is in the rate."""
        t += 1
        beta1, beta2 = map(number, group["betas"])
        return (1 - beta1, beta2, group["eps"], number(group["lr"]) / (1 - beta1**t)), {"step": t}
