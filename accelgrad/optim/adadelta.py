"""Adadelta: steps whose length comes from the last steps and gradients, without a learning rate to tune."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_positive, number, refuse

__all__ = ["Adadelta"]


class Adadelta(Elementwise):
    """Adadelta::

        v = rho v + (1 - rho) g²
        d = sqrt(u + eps) / sqrt(v + eps)  g
        u = rho u + (1 - rho) d²
        x = x - lr d

    Zeiler 2012, Algorithm 1.
    """

    formula = staticmethod(updates.adadelta)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        refuse("Adadelta", differentiable)
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """v and u."""
        return "square_avg", "acc_delta"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """1 - rho among them."""
        rho = group["rho"]
        return (number(group["lr"]), rho, 1 - rho, group["eps"]), {"step": t + 1}
