"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_betas, check_positive, number, refuse

__all__ = ["NAdam"]


class NAdam(Elementwise):
    """NAdam: Adam with Nesterov's momentum, which grows from step to step.

    Step t on a parameter x::

        g = grad + weight_decay x                   (with ``decoupled_weight_decay``:
                                                    x = x - lr weight_decay x instead)
        mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g²
        n = mu_(t+1) m / (1 - mu_1 ... mu_(t+1))  +  (1 - mu_t) g / (1 - mu_1 ... mu_t)
        x = x - lr n / (sqrt(v / (1 - beta2^t)) + eps)

    Dozat 2016, Algorithm 2.  ValueError for a negative setting and for a beta outside [0, 1).

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = NAdam([x], lr=0.1)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.8160, -0.8160])
    """

    scalars = ("step", "mu_product")

    formula = staticmethod(updates.nadam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        refuse("NAdam", differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The product of all mu so far begins at 1."""
        return {"mu_product": 1.0, **super().start(parameter, group)}

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """The averages m and v."""
        return "exp_avg", "exp_avg_sq"

    def numbers(self, group: Group, t: float, mu_product: float) -> tuple[Numbers, State]:
        """The mu of this step and of the next one are part of the rates of g and of m."""
        t += 1
        (beta1, beta2), lr, psi = map(number, group["betas"]), number(group["lr"]), group["momentum_decay"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * psi))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
        mu_product *= mu
        rate_g, rate_m = lr * (1 - mu) / (1 - mu_product), lr * mu_next / (1 - mu_product * mu_next)
        numbers = (1 - beta1, beta2, 1 - beta2, 1 - beta2**t, group["eps"], rate_g, rate_m)
        return numbers, {"step": t, "mu_product": mu_product}
