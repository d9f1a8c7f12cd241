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
    """Adadelta: steps as long as the last ones were on average, so that ``lr`` needs no tuning.

    One step on a parameter x::

        g = grad + weight_decay x
        v = rho v + (1 - rho) g²
        d = sqrt(u + eps) / sqrt(v + eps)  g
        u = rho u + (1 - rho) d²
        x = x - lr d

    Zeiler 2012 (arXiv 1212.5701), Algorithm 1.  ValueError for a negative setting and for ``rho`` outside [0,
    1].

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = Adadelta([x])
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.9936, -0.9936])
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
        """The mean squares v of the gradients and u of the steps."""
        return "square_avg", "acc_delta"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        rho = group["rho"]
        return (number(group["lr"]), rho, 1 - rho, group["eps"]), {"step": t + 1}
