"""RAdam: Adam that uses its adaptive scaling only once the variance estimate can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_betas, check_positive, number, refuse

__all__ = ["RAdam"]


class RAdam(Elementwise):
    """Adam that waits with its scaling until the variance can be trusted.  Liu et al. 2020, Algorithm 2."""

    formula = staticmethod(updates.radam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        refuse("RAdam", differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """m and v."""
        return "exp_avg", "exp_avg_sq"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """``rectified`` is 0 until the average covers so many steps that its variance can be trusted."""
        t += 1
        beta1, beta2 = map(number, group["betas"])
        # The length of the simple moving average that this one amounts to.
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        rectified = 0.0
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            rectified = r * math.sqrt(1 - beta2**t)
        numbers = (number(group["lr"]), 1 - beta1, beta2, 1 - beta2, 1 - beta1**t, rectified, group["eps"])
        return numbers, {"step": t}
