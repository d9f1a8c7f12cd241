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
    """RAdam: Adam whose scaling waits until the estimate of the variance can be trusted.

    Step t on a parameter x::

        g = grad + weight_decay x                   (with ``decoupled_weight_decay``:
                                                    x = x - lr weight_decay x instead)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g²
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
        r = sqrt((rho - 4) (rho - 2) rho_inf  /  ((rho_inf - 4) (rho_inf - 2) rho))
        x = x - lr  m / (1 - beta1^t)  r sqrt(1 - beta2^t) / (sqrt(v) + eps)       if rho > 5
        x = x - lr  m / (1 - beta1^t)                                              otherwise

    Liu et al. 2020, Algorithm 2, with PyTorch's 5 for the paper's 4.  ValueError for a negative setting and
    for a beta outside [0, 1).

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = RAdam([x], lr=0.1)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.6000, -0.9000])
    """

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
        """The averages m and v."""
        return "exp_avg", "exp_avg_sq"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """``rectified`` is r sqrt(1 - beta2^t), or 0 while rho is at most 5."""
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
