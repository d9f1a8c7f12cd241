"""AdamW: Adam whose weight decay shrinks the parameters themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.optim.adam import Adam

__all__ = ["AdamW"]


class AdamW(Adam):
    """AdamW: Adam with decoupled weight decay.

    Before each step ``x = x - lr weight_decay x``; the decay does not join the gradient, so it is not divided
    by the gradient's root mean square.  Loshchilov & Hutter 2019, Algorithm 2.  ValueError as for Adam.

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = AdamW([x], lr=0.1, weight_decay=0.5)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.7075, -0.7075])
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
