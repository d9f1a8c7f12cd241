"""Adam: steps scaled by running averages of the gradient and of its square."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_betas, check_positive, number, refuse

__all__ = ["Adam"]


class Adam(Elementwise):
    """Adam: momentum, scaled for each element by the root mean square of its gradients.

    Step t on a parameter x::

        g = grad + weight_decay x                   (with ``decoupled_weight_decay``:
                                                    x = x - lr weight_decay x instead)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g²
        x = x - lr  m / (1 - beta1^t)  /  (sqrt(v / (1 - beta2^t)) + eps)

    Kingma & Ba 2015, Algorithm 1.  ``amsgrad`` divides by the largest v so far (Reddi et al. 2018, Algorithm
    2).  The first step has length lr, whatever the gradient.  ValueError for a negative setting and for a
    beta outside [0, 1).

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = Adam([x], lr=0.1)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.8000, -0.8000])
    """

    formula = staticmethod(updates.adam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        refuse(type(self).__name__, differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """The averages m and v, and with ``amsgrad`` the largest v so far."""
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """The corrections for the start from zero are part of ``rate`` and ``root``."""
        t += 1
        lr, (beta1, beta2) = number(group["lr"]), map(number, group["betas"])
        rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
        return (beta1, 1 - beta1, beta2, 1 - beta2, rate, root, group["eps"]), {"step": t}
