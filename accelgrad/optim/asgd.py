"""ASGD: averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_positive, number, refuse

__all__ = ["ASGD"]


class ASGD(Elementwise):
    """ASGD: gradient descent that also averages the parameters along its path.

    Step t on a parameter x::

        g = grad + weight_decay x
        x = x - eta (g + lambd x)
        ax = ax + mu (x - ax)                       (ax = x while mu is 1)
        eta = lr / (1 + lambd lr t)^alpha           (eta = lr in the first step)
        mu = 1 / max(1, t - t0)                     (mu = 1 in the first step)

    The average, in ``state[x]["ax"]``, is what to evaluate in the end; before step ``t0`` it follows x.
    Polyak & Juditsky 1992.  ValueError for a negative ``lr`` or ``weight_decay``.

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0]))
    >>> optimizer = ASGD([x], lr=0.1, t0=0)
    >>> for _ in range(3):
    ...     x.grad = accelgrad.tensor([2.0])
    ...     optimizer.step()
    >>> x.detach(), optimizer.state[x]["ax"]               # 0.8, 0.6, 0.4; the average begins at the second
    (tensor([0.4000]), tensor([0.5000]))
    """

    scalars = ("step", "eta", "mu")

    formula = staticmethod(updates.asgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_positive(lr=lr, weight_decay=weight_decay)
        refuse("ASGD", differentiable)
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The first rate eta is lr, the first weight mu in the average is 1."""
        return {"eta": number(group["lr"]), "mu": 1.0, **super().start(parameter, group)}

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """The average ax of the path."""
        return ("ax",)

    def numbers(self, group: Group, t: float, eta: float, mu: float) -> tuple[Numbers, State]:
        """A step uses the eta and mu that the step before it has computed."""
        t += 1
        lr, lambd = number(group["lr"]), group["lambd"]
        numbers = (eta, 1 - lambd * eta, mu, mu == 1)
        eta, mu = lr / (1 + lambd * lr * t) ** group["alpha"], 1 / max(1.0, t - group["t0"])
        return numbers, {"step": t, "eta": eta, "mu": mu}
