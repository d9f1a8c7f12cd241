"""Adam and AdamW: steps scaled by running averages of the gradient and of its square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.optim.optimizer import (
    Group,
    Optimizer,
    arrays,
    check_betas,
    check_positive,
    number,
    refuse,
    zeros_like,
)
from accelgrad.tensor import Tensor

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam::

        g = grad + weight_decay x                    (AdamW: x = x - lr weight_decay x  instead)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g²
        x = x - lr  m / (1 - beta1^t)  /  (sqrt(v / (1 - beta2^t)) + eps)

    Kingma & Ba 2015, Algorithm 1.  ``amsgrad`` divides by the largest v so far (Reddi et al. 2018, Algorithm
    2).

    >>> from accelgrad import Tensor, nn
    >>> x = nn.Parameter(Tensor([1.0]))
    >>> optimizer = Adam([x], lr=0.1)
    >>> x.grad = Tensor([5.0])
    >>> optimizer.step()                             # the first step has length lr, whatever the gradient
    >>> round(x.item(), 4)
    0.9
    """

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

    def update(self, group: Group) -> None:
        """All parameters of the group in one fused step."""
        beta1, beta2 = group["betas"]
        amsgrad = group["amsgrad"]
        for xp, params in self.active(group):
            states = []
            steps = []
            for one in params:
                state = self.state[one]
                if not state:
                    kept = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if amsgrad else 2]
                    # All of it or nothing: where memory runs out, the next step must find no half of a state.
                    state.update({"step": 0.0, **{name: zeros_like(one) for name in kept}})
                state["step"] += 1.0
                states.append(state)
                steps.append(state["step"])
            xp.adam_step(
                [one.array for one in params],
                [one._grad.array for one in params],  # type: ignore[union-attr]
                arrays(states, "exp_avg"),
                arrays(states, "exp_avg_sq"),
                steps,
                number(group["lr"]),
                number(beta1),
                number(beta2),
                group["eps"],
                group["weight_decay"],
                group["decoupled_weight_decay"],
                group["maximize"],
                arrays(states, "max_exp_avg_sq") if amsgrad else None,
            )
            for one in params:
                one._version[0] += 1


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves instead of joining the gradient.

    Loshchilov & Hutter 2019, Algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
